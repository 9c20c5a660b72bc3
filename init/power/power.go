// Package power hears that the node is to stop and carries it out.
//
// It says in which order what still runs is ended and file systems are left;
// which services there are is init's business.
package power

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Request is a wish to stop.
type Request struct {
	// Action is what comes at the end.
	Action Action
	// Why says who asked.
	Why string
}

// Action is what the machine does once all is stopped.
type Action int

// The actions.
const (
	Off Action = iota
	Reboot
	Halt
	// Kexec starts the kernel that package kexec has loaded.
	Kexec
)

// String says it for people.
func (a Action) String() string {
	switch a {
	case Reboot:
		return "reboot"
	case Halt:
		return "halt"
	case Kexec:
		return "kexec"
	}
	return "power off"
}

// Signals are what a signal to PID 1 asks for: those of busybox and sysvinit,
// SIGINT from Ctrl-Alt-Del, and SIGPWR from a power supply.
var Signals = map[unix.Signal]Request{
	unix.SIGINT:  {Reboot, "Ctrl-Alt-Del"},
	unix.SIGTERM: {Reboot, "SIGTERM"},
	unix.SIGUSR1: {Halt, "SIGUSR1"},
	unix.SIGUSR2: {Off, "SIGUSR2"},
	unix.SIGPWR:  {Off, "SIGPWR"},
}

// Do ends the machine's life. It returns only if the kernel refuses.
func Do(a Action) error {
	cmd := map[Action]int{
		Off:    unix.LINUX_REBOOT_CMD_POWER_OFF,
		Reboot: unix.LINUX_REBOOT_CMD_RESTART,
		Halt:   unix.LINUX_REBOOT_CMD_HALT,
		Kexec:  unix.LINUX_REBOOT_CMD_KEXEC,
	}[a]
	if err := unix.Reboot(cmd); err != nil {
		return fmt.Errorf("%s: %w", a, err)
	}
	return nil
}

// CatchCtrlAltDel makes Ctrl-Alt-Del a SIGINT instead of a sudden reboot.
func CatchCtrlAltDel() error {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		return fmt.Errorf("ctrl-alt-del: %w", err)
	}
	return nil
}

// Constants of the input subsystem (include/uapi/linux/input-event-codes.h).
const (
	evKey    = 1
	keyPower = 116
)

// inputEvent is sizeof(struct input_event) on 64-bit machines: two 8-byte
// times, type, code, value (include/uapi/linux/input.h).
const inputEvent = 24

// Pressed reports whether an input event is the power key going down.
func Pressed(raw []byte) bool {
	if len(raw) != inputEvent {
		return false
	}
	le := binary.LittleEndian
	return le.Uint16(raw[16:]) == evKey && le.Uint16(raw[18:]) == keyPower && le.Uint32(raw[20:]) == 1
}

// HasPowerKey reports whether an input device can send the power key. keys is
// its capabilities/key file: words of 64 bits in hexadecimal, the highest
// first (drivers/input/input.c, input_print_bitmap).
func HasPowerKey(keys string) bool {
	words := strings.Fields(keys)
	i := len(words) - 1 - keyPower/64
	if i < 0 {
		return false
	}
	word, err := strconv.ParseUint(words[i], 16, 64)
	return err == nil && word>>(keyPower%64)&1 == 1
}

// Buttons lists the input devices (eventN) that have a power key, as sysfs
// mounted at sys shows them now.
func Buttons(sys string) []string {
	files, err := filepath.Glob(filepath.Join(sys, "class/input/event*/device/capabilities/key"))
	if err != nil {
		return nil // a constant pattern; it is well formed
	}
	var names []string
	for _, file := range files {
		keys, err := os.ReadFile(file)
		if err != nil || !HasPowerKey(string(keys)) {
			continue
		}
		rest := strings.TrimSuffix(file, "/device/capabilities/key")
		names = append(names, filepath.Base(rest))
	}
	return names
}

// Watch reads a device's input events and calls pressed at each press of its
// power key, until ctx ends or the device goes.
func Watch(ctx context.Context, device string, pressed func()) error {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("power button %s: %w", device, err)
	}
	f := os.NewFile(uintptr(fd), device)
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	buf := make([]byte, inputEvent)
	for {
		if _, err := io.ReadFull(f, buf); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("power button %s: %w", device, err)
		}
		if Pressed(buf) {
			pressed()
		}
	}
}
