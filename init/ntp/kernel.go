package ntp

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Flags of adjtimex(2) that x/sys does not name (include/uapi/linux/timex.h).
const (
	adjOffset    = 0x0001 // ADJ_OFFSET
	adjMaxError  = 0x0004 // ADJ_MAXERROR
	adjEstError  = 0x0008 // ADJ_ESTERROR
	adjStatus    = 0x0010 // ADJ_STATUS
	adjTimeConst = 0x0020 // ADJ_TIMECONST
	adjNano      = 0x2000 // ADJ_NANO

	staPLL    = 0x0001 // STA_PLL
	staUnsync = 0x0040 // STA_UNSYNC
	staNano   = 0x2000 // STA_NANO
)

// timeConstant makes the kernel's phase-locked loop take out an offset in a
// few minutes (kernel/time/ntp.c adds 4 to a value of the nanosecond
// kernel): the right pace for pauses from one minute up.
const timeConstant = 6

// A Clock is the clock of the node.
type Clock interface {
	// Step moves the clock by offset at once.
	Step(offset time.Duration) error
	// Slew has the clock drawn by offset, and tells the kernel that it is
	// right within distance: the kernel then says so to programs, and keeps
	// the hardware clock (the "11 minute mode" of kernel/time/ntp.c).
	Slew(offset, distance time.Duration) error
}

// Kernel is the system clock. It needs CAP_SYS_TIME.
type Kernel struct{}

var _ Clock = Kernel{}

// Step implements [Clock].
func (Kernel) Step(offset time.Duration) error {
	// Read as late as can be, so that little time passes between.
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	next := unix.NsecToTimespec(now.Nano() + int64(offset))
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &next); err != nil {
		return fmt.Errorf("step the clock by %s: %w", offset, err)
	}
	return nil
}

// Slew implements [Clock].
func (Kernel) Slew(offset, distance time.Duration) error {
	micros := max(distance.Microseconds(), 1)
	t := unix.Timex{
		Modes:    adjOffset | adjStatus | adjNano | adjTimeConst | adjMaxError | adjEstError,
		Offset:   int64(offset),
		Maxerror: micros,
		Esterror: micros,
		Constant: timeConstant,
		Status:   staPLL | staNano, // and no longer unsynchronised
	}
	if _, err := unix.Adjtimex(&t); err != nil {
		return fmt.Errorf("slew the clock by %s: %w", offset, err)
	}
	return nil
}
