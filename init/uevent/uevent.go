// Package uevent hears the kernel's device events and walks the devices that
// were there before.
//
// It loads nothing and opens no device; what to do about a device is the
// caller's business.
package uevent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxMessage is the longest event read, in bytes. The kernel's buffer is
// UEVENT_BUFFER_SIZE, 2048 (include/linux/kobject.h), plus the header.
const MaxMessage = 8192

// An Event is one change to a device.
type Event struct {
	// Action is add, remove, change, bind, unbind, move, online or offline.
	Action string
	// Path is the device's path below /sys, starting with a slash.
	Path string
	// Env holds the event's variables, such as SUBSYSTEM and MODALIAS.
	Env map[string]string
}

// Subsystem is what kind of device it is, such as block or net.
func (e Event) Subsystem() string { return e.Env["SUBSYSTEM"] }

// Modalias is what the device asks a driver for; empty when nothing.
func (e Event) Modalias() string { return e.Env["MODALIAS"] }

// Name is the last part of the device's path, its name for the kernel.
func (e Event) Name() string { return e.Path[strings.LastIndexByte(e.Path, '/')+1:] }

// ErrMalformed says that a message is no kernel event.
var ErrMalformed = errors.New("malformed device event")

// Parse reads a message of the kernel's event socket: "ACTION@PATH", then
// NAME=VALUE, each ended by a zero byte (lib/kobject_uevent.c).
func Parse(message []byte) (Event, error) {
	if len(message) > MaxMessage {
		return Event{}, fmt.Errorf("%w: %d bytes, the limit is %d", ErrMalformed, len(message), MaxMessage)
	}
	head, rest, ok := bytes.Cut(message, []byte{0})
	action, path, at := strings.Cut(string(head), "@")
	if !ok || !at || action == "" || !strings.HasPrefix(path, "/") {
		return Event{}, fmt.Errorf("%w: it starts with %.40q, not ACTION@/PATH", ErrMalformed, head)
	}
	return Event{Action: action, Path: path, Env: ParseEnv(string(rest), "\x00")}, nil
}

// ParseEnv reads NAME=VALUE pairs separated by sep, as in an event (a zero
// byte) or in a device's uevent file (a line end). What is no pair is left
// out.
func ParseEnv(text, sep string) map[string]string {
	env := make(map[string]string)
	for _, pair := range strings.Split(text, sep) {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			env[name] = value
		}
	}
	return env
}

// A Listener is an open event socket. Events of devices that appear after
// Listen are never missed, unless the reader falls far behind.
type Listener struct{ file *os.File }

// Listen opens the kernel's event socket. The kernel's own multicast group is
// 1; group 2 is udev's and is not heard.
func Listen() (*Listener, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("device events: socket: %w", err)
	}
	// A megabyte holds the burst of a big machine's cold plug. Without the
	// privilege the default stays, and an overrun is heard as one.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("device events: bind: %w", err)
	}
	return &Listener{os.NewFile(uintptr(fd), "uevents")}, nil
}

// Close ends the listener; a Run in progress returns.
func (l *Listener) Close() error { return l.file.Close() }

// Run calls each for every event until ctx ends. When events were lost it
// calls lost, which should look at all devices again.
func (l *Listener) Run(ctx context.Context, each func(Event), lost func()) error {
	stop := context.AfterFunc(ctx, func() { l.file.Close() })
	defer stop()
	raw, err := l.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("device events: %w", err)
	}
	buf := make([]byte, MaxMessage)
	for {
		var n int
		var from unix.Sockaddr
		var rerr error
		err := raw.Read(func(fd uintptr) bool {
			n, from, rerr = unix.Recvfrom(int(fd), buf, 0)
			return rerr != unix.EAGAIN && rerr != unix.EINTR
		})
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("device events: %w", err)
		case rerr == unix.ENOBUFS:
			lost()
			continue
		case rerr != nil:
			return fmt.Errorf("device events: receive: %w", rerr)
		}
		// Only the kernel, port 0, speaks here; any process may send.
		if nl, ok := from.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 {
			continue
		}
		if e, err := Parse(buf[:n]); err == nil {
			each(e)
		}
	}
}

// Modaliases lists, each once, what the devices now present ask drivers for.
// sys is the mount point of sysfs. Devices on a bus, input devices (a class
// without a bus) and the machine itself are looked at.
func Modaliases(sys string) []string {
	seen := make(map[string]bool)
	var all []string
	for _, pattern := range []string{"bus/*/devices", "class/input", "class/dmi"} {
		dirs, err := filepath.Glob(filepath.Join(sys, pattern))
		if err != nil {
			continue // a constant pattern; it is well formed
		}
		for _, dir := range dirs {
			for _, device := range names(dir) {
				data, err := os.ReadFile(filepath.Join(dir, device, "modalias"))
				if err != nil {
					continue
				}
				alias := strings.TrimSpace(string(data))
				if alias != "" && !seen[alias] {
					seen[alias] = true
					all = append(all, alias)
				}
			}
		}
	}
	return all
}

// names lists a directory, in order; nothing when it cannot be read.
func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	list := make([]string, len(entries))
	for i, e := range entries {
		list[i] = e.Name()
	}
	return list
}
