package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fakeClock is a clock whose waits end at once, or when the test says so.
type fakeClock struct {
	now   time.Time
	waits chan time.Duration
	fire  chan time.Time
}

func newClock() *fakeClock {
	return &fakeClock{now: time.Unix(1000, 0), waits: make(chan time.Duration, 100), fire: make(chan time.Time)}
}

func (c *fakeClock) Now() time.Time { return c.now }

func (c *fakeClock) After(d time.Duration) <-chan time.Time {
	c.waits <- d
	return c.fire
}

// fakeProcess is a program that the test ends.
type fakeProcess struct {
	done          chan Exit
	stopped, kill chan struct{}
	aborted       chan struct{}
	line          func(string)
	notice        func(Notice)
}

func (p *fakeProcess) Done() <-chan Exit { return p.done }
func (p *fakeProcess) Stop()             { close(p.stopped) }
func (p *fakeProcess) Abort()            { close(p.aborted) }
func (p *fakeProcess) Kill()             { close(p.kill) }

// fakeLauncher hands each started program to the test.
type fakeLauncher struct {
	started chan *fakeProcess
	fails   error
}

func (l *fakeLauncher) Launch(_ Spec, line func(string), notice func(Notice)) (Process, error) {
	if l.fails != nil {
		return nil, l.fails
	}
	p := &fakeProcess{done: make(chan Exit, 1), stopped: make(chan struct{}), kill: make(chan struct{}), aborted: make(chan struct{}), line: line, notice: notice}
	l.started <- p
	return p, nil
}

// heard is a watcher that passes on what it hears as text.
type heard chan string

func (h heard) State(_ string, s State, text string) {
	h <- strings.TrimSpace(fmt.Sprintf("%s %s", s, text))
}
func (h heard) Status(_, text string)  { h <- "status " + text }
func (h heard) Warning(_, line string) { h <- "warning " + line }
func (h heard) Alive(string)           { h <- "alive" }

func (h heard) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-h:
		if got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("heard nothing, want %q", want)
	}
}

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

var spec = Spec{Name: "netd", Path: "/sbin/netd", StopWithin: 5 * time.Second}

func TestAServiceThatEndsIsStartedAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, h, c := &fakeLauncher{started: make(chan *fakeProcess)}, make(heard, 100), newClock()
	ended := make(chan struct{})
	go func() { defer close(ended); Run(ctx, spec, l, h, c) }()

	p := next(t, l.started)
	h.expect(t, "starting")
	p.notice(Notice{Status: "programming", HasStatus: true})
	h.expect(t, "status programming")
	p.notice(Notice{Ready: true})
	h.expect(t, "ready")
	p.notice(Notice{Ready: true, Status: "again", HasStatus: true})
	h.expect(t, "status again") // and no second ready
	p.line("all is well")
	p.line("level=WARN msg=hm")
	h.expect(t, "warning level=WARN msg=hm")
	p.done <- Exit{Code: 3}
	h.expect(t, "down exit code 3\n| all is well\n| level=WARN msg=hm; starting again in 250ms")
	if w := next(t, c.waits); w != firstWait {
		t.Errorf("waits %v", w)
	}
	c.fire <- time.Time{}

	p = next(t, l.started)
	h.expect(t, "starting")
	p.done <- Exit{Code: -1, Signal: syscall.SIGSEGV}
	h.expect(t, "down ended by signal 11 (segmentation fault); starting again in 500ms")
	cancel()
	h.expect(t, "stopped not running")
	<-ended
}

func TestAServiceThatCannotStartIsTriedAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h, c := make(heard, 100), newClock()
	go Run(ctx, spec, &fakeLauncher{fails: errors.New("no such file")}, h, c)
	h.expect(t, "starting")
	h.expect(t, "down no such file; starting again in 250ms")
	c.fire <- time.Time{}
	h.expect(t, "starting")
}

func TestStopAsksFirst(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, h, c := &fakeLauncher{started: make(chan *fakeProcess)}, make(heard, 100), newClock()
	ended := make(chan struct{})
	go func() { defer close(ended); Run(ctx, spec, l, h, c) }()
	p := next(t, l.started)
	h.expect(t, "starting")
	cancel()
	next(t, p.stopped)
	if w := next(t, c.waits); w != spec.StopWithin {
		t.Errorf("waits %v", w)
	}
	p.done <- Exit{}
	h.expect(t, "stopped exit code 0")
	<-ended
}

func TestStopKillsWhatDoesNotListen(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, h, c := &fakeLauncher{started: make(chan *fakeProcess)}, make(heard, 100), newClock()
	ended := make(chan struct{})
	go func() { defer close(ended); Run(ctx, spec, l, h, c) }()
	p := next(t, l.started)
	h.expect(t, "starting")
	cancel()
	next(t, p.stopped)
	c.fire <- time.Time{}
	h.expect(t, "hung it did not end within 5s of being asked and is killed")
	next(t, p.kill)
	p.done <- Exit{Code: -1, Signal: syscall.SIGKILL}
	h.expect(t, "stopped ended by signal 9 (killed)")
	<-ended
	// Output that comes after the end blocks nobody.
	for range 200 {
		p.line("level=WARN late")
	}
}

func TestBackoff(t *testing.T) {
	for name, c := range map[string]struct {
		ran  []time.Duration
		want time.Duration
	}{
		"first":                {[]time.Duration{0}, firstWait},
		"doubles":              {[]time.Duration{0, 0, 0}, 4 * firstWait},
		"has an end":           {make([]time.Duration, 50), longest},
		"forgets after steady": {[]time.Duration{0, 0, 0, steady}, firstWait},
		"a long run first":     {[]time.Duration{time.Hour}, firstWait},
		"not quite steady":     {[]time.Duration{0, steady - 1}, 2 * firstWait},
	} {
		var b Backoff
		var got time.Duration
		for _, ran := range c.ran {
			got = b.Next(ran)
		}
		if got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
