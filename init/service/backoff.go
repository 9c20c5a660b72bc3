package service

import "time"

// Bounds of the time between a service's end and its next start. The first
// try comes soon, since most ends are accidents; a service that ends again
// and again must not eat the machine.
const (
	firstWait = 250 * time.Millisecond
	longest   = 30 * time.Second
	// steady is how long a service must have run for its past to be
	// forgotten.
	steady = time.Minute
)

// A Backoff says how long to wait before a service is started again. The zero
// value is ready to use.
type Backoff struct{ wait time.Duration }

// Next returns the time to wait after the service ran for ran.
func (b *Backoff) Next(ran time.Duration) time.Duration {
	switch {
	case b.wait == 0 || ran >= steady:
		b.wait = firstWait
	default:
		b.wait = min(2*b.wait, longest)
	}
	return b.wait
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
