package service

import (
	"slices"
	"time"
)

// A Policy says after which ends a service is started again.
type Policy int

// The policies.
const (
	// Always starts it again however it ended.
	Always Policy = iota
	// OnFailure starts it again unless it ended with code 0.
	OnFailure
	// Never leaves it down: what ends with code 0 is done.
	Never
)

// Bounds of the time between a service's end and its next start, where its
// [Restart] gives none. The first try comes soon, since most ends are
// accidents; a service that ends again and again must not eat the machine.
const (
	firstWait = 250 * time.Millisecond
	longest   = 30 * time.Second
	// steady is how long a service must have run for its past to be
	// forgotten.
	steady = time.Minute
)

// A Restart says whether and when a service that ended is started again. The
// zero value starts it always, at first after a quarter of a second, later
// after half a minute, for ever.
type Restart struct {
	Policy Policy
	// First is the pause before the first new start, doubled each time up to
	// Longest; 250 ms and 30 s when zero.
	First, Longest time.Duration
	// Burst is how many ends within Window are too many: then the service
	// stays down. There is no such bound when Burst is zero.
	Burst  int
	Window time.Duration
}

// again reports whether a service is started again after it ended in a way.
func (r Restart) again(e end) bool {
	switch r.Policy {
	case Never:
		return false
	case OnFailure:
		return !e.well
	}
	return true
}

// A Backoff says how long to wait before a service is started again. The zero
// value is ready to use.
type Backoff struct {
	Restart Restart

	wait time.Duration
	ends []time.Time // those within the window
}

// Next returns the time to wait after the service ran for ran.
func (b *Backoff) Next(ran time.Duration) time.Duration {
	first, last := b.Restart.First, b.Restart.Longest
	if first <= 0 {
		first = firstWait
	}
	if last <= 0 {
		last = longest
	}
	switch {
	case b.wait == 0 || ran >= steady:
		b.wait = min(first, last)
	default:
		b.wait = min(2*b.wait, last)
	}
	return b.wait
}

// TooMany counts an end at now and reports whether there have been too many
// lately.
func (b *Backoff) TooMany(now time.Time) bool {
	if b.Restart.Burst <= 0 {
		return false
	}
	b.ends = slices.DeleteFunc(b.ends, func(t time.Time) bool { return now.Sub(t) > b.Restart.Window })
	b.ends = append(b.ends, now)
	return len(b.ends) >= b.Restart.Burst
}

// A Clock tells the time and wakes.
type Clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

// SystemClock is the real Clock.
type SystemClock struct{}

var _ Clock = SystemClock{}

// Now is time.Now.
func (SystemClock) Now() time.Time { return time.Now() }

// After is time.After.
func (SystemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
