package vm

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Why a guest was ended, or ended badly; [Failure] wraps one of them.
var (
	// ErrFault: the console showed a fault of the guest.
	ErrFault = errors.New("the guest failed")
	// ErrCPULimit and ErrWallLimit: the guest used more than it may.
	ErrCPULimit  = errors.New("the CPU time limit is passed")
	ErrWallLimit = errors.New("the wall time limit is passed")
	// ErrQEMU: QEMU itself refused its arguments or crashed.
	ErrQEMU = errors.New("QEMU failed")
	// ErrAccel: the accelerator cannot run the guest.
	ErrAccel = errors.New("the accelerator failed")
)

// errKilled is the cause of a context that Kill cancels.
var errKilled = errors.New("killed")

// tailLines is how many lines of the console a failure carries.
const tailLines = 60

// A Failure is a guest that did not do what it was started for. Its text has
// all a person needs to go on.
type Failure struct {
	// VM is the guest's name and Reason what happened, in one line.
	VM, Reason string
	// Err is what errors.Is finds: one of this package's errors or the
	// error of a context.
	Err error
	// Console is the end of the console, Stderr what QEMU said.
	Console, Stderr string
	// Command reproduces the guest in a shell.
	Command string
}

func (f *Failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "vm %s: %s\n", f.VM, f.Reason)
	if f.Console != "" {
		fmt.Fprintf(&b, "--- console, last lines ---\n%s\n", f.Console)
	} else {
		b.WriteString("--- the console is empty ---\n")
	}
	if stderr := strings.TrimSpace(f.Stderr); stderr != "" {
		fmt.Fprintf(&b, "--- QEMU ---\n%s\n", stderr)
	}
	fmt.Fprintf(&b, "--- to reproduce ---\n%s", f.Command)
	return b.String()
}

func (f *Failure) Unwrap() error { return f.Err }

// Exit is how a guest ended.
type Exit struct {
	// Code is QEMU's exit status, or -1 when a signal ended it; Signal is
	// that signal.
	Code   int
	Signal syscall.Signal
	// Killed says that the caller ended the guest, by Kill or by its context.
	Killed bool
	// Shutdown is QEMU's word for why it ended, such as guest-shutdown,
	// guest-reset or guest-panic (ShutdownCause, qapi/run-state.json); empty
	// when it had no time to say.
	Shutdown string
	// Usage is what the guest took in all.
	Usage Usage
}

// Guest returns the number, 1 to 127, that a guest with DebugExit wrote to
// port 0xf4 to end QEMU. Zero cannot be told from a failure of QEMU.
func (e Exit) Guest() (value int, ok bool) {
	// isa-debug-exit ends QEMU with value*2+1 (hw/misc/debugexit.c).
	if e.Code < 3 || e.Code%2 == 0 {
		return 0, false
	}
	return e.Code / 2, true
}

// Usage is what a guest has taken of the host.
type Usage struct {
	// CPU is the time of the QEMU process, user and system; Wall is the time
	// since it started. Neither counts a start under an accelerator that was
	// given up.
	CPU, Wall time.Duration
	// PeakMemory is the most memory QEMU had resident, in bytes; known once
	// it has ended.
	PeakMemory int64
}
