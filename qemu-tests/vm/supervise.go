package vm

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// tick is how often limits are looked at: reading one line of /proc.
	tick = 200 * time.Millisecond
	// lastWordsQuiet and lastWordsMost bound the wait for the rest of what a
	// failing kernel prints: registers and a call trace.
	lastWordsQuiet = 300 * time.Millisecond
	lastWordsMost  = 3 * time.Second
	// firmwareText is how many bytes of text SeaBIOS, OVMF or the first code
	// of a kernel print at most; a kernel prints tens of thousands. Broken
	// accelerators get that far: their trouble begins with paging.
	firmwareText = 512
)

// end is why a run is over. A nil err is an end that the guest chose.
type end struct {
	reason string
	err    error
	killed bool
	// retry says that software emulation may do better.
	retry bool
}

// supervise watches the guest to its end and leaves nothing behind.
func (v *VM) supervise(ctx context.Context, r *run) {
	for {
		e := v.watch(ctx, r)
		r.stop()
		if e.retry {
			v.console.note(fmt.Sprintf("weft: %s: %s; starting again with software emulation (tcg)", v.Accel(), e.reason))
			v.cfg.Log.Warn("accelerator given up", "vm", v.cfg.Name, "accel", string(v.Accel()), "reason", e.reason)
			next, err := v.launch(TCG)
			if err == nil {
				r = next
				continue
			}
			e = end{reason: err.Error(), err: err}
		}
		v.finish(r, e)
		return
	}
}

// finish records how the guest ended.
func (v *VM) finish(r *run, e end) {
	r.mu.Lock()
	shutdown := r.shutdown
	r.mu.Unlock()
	v.exit = Exit{Killed: e.killed, Shutdown: shutdown, Usage: v.Usage()}
	v.exit.Code, v.exit.Signal = r.process.code()
	if e.err != nil {
		v.err = v.failure(e.reason, e.err)
	}
	v.clean()
	v.cancel(nil)
	close(v.done)
	v.console.end()
	v.events.end()
}

// watch returns when the run is over or must be.
func (v *VM) watch(ctx context.Context, r *run) end {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	doubted := v.doubted()
	for {
		select {
		case <-r.process.done:
			return v.judgeExit(r, doubted)
		case fault := <-r.faults:
			v.lastWords(r)
			return end{reason: fault, err: ErrFault}
		case reason := <-r.broken:
			if !doubted {
				reason = fmt.Sprintf("%s: %s; use auto or tcg", v.Accel(), reason)
			}
			return end{reason: reason, err: ErrAccel, retry: doubted}
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, errKilled) {
				return end{reason: cause.Error(), err: cause, killed: true}
			}
			return end{killed: true}
		case <-ticks.C:
			if e, over := v.passedLimit(r, doubted); over {
				return e
			}
		}
	}
}

// doubted says that the accelerator was chosen for the guest, so that another
// may be taken when it fails.
func (v *VM) doubted() bool { return v.cfg.Accel == Auto && v.Accel() != TCG }

// passedLimit looks at time.
func (v *VM) passedLimit(r *run, doubted bool) (end, bool) {
	wall := time.Since(r.process.start)
	if doubted && wall > v.cfg.StallLimit && !v.progressed() {
		reason := fmt.Sprintf("the guest printed next to nothing in %v", v.cfg.StallLimit)
		return end{reason: reason, err: ErrAccel, retry: true}, true
	}
	if v.cfg.WallLimit > 0 && wall > v.cfg.WallLimit {
		reason := fmt.Sprintf("used more than %v of wall time", v.cfg.WallLimit)
		return end{reason: reason, err: ErrWallLimit}, true
	}
	if v.cfg.CPULimit > 0 && r.process.cpu() > v.cfg.CPULimit {
		reason := fmt.Sprintf("used more than %v of CPU time", v.cfg.CPULimit)
		return end{reason: reason, err: ErrCPULimit}, true
	}
	return end{}, false
}

// lastWords waits for the rest of a failing kernel's report.
func (v *VM) lastWords(r *run) {
	most := time.NewTimer(lastWordsMost)
	defer most.Stop()
	quiet := time.NewTimer(lastWordsQuiet)
	defer quiet.Stop()
	for {
		changed := v.console.change()
		select {
		case <-changed:
			quiet.Reset(lastWordsQuiet)
		case <-quiet.C:
			return
		case <-most.C:
			return
		case <-r.process.done:
			return
		}
	}
}

// judgeExit says what an end of QEMU means. All the console's text must be
// looked at first: a guest that panics may end QEMU before the text is read.
func (v *VM) judgeExit(r *run, doubted bool) end {
	r.stop()
	select {
	case fault := <-r.faults:
		return end{reason: fault, err: ErrFault}
	default:
	}
	code, signal := r.process.code()
	if code == 0 {
		return end{}
	}
	if _, ok := (Exit{Code: code}).Guest(); ok && v.cfg.DebugExit {
		return end{}
	}
	reason := fmt.Sprintf("QEMU ended with status %d", code)
	if signal != 0 {
		reason = fmt.Sprintf("QEMU was ended by signal %v", signal)
	}
	return end{reason: reason, err: ErrQEMU, retry: doubted && !v.progressed()}
}

// progressed says that the guest got beyond its firmware.
func (v *VM) progressed() bool { return v.console.size() > firmwareText || v.events.count() > 0 }
