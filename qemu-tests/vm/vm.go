package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"time"

	"weft/event"
	"weft/qemu-tests/vm/hub"
)

// A VM is a guest that was started. Its methods may be called at the same
// time, and after its end.
type VM struct {
	cfg      Config
	program  string
	firmware firmwarePair
	vars     string
	state    string // directory of QEMU's temporary files and, by default, vars
	cleanup  []func()
	ports    map[int]*hub.Port // by card

	console *console
	events  *eventLog
	cancel  context.CancelCauseFunc

	mu      sync.Mutex
	accel   Accel
	current *run

	done chan struct{}
	exit Exit  // read after done
	err  error // read after done
}

// Start starts a guest. The guest ends when ctx does. An error of Start says
// what is wrong with the configuration or missing on the host; what happens
// later is told by [VM.Wait].
func Start(ctx context.Context, cfg Config) (*VM, error) {
	cfg, arch, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	v := newVM(cfg)
	if err := v.prepare(arch); err != nil {
		v.clean()
		return nil, err
	}
	accel, err := v.chooseAccel(ctx)
	if err != nil {
		v.clean()
		return nil, err
	}
	if err := v.run(ctx, accel); err != nil {
		v.clean()
		return nil, err
	}
	return v, nil
}

func newVM(cfg Config) *VM {
	return &VM{
		cfg: cfg, ports: map[int]*hub.Port{}, done: make(chan struct{}),
		console: newConsole(cfg.Console), events: newEventLog(),
	}
}

// run starts QEMU and the watch over it.
func (v *VM) run(ctx context.Context, accel Accel) error {
	ctx, v.cancel = context.WithCancelCause(ctx)
	r, err := v.launch(accel)
	if err != nil {
		v.cancel(nil)
		return err
	}
	go v.supervise(ctx, r)
	return nil
}

// prepare finds and makes what QEMU needs.
func (v *VM) prepare(arch arch) error {
	var err error
	if v.program, err = findQEMU(v.cfg.QEMU, arch); err != nil {
		return fmt.Errorf("vm %s: %w", v.cfg.Name, err)
	}
	state, release, err := makeState(os.TempDir(), time.Now())
	if err != nil {
		return fmt.Errorf("vm %s: %w", v.cfg.Name, err)
	}
	v.state, v.cleanup = state, append(v.cleanup, release)
	if v.cfg.Firmware == UEFI {
		if v.firmware, err = arch.findFirmware(fileExists); err != nil {
			return fmt.Errorf("vm %s: %w", v.cfg.Name, err)
		}
		dir := v.state
		if v.cfg.StateDir != "" {
			dir = v.cfg.StateDir
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("vm %s: state directory: %w", v.cfg.Name, err)
			}
		}
		if v.vars, err = v.firmware.variables(dir); err != nil {
			return fmt.Errorf("vm %s: %w", v.cfg.Name, err)
		}
	}
	for i, nic := range v.cfg.NICs {
		if nic.Segment == nil {
			continue
		}
		port, err := nic.Segment.Plug(v.cfg.Name)
		if err != nil {
			return fmt.Errorf("vm %s: network card %d: %w", v.cfg.Name, i, err)
		}
		v.ports[i] = port
		v.cleanup = append(v.cleanup, port.Unplug)
	}
	return nil
}

// findQEMU returns the path of QEMU.
func findQEMU(path string, arch arch) (string, error) {
	if path == "" {
		path = arch.program
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return "", &MissingError{
			What: path, Where: "PATH",
			Fix: fmt.Sprintf("install %s: make deps", arch.programPackage),
		}
	}
	return found, nil
}

func (v *VM) clean() {
	for _, f := range v.cleanup {
		f()
	}
}

// Name returns the guest's name.
func (v *VM) Name() string { return v.cfg.Name }

// Accel returns how the guest runs now; Auto is never it.
func (v *VM) Accel() Accel {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.accel
}

// Port returns the port of a segment that card nic is plugged into, to pull
// its cable or read its counters; nil for a card on the uplink.
func (v *VM) Port(nic int) *hub.Port { return v.ports[nic] }

// MAC returns the address of card nic.
func (v *VM) MAC(nic int) string { return v.cfg.NICs[nic].MAC.String() }

// Console returns what the guest has written to its first serial port, as
// plain text.
func (v *VM) Console() string { return v.console.String() }

// Send types bytes at the guest's first serial port.
func (v *VM) Send(p []byte) error {
	v.mu.Lock()
	r := v.current
	v.mu.Unlock()
	if _, err := r.console.Write(p); err != nil {
		return fmt.Errorf("vm %s: console: %w", v.cfg.Name, err)
	}
	return nil
}

// Expect waits until re matches the console's text after the last match, or
// after the last [VM.Mark], and returns the match and its groups. Text comes
// in pieces of any size: let re end with what follows the part that counts,
// such as a newline. When the guest or ctx ends first, the error is a
// [Failure].
func (v *VM) Expect(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	match, err := v.console.expect(ctx, re)
	if err != nil {
		return nil, v.notSeen(fmt.Sprintf("the console to show %q", re), err)
	}
	return match, nil
}

// Events returns what the guest has told on its event channel, the last
// 50,000 at least.
func (v *VM) Events() []event.Event { return v.events.all() }

// WaitEvent returns the first event, since the start or the last [VM.Mark],
// that match accepts; it waits when there is none yet. When the guest or ctx
// ends first, the error is a [Failure].
func (v *VM) WaitEvent(ctx context.Context, match func(event.Event) bool) (event.Event, error) {
	e, err := v.events.wait(ctx, match)
	if err != nil {
		return event.Event{}, v.notSeen("an event", err)
	}
	return e, nil
}

// Mark makes Expect and WaitEvent look only at what comes from now on. Call
// it before what should cause something to be seen again, such as a reset.
func (v *VM) Mark() {
	v.console.mark()
	v.events.mark()
}

// notSeen is the error of a wait that ended in vain.
func (v *VM) notSeen(what string, err error) error {
	select {
	case <-v.done:
		var failure *Failure
		if errors.As(v.err, &failure) {
			return fmt.Errorf("waiting for %s: %w", what, failure)
		}
	default:
	}
	return v.failure(fmt.Sprintf("waited for %s: %v", what, err), err)
}

func (v *VM) failure(reason string, err error) *Failure {
	v.mu.Lock()
	stderr := v.current.process.stderr.String()
	v.mu.Unlock()
	return &Failure{
		VM: v.cfg.Name, Reason: reason, Err: err,
		Console: v.console.tail(tailLines), Stderr: stderr, Command: v.CommandLine(),
	}
}

// PowerDown presses the power button; the guest decides what to do about it.
func (v *VM) PowerDown(ctx context.Context) error {
	_, err := v.QMP(ctx, "system_powerdown", nil)
	return err
}

// Reset presses the reset button.
func (v *VM) Reset(ctx context.Context) error {
	_, err := v.QMP(ctx, "system_reset", nil)
	return err
}

// QMP sends a command of the QEMU Machine Protocol and returns the answer.
func (v *VM) QMP(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	v.mu.Lock()
	r := v.current
	v.mu.Unlock()
	answer, err := r.qmp.do(ctx, command, arguments)
	if err != nil {
		return nil, fmt.Errorf("vm %s: %w", v.cfg.Name, err)
	}
	return answer, nil
}

// Kill ends the guest at once, like a pulled plug, and returns when it is
// gone. It is safe to call at any time.
func (v *VM) Kill() {
	v.cancel(errKilled)
	<-v.done
}

// Done is closed when the guest has ended and nothing of it is left.
func (v *VM) Done() <-chan struct{} { return v.done }

// Wait waits for the guest's end. The error is nil when the guest ended by
// itself or by [VM.Kill], ctx's when that ended first and the guest still
// runs, and a [Failure] for everything else.
func (v *VM) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-v.done:
		return v.exit, v.err
	case <-ctx.Done():
	}
	select {
	case <-v.done: // both were true, and the end says more
		return v.exit, v.err
	default:
		return Exit{}, fmt.Errorf("vm %s: wait: %w", v.cfg.Name, ctx.Err())
	}
}

// CPUSeconds returns the CPU time QEMU has used so far.
func (v *VM) CPUSeconds() float64 { return v.Usage().CPU.Seconds() }

// Usage returns what the guest has taken so far.
func (v *VM) Usage() Usage {
	v.mu.Lock()
	p := v.current.process
	v.mu.Unlock()
	u := Usage{CPU: p.cpu(), Wall: time.Since(p.start)}
	select {
	case <-p.done:
		u.Wall, u.PeakMemory = p.wall, p.peakMemory()
	default:
	}
	return u
}

// CommandLine returns a shell line that starts the same guest by hand: the
// console on the terminal, guests of one segment joined by multicast on the
// loopback, UEFI variables as from the factory, no limits.
func (v *VM) CommandLine() string {
	args := arguments(v.cfg, v.Accel(), v.firmware, byHand(v.cfg, v.firmware))
	return shellLine(append([]string{v.program}, args...))
}
