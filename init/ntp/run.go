package ntp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A State is how the clock stands.
type State struct {
	// Synced says that servers have set it right at least once; At is when
	// they last did.
	Synced bool      `json:"synced"`
	At     time.Time `json:"at,omitzero"`
	// Offset is what was put right then, Distance how wrong it can have been,
	// both in nanoseconds.
	Offset   time.Duration `json:"offset"`
	Distance time.Duration `json:"distance"`
	// Stepped says that the clock was set in one step then.
	Stepped bool `json:"stepped"`
	// Servers are those that were asked, Followed those that agreed.
	Servers  []string `json:"servers"`
	Followed []string `json:"followed"`
	// Error is what went wrong last; empty when nothing did.
	Error string `json:"error,omitempty"`
}

// Config is what Run needs.
type Config struct {
	Clock   Clock
	Network Network
	// Now tells the time, After waits; both go on when the clock is stepped.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
	// Changed is called with each new state. It must not block.
	Changed func(State)
}

// Servers are the time servers to ask, which may change while Run runs.
type Servers struct {
	mu      sync.Mutex
	names   []string
	changed chan struct{}
}

// NewServers returns an empty set.
func NewServers() *Servers { return &Servers{changed: make(chan struct{})} }

// Set makes names the servers: host names or addresses.
func (s *Servers) Set(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(names, s.names) {
		return
	}
	s.names = slices.Clone(names)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Known reports whether there is any server.
func (s *Servers) Known() bool {
	names, _ := s.get()
	return len(names) > 0
}

// get returns the servers and what is closed when they change.
func (s *Servers) get() ([]string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names, s.changed
}

// Run keeps the clock right until ctx ends. Without servers it waits for
// some.
func Run(ctx context.Context, servers *Servers, c Config) {
	var (
		state        State
		retry, pause time.Duration
	)
	for ctx.Err() == nil {
		names, changed := servers.get()
		var wait <-chan time.Time
		if len(names) > 0 {
			next, err := once(ctx, names, state.Synced, c)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				retry = NextRetry(retry)
				state.Servers, state.Error = names, err.Error()
				wait = c.After(retry)
			} else {
				retry, pause = 0, NextPoll(pause, next.Offset)
				state = next
				wait = c.After(pause)
			}
			c.Changed(state)
		}
		select {
		case <-ctx.Done():
		case <-wait:
		case <-changed:
			retry, pause = 0, 0
		}
	}
}

// once asks the servers and puts the clock right.
func once(ctx context.Context, names []string, synced bool, c Config) (State, error) {
	samples, failures := round(ctx, c.Network, names)
	reading, err := Select(samples)
	if err != nil {
		return State{}, errors.Join(append([]error{err}, failures...)...)
	}
	s := State{
		Synced: true, Offset: reading.Offset, Distance: reading.Distance, Servers: names,
		Stepped: Decide(reading.Offset, synced) == Step,
	}
	for _, a := range reading.Agreeing {
		s.Followed = append(s.Followed, a.String())
	}
	slices.Sort(s.Followed)
	left := reading.Offset
	if s.Stepped {
		if err := c.Clock.Step(left); err != nil {
			return State{}, err
		}
		left = 0
	}
	if err := c.Clock.Slew(left, reading.Distance); err != nil {
		return State{}, err
	}
	s.At = c.Now()
	return s, nil
}

// String tells the state in a line.
func (s State) String() string {
	switch {
	case !s.Synced && s.Error != "":
		return "not synchronised: " + s.Error
	case !s.Synced:
		return "not synchronised: no time server is known"
	}
	verb := "slewed"
	if s.Stepped {
		verb = "stepped"
	}
	return fmt.Sprintf("%s by %+.3f s, right within %.3f s, by %d of %d servers",
		verb, s.Offset.Seconds(), s.Distance.Seconds(), len(s.Followed), len(s.Servers))
}
