package watchdog

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSilenceIsToldByName(t *testing.T) {
	var p Pack
	now := time.Now()
	if s := p.Silent(now); s != "" {
		t.Errorf("nobody is expected, and %s", s)
	}
	p.Expect("netd", 30*time.Second, now)
	p.Expect("init", time.Minute, now)
	p.Alive("stranger", now)
	later := now.Add(40 * time.Second)
	if s := p.Silent(later); !strings.HasPrefix(s, "netd has shown no life for 40s") || strings.Contains(s, "init") {
		t.Errorf("after 40 s: %q", s)
	}
	p.Alive("netd", later)
	if s := p.Silent(later); s != "" {
		t.Errorf("netd is alive, and %s", s)
	}
	p.Dismiss("netd")
	p.Alive("init", later)
	if s := p.Silent(later.Add(50 * time.Second)); s != "" {
		t.Errorf("netd has ended in order, and %s", s)
	}
}

// fakeTimer counts.
type fakeTimer struct {
	pets     int
	released bool
	err      error
}

func (f *fakeTimer) Pet() error     { f.pets++; return f.err }
func (f *fakeTimer) Release() error { f.released = true; return nil }

func TestTheTimerIsPettedUntilSomethingIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			pack   Pack
			timer  = &fakeTimer{}
			reason string
		)
		pack.Expect("netd", 30*time.Second, time.Now())
		Run(t.Context(), &pack, Config{Timer: timer, Every: 5 * time.Second, Now: time.Now, Tick: time.After,
			Bite: func(r string) { reason = r }, Problem: func(err error) { t.Error(err) }})
		if !strings.Contains(reason, "netd") || timer.pets != 7 || timer.released {
			t.Errorf("bit for %q after %d pets, released %v", reason, timer.pets, timer.released)
		}
	})
}

func TestAnOrderlyEndReleasesTheTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		timer := &fakeTimer{err: errors.New("worn out")}
		problems := 0
		Run(ctx, &Pack{}, Config{Timer: timer, Every: 5 * time.Second, Now: time.Now, Tick: time.After,
			Bite: func(r string) { t.Errorf("bit: %s", r) }, Problem: func(error) { problems++ }})
		if !timer.released || problems != 1 {
			t.Errorf("released %v, %d problems told; one is enough", timer.released, problems)
		}
	})
}

func TestTheTimerCanBeLeftToBoundTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := &fakeTimer{}
		time.AfterFunc(time.Minute, func() { cancel(ErrKeep) })
		Run(ctx, &Pack{}, Config{Timer: timer, Every: 5 * time.Second, Now: time.Now, Tick: time.After,
			Bite: func(r string) { t.Errorf("bit: %s", r) }, Problem: func(err error) { t.Error(err) }})
		if timer.released {
			t.Error("the timer was released")
		}
	})
}

func TestWithoutHardwareTheNodeIsWatchedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pack Pack
		now := time.Now()
		pack.Expect("init", time.Minute, now)
		pack.Expect("init", 10*time.Second, now) // the bound of the last counts
		var reason string
		Run(t.Context(), &pack, Config{Every: 5 * time.Second, Now: time.Now, Tick: time.After, Bite: func(r string) { reason = r }})
		if !strings.Contains(reason, "init has shown no life for 15s (bound 10s)") {
			t.Errorf("bit for %q", reason)
		}
	})
}
