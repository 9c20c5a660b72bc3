// Package watchdog makes a node that no longer works start again, and
// remembers why.
//
// The hardware's timer resets the machine unless init pets it. Init pets it
// only as long as everything that has to be alive has said so lately
// ([Pack]), so that a wedged init, or a wedged service that matters, ends in
// a reset after a bound. It starts and stops nothing itself.
package watchdog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Timer is a hardware watchdog.
type Timer interface {
	// Pet starts the time anew.
	Pet() error
	// Release stops the timer, for an orderly end.
	Release() error
}

// A Pack is all that has to be alive. The zero value has no members.
type Pack struct {
	mu      sync.Mutex
	members map[string]member
}

// member is one that has to be alive.
type member struct {
	within time.Duration
	last   time.Time
}

// Expect adds a member that from now on has to show life at least every
// within. Expecting it again changes the bound and counts as life.
func (p *Pack) Expect(name string, within time.Duration, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.members == nil {
		p.members = make(map[string]member)
	}
	p.members[name] = member{within, now}
}

// Alive says that a member showed life. Others than those expected do not
// matter.
func (p *Pack) Alive(name string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m, ok := p.members[name]; ok {
		m.last = now
		p.members[name] = m
	}
}

// Dismiss takes a member out: it ended as it should.
func (p *Pack) Dismiss(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.members, name)
}

// Silent names the members that have been silent for too long, in order, with
// how long; empty when all are alive.
func (p *Pack) Silent(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for name, m := range p.members {
		if silence := now.Sub(m.last); silence > m.within {
			names = append(names, fmt.Sprintf("%s has shown no life for %s (bound %s)", name, silence.Round(time.Second), m.within))
		}
	}
	slices.Sort(names)
	return strings.Join(names, "; ")
}

// Config is what Run needs.
type Config struct {
	// Timer is the hardware; nil when there is none, which leaves the
	// software's own reset.
	Timer Timer
	// Every is the pause between looks; well below the timer's bound.
	Every time.Duration
	Now   func() time.Time
	Tick  func(time.Duration) <-chan time.Time
	// Bite is called once, when something is silent, with the reason: it
	// writes the reason down where it lasts and resets the machine. Should it
	// hang, the hardware resets.
	Bite func(reason string)
	// Problem reports a fault of the timer.
	Problem func(error)
}

// ErrKeep is the cause of an end of [Run] that leaves the timer running: what
// still has to be done is bounded by it.
var ErrKeep = errors.New("the watchdog's timer goes on")

// Run pets the timer while all of pack is alive, until ctx ends; then it
// releases the timer, unless the cause is [ErrKeep].
func Run(ctx context.Context, pack *Pack, c Config) {
	failed := false
	for {
		if reason := pack.Silent(c.Now()); reason != "" {
			c.Bite(reason)
			return // unpetted
		}
		if c.Timer != nil {
			err := c.Timer.Pet()
			if err != nil && !failed {
				c.Problem(err)
			}
			failed = err != nil
		}
		select {
		case <-c.Tick(c.Every):
		case <-ctx.Done():
			if c.Timer != nil && !errors.Is(context.Cause(ctx), ErrKeep) {
				if err := c.Timer.Release(); err != nil {
					c.Problem(err)
				}
			}
			return
		}
	}
}
