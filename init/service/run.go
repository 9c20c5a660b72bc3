package service

import (
	"context"
	"fmt"
	"time"
)

// Run keeps a service running until ctx ends, then stops it: SIGTERM first,
// and everything in its cgroup is killed when StopWithin has passed. It
// returns when the service has ended, or will not be started again, or cannot
// even be killed.
func Run(ctx context.Context, spec Spec, l Launcher, w Watcher, clock Clock) {
	back := Backoff{Restart: spec.Restart}
	for ctx.Err() == nil {
		started := clock.Now()
		e := runOnce(ctx, spec, l, w, clock)
		if ctx.Err() != nil {
			w.State(spec.Name, Stopped, e.text)
			return
		}
		if !spec.Restart.again(e) {
			if e.well {
				w.State(spec.Name, Done, e.text)
				return
			}
			w.State(spec.Name, Failed, e.text+"; it is not started again")
			return
		}
		now := clock.Now()
		if back.TooMany(now) {
			w.State(spec.Name, Failed, fmt.Sprintf("%s; it has ended %d times within %s and stays down", e.text, spec.Restart.Burst, spec.Restart.Window))
			return
		}
		wait := back.Next(now.Sub(started))
		w.State(spec.Name, Down, fmt.Sprintf("%s; starting again in %s", e.text, wait))
		select {
		case <-clock.After(wait):
		case <-ctx.Done():
			w.State(spec.Name, Stopped, "not running")
		}
	}
}

// end is how one run of a service ended.
type end struct {
	text string
	well bool // with code 0, by itself
}

const (
	// tailLines is how many last lines are shown when a service dies.
	tailLines = 15
	// abortWithin is how long a wedged service has to say where it was.
	abortWithin = 3 * time.Second
	// killWithin is how long the kernel may take to end what was killed: a
	// process that waits for a dead disk never ends.
	killWithin = 5 * time.Second
)

// A run is one run of a service. Everything but line and notice happens in
// one goroutine.
type run struct {
	spec   Spec
	w      Watcher
	clock  Clock
	events chan func() // everything the watcher hears, in order
	over   chan struct{}
	ring   Ring

	ready bool
	// What is waited for; nil for nothing.
	grace, late, wedged, kill, gone <-chan time.Time
	cause                           string // why it was ended, if it was
	limit                           time.Duration
}

// runOnce runs a service until it ends or ctx does, and says how it ended.
func runOnce(ctx context.Context, spec Spec, l Launcher, w Watcher, clock Clock) end {
	r := &run{spec: spec, w: w, clock: clock, events: make(chan func(), 64), over: make(chan struct{}), limit: spec.Watchdog}
	defer close(r.over)
	w.State(spec.Name, Starting, "")
	p, err := l.Launch(spec, r.line, r.notice)
	if err != nil {
		return end{text: err.Error()}
	}
	r.grace, r.late = r.after(spec.Grace), r.after(spec.ReadyWithin)
	stop := ctx.Done()
	for {
		select {
		case f := <-r.events:
			f()
		case <-r.grace:
			r.isReady()
		case <-r.late:
			r.late = nil
			w.State(spec.Name, Late, fmt.Sprintf("not ready after %s%s", spec.ReadyWithin, r.tail()))
		case <-r.wedged:
			r.wedged = nil
			r.cause = fmt.Sprintf("no sign of life for %s: ", r.limit)
			w.State(spec.Name, Wedged, fmt.Sprintf("it has shown no life for %s and is ended", r.limit))
			p.Abort()
			r.kill = r.after(abortWithin)
		case <-stop:
			stop, r.grace, r.late, r.wedged = nil, nil, nil, nil
			p.Stop()
			r.kill = clock.After(spec.StopWithin)
		case <-r.kill:
			r.kill = nil
			if stop == nil {
				w.State(spec.Name, Hung, fmt.Sprintf("it did not end within %s of being asked and is killed", spec.StopWithin))
			}
			p.Kill()
			r.gone = clock.After(killWithin)
		case <-r.gone:
			return end{text: r.cause + "it does not end even when killed"}
		case exit := <-p.Done():
			r.drain()
			text := r.cause + exit.String()
			if ctx.Err() == nil {
				text += r.tail()
			}
			return end{text, exit.Code == 0 && exit.Signal == 0 && r.cause == ""}
		}
	}
}

// after is a timer, none for 0.
func (r *run) after(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return r.clock.After(d)
}

// line takes a line of output, from any goroutine.
func (r *run) line(s string) {
	r.ring.Add(s)
	if Warning(s) {
		r.tell(func() { r.w.Warning(r.spec.Name, s) })
	}
}

// notice takes a notice of the service, from any goroutine.
func (r *run) notice(n Notice) { r.tell(func() { r.heard(n) }) }

// tell has something happen in the run's goroutine, unless the run is over.
func (r *run) tell(f func()) {
	select {
	case r.events <- f:
	case <-r.over:
	}
}

// heard acts on a notice.
func (r *run) heard(n Notice) {
	if n.HasStatus {
		r.w.Status(r.spec.Name, n.Status)
	}
	if n.Reloading {
		r.w.Status(r.spec.Name, "reads its configuration again")
	}
	if n.Ready {
		r.isReady()
	}
	if n.Every > 0 && r.limit > 0 {
		r.limit = n.Every
		r.pet()
	}
	if n.Alive {
		r.w.Alive(r.spec.Name)
		r.pet()
	}
	if n.Wedged && r.limit > 0 && r.ready && r.cause == "" {
		expired := make(chan time.Time, 1)
		expired <- r.clock.Now()
		r.wedged = expired
	}
}

// isReady takes the service for ready, once a run.
func (r *run) isReady() {
	r.grace, r.late = nil, nil
	if r.ready {
		return
	}
	r.ready = true
	r.w.State(r.spec.Name, Ready, "")
	r.pet()
}

// pet starts the service's own watchdog anew.
func (r *run) pet() {
	if r.ready && r.cause == "" {
		r.wedged = r.after(r.limit)
	}
}

// drain does what was still to be told.
func (r *run) drain() {
	for {
		select {
		case f := <-r.events:
			f()
		default:
			return
		}
	}
}

// tail is the last lines of output, each on a line of its own.
func (r *run) tail() string {
	var text string
	for _, s := range r.ring.Last(tailLines) {
		text += "\n| " + s
	}
	return text
}
