package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"weft/init/power"
	"weft/init/trace"
	"weft/init/watchdog"
)

const (
	// watchdogDevice is the first watchdog of the kernel.
	watchdogDevice = "/dev/watchdog0"
	// hardwareWithin is after how long without being petted the hardware
	// resets the node, petEvery the pause between two pets.
	hardwareWithin = time.Minute
	petEvery       = 5 * time.Second
	// initWithin bounds how long init's own parts may be held up.
	initWithin = time.Minute
	// netdWatchdog is how long netd may go without a word before it is ended
	// and started again; netdWithin how long before the node is. The second
	// counts only while netd is wedged: one that ends and says why is for
	// people to mend, and a reboot would not.
	netdWatchdog = 30 * time.Second
	netdWithin   = 90 * time.Second
	// biteWithin is how long writing down why may take.
	biteWithin = 5 * time.Second
)

// guard is what keeps the node from being wedged for ever.
type guard struct {
	pack watchdog.Pack
	// stop ends petting; with an error as its cause the timer is left running.
	stop context.CancelCauseFunc
}

// keepAlive resets the node when it does not work any more: the hardware's
// watchdog, where there is one, sees to it even if init is wedged.
func (s *system) keepAlive() {
	ctx, stop := context.WithCancelCause(context.Background())
	s.state.Lock()
	s.guard.stop = stop
	s.state.Unlock()
	s.guard.pack.Expect("init", initWithin, time.Now())
	s.goes(func() { s.pulse(ctx) })
	timer := &hardware{s: s}
	watchdog.Run(ctx, &s.guard.pack, watchdog.Config{
		Timer: timer, Every: petEvery, Now: time.Now, Tick: s.petTime, Bite: s.bite,
		Problem: func(err error) { s.log.Problem("%v", err) },
	})
}

// petTime tells when the timer is petted again: after a pause, or when a
// watchdog appears, which then begins to watch.
func (s *system) petTime(pause time.Duration) <-chan time.Time {
	c := make(chan time.Time, 1)
	s.goes(func() {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case now := <-timer.C:
			c <- now
		case <-s.devices.watchdogs:
			c <- time.Now()
		}
	})
	return c
}

// pulse shows that init lives: it passes through everything that all of init
// depends on.
func (s *system) pulse(ctx context.Context) {
	ticker := time.NewTicker(petEvery)
	defer ticker.Stop()
	for {
		s.board.Items()
		s.supervisor.Reports()
		s.reaper.Alive()
		s.name() // takes the lock of most of the state
		s.guard.pack.Alive("init", time.Now())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// hardware opens the kernel's watchdog when it appears: its driver is loaded
// some time after the start.
type hardware struct {
	s      *system
	device *watchdog.Device
	failed bool
}

var _ watchdog.Timer = (*hardware)(nil)

// Pet implements [watchdog.Timer].
func (h *hardware) Pet() error {
	if h.device == nil {
		if _, err := os.Stat(watchdogDevice); err != nil || h.failed {
			return nil
		}
		d, err := watchdog.Open(watchdogDevice, hardwareWithin)
		if err != nil {
			h.failed = true
			return fmt.Errorf("%w; a node that hangs is not reset", err)
		}
		h.device = d
		h.s.log.Note("watchdog %s resets the node after %s without a sign of life", d.Identity, d.Within)
		if d.Bit {
			h.s.hardwareBit()
		}
	}
	return h.device.Pet()
}

// Release implements [watchdog.Timer].
func (h *hardware) Release() error {
	if h.device == nil {
		return nil
	}
	return h.device.Release()
}

// bite writes down why the node is reset and resets it. Whatever hangs, the
// hardware is no longer petted.
func (s *system) bite(reason string) {
	s.log.Problem("the watchdog starts the node again: %s", reason)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var text strings.Builder
		text.WriteString(reason + "\n")
		for _, r := range s.supervisor.Reports() {
			fmt.Fprintf(&text, "\n%s is %s since %s: %s\n", r.Name, r.State, r.Since.UTC().Format(time.RFC3339), r.Last)
			for _, line := range s.supervisor.Lines(r.Name, tailOfBitten) {
				text.WriteString("| " + line + "\n")
			}
		}
		text.WriteString("\nthe kernel says:\n" + kernelTail())
		s.keepTrace("watchdog", "the watchdog started the node again: "+reason, text.String())
		s.phase(trace.Bitten, reason)
		s.flushJournals()
	}()
	select {
	case <-done:
	case <-time.After(biteWithin):
	}
	s.down(power.Reboot)
}

// tailOfBitten is how many lines of each service go into the trace of a bite.
const tailOfBitten = 30

// expect has the node depend on a service that has just said that it works.
func (s *system) expect(name string) {
	if name != itemNetd {
		return
	}
	s.state.Lock()
	s.hangs = false
	s.state.Unlock()
	s.guard.pack.Expect(name, netdWithin, time.Now())
}

// alive takes a sign of life of a service.
func (s *system) alive(name string) { s.guard.pack.Alive(name, time.Now()) }

// wedged remembers that a service is ended because it showed no life: its end
// does not make the node wait less for it.
func (s *system) wedged(name string) {
	s.state.Lock()
	defer s.state.Unlock()
	s.hangs = name == itemNetd || s.hangs
}

// calm takes a service that ended by itself off the watchdog.
func (s *system) calm(name string) {
	s.state.Lock()
	defer s.state.Unlock()
	if name == itemNetd && !s.hangs {
		s.guard.pack.Dismiss(name)
	}
}

// dismiss takes a service that is being stopped off the watchdog.
func (s *system) dismiss(name string) { s.guard.pack.Dismiss(name) }
