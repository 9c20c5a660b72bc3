package status

import (
	"context"
	"time"
)

// A Publisher calls for a new document whenever something has changed, at
// most once in a while: a burst of changes is one document, and the last
// change is never lost.
type Publisher struct {
	changed chan struct{}
}

// NewPublisher returns one that waits for the first Poke.
func NewPublisher() *Publisher { return &Publisher{changed: make(chan struct{}, 1)} }

// Poke says that something has changed. It never blocks.
func (p *Publisher) Poke() {
	select {
	case p.changed <- struct{}{}:
	default: // a document still to come covers this change
	}
}

// Run calls publish after each change until ctx ends; between two calls it
// lets at least every pass. after waits.
func (p *Publisher) Run(ctx context.Context, every time.Duration, after func(time.Duration) <-chan time.Time, publish func()) {
	for {
		select {
		case <-p.changed:
		case <-ctx.Done():
			return
		}
		publish()
		select {
		case <-after(every):
		case <-ctx.Done():
			return
		}
	}
}
