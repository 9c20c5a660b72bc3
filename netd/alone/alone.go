// Package alone lets one netd run in a network namespace: two would repair
// each other's devices, routes and rules for ever.
//
// What is claimed is an abstract unix socket (unix(7)). Its name is one in
// each network namespace, and the kernel gives it back when its process ends,
// however that ends: nothing is left that would keep the next netd from
// starting. Anybody may take such a name, so only a process of root, or of the
// user netd runs as, counts as another netd.
package alone

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// name is what is claimed; the @ stands for the zero byte of abstract names.
const name = "@weft-netd"

// Tries of a name that is taken but has nobody behind it: its owner has just
// begun and not got as far as listening (tries), or has ended and left it to a
// child that is not its own program yet, which closes it (triesGone; execve(2)).
const (
	tries     = 10
	triesGone = 100
	tryEvery  = 20 * time.Millisecond
)

// A Claim keeps other netds of this network namespace from running. It lasts
// until it is closed or the process ends.
type Claim struct{ listener net.Listener }

// Take claims the network namespace. When another netd has it, the error is a
// [*TakenError].
func Take(log *slog.Logger) (*Claim, error) { return take(name, log) }

func take(name string, log *slog.Logger) (*Claim, error) {
	var last error
	for most, n := tries, 0; n < most; n++ {
		l, err := net.Listen("unix", name)
		if err == nil {
			c := &Claim{listener: l}
			go c.hangUp()
			return c, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("claim the network namespace: %w", err)
		}
		owner, err := OwnerOf(name)
		switch {
		case err == nil && owner.gone():
			most = triesGone
			err = fmt.Errorf("its owner, process %d, has ended", owner.PID)
		case err == nil && owner.trusted():
			return nil, &TakenError{owner}
		case err == nil:
			log.Warn("somebody who is not root has taken netd's name; another netd would not be noticed", "name", name, "process", owner.String())
			return &Claim{}, nil
		}
		last = err
		time.Sleep(tryEvery)
	}
	log.Warn("somebody has taken netd's name and does not answer; another netd would not be noticed", "name", name, "error", last)
	return &Claim{}, nil
}

// hangUp takes the calls of those who ask whose the name is: the kernel tells
// them.
func (c *Claim) hangUp() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		conn.Close()
	}
}

// Close gives the claim back.
func (c *Claim) Close() error {
	if c.listener == nil {
		return nil
	}
	return c.listener.Close()
}

// TakenError says who has what only one can have.
type TakenError struct{ Owner Owner }

// Error names the owner and what to do.
func (e *TakenError) Error() string {
	return fmt.Sprintf("%s already carries the network here; fix: ask it with netd status, or end it first", e.Owner)
}

// An Owner is the process that listens on a unix socket.
type Owner struct {
	// PID is 0 for a process of another PID namespace.
	PID int
	// UID is whose process it was when it began to listen.
	UID int
	// Name is the program's, empty when it is not known.
	Name string
}

// String is the name and number of the process, as far as they are known.
func (o Owner) String() string {
	switch {
	case o.PID == 0:
		return "a process of another PID namespace"
	case o.Name == "":
		return fmt.Sprintf("process %d", o.PID)
	}
	return fmt.Sprintf("%s (process %d)", o.Name, o.PID)
}

// trusted reports whether the process can be a netd.
func (o Owner) trusted() bool { return o.UID == 0 || o.UID == os.Geteuid() }

// gone reports whether the process has ended, and somebody else has the socket
// from it.
func (o Owner) gone() bool { return o.PID != 0 && errors.Is(unix.Kill(o.PID, 0), unix.ESRCH) }

// OwnerOf is the process that listens on the unix socket at path. When there
// is none the error is ECONNREFUSED, or ENOENT.
func OwnerOf(path string) (o Owner, err error) {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return o, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return o, err
	}
	var peer *unix.Ucred
	// The kernel notes who called listen (net/unix/af_unix.c, unix_listen).
	if err := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return o, err
	}
	if err != nil {
		return o, err
	}
	o = Owner{PID: int(peer.Pid), UID: int(peer.Uid)}
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", o.PID)); err == nil {
		o.Name = strings.TrimSpace(string(comm))
	}
	return o, nil
}
