package main

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/netd/lease"
	"weft/netd/status"
	"weft/netd/store"
)

// maxProblems limits how many bad entries of a store are told of.
const maxProblems = 100

// A leases is the store of a running netd. The store behind it can be
// changed while netd runs: what was delivered stays until the new one
// answers. What passes through is counted, for the status.
type leases struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	inner   store.Store
	changed chan struct{} // closed and replaced when inner is
	facts   status.StoreFacts
	before  []status.Problem // before the last full set, which were logged
	keys    map[string]bool
}

var _ store.Store = (*leases)(nil)

func newLeases(kind string, inner store.Store, log *slog.Logger, now func() time.Time) *leases {
	return &leases{log: log, now: now, inner: inner, changed: make(chan struct{}),
		facts: status.StoreFacts{Type: kind}, keys: map[string]bool{}}
}

// use makes another store the one behind.
func (l *leases) use(kind string, inner store.Store) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inner, l.facts.Type = inner, kind
	l.facts.Problems, l.facts.Error, l.facts.OwnError = nil, nil, nil
	l.facts.Kept, l.facts.Revision = false, 0
	l.facts.Granted, l.facts.Renewed = time.Time{}, time.Time{}
	close(l.changed)
	l.changed = make(chan struct{})
}

// about is what is known of the store.
func (l *leases) about() status.StoreFacts {
	l.mu.Lock()
	defer l.mu.Unlock()
	facts := l.facts
	facts.Problems = slices.Clone(facts.Problems)
	if keeps, is := l.inner.(interface{ KeepError() (int, error) }); is {
		facts.KeepErrors, facts.KeepError = keeps.KeepError()
	}
	return facts
}

// current is the store behind, and a context that ends when it is no longer.
func (l *leases) current(ctx context.Context) (store.Store, context.Context, context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	inner, changed := l.inner, l.changed
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}()
	return inner, ctx, cancel
}

// Watch delivers what the store behind does; after it was changed, the full
// set of the new one.
func (l *leases) Watch(ctx context.Context) iter.Seq2[store.Update, error] {
	return func(yield func(store.Update, error) bool) {
		for ctx.Err() == nil {
			inner, until, cancel := l.current(ctx)
			for u, err := range inner.Watch(until) {
				if l.note(u, err) {
					continue
				}
				if !yield(u, err) {
					cancel()
					return
				}
			}
			<-until.Done() // a watch that ends by itself has nothing to add
			cancel()
		}
	}
}

// note counts a delivery. It reports whether that is all there is to do: what
// is wrong with one entry does not concern the reconciler.
func (l *leases) note(u store.Update, err error) (done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var problem *store.Problem
	switch {
	case errors.As(err, &problem):
		l.facts.Errors++
		now := status.Problem(*problem)
		news := !slices.Contains(l.before, now) && !slices.Contains(l.facts.Problems, now)
		l.facts.Problems = slices.DeleteFunc(l.facts.Problems, func(p status.Problem) bool { return p.Key == problem.Key })
		if len(l.facts.Problems) < maxProblems {
			l.facts.Problems = append(l.facts.Problems, now)
		}
		if news {
			l.log.Warn("store: an entry is skipped", "key", problem.Key, "reason", problem.Reason, "fix", problem.Fix)
		}
		return true
	case err != nil:
		l.facts.Errors++
		l.facts.Error = err
		return false
	}
	if l.facts.Kept = u.Kept; !u.Kept {
		l.facts.Error, l.facts.Updated = nil, l.now()
		l.facts.Revision = max(u.Revision, 0)
	}
	if u.Full {
		l.before, l.facts.Problems = l.facts.Problems, nil
		clear(l.keys)
	}
	for key := range u.Set {
		l.keys[key] = true
		l.solved(key)
	}
	for _, key := range u.Gone {
		delete(l.keys, key)
		l.solved(key)
	}
	l.facts.Leases = len(l.keys)
	return false
}

// solved forgets the problem of an entry, which may be named by its kind, too.
func (l *leases) solved(key string) {
	l.facts.Problems = slices.DeleteFunc(l.facts.Problems, func(p status.Problem) bool {
		return p.Key == key || strings.HasSuffix(p.Key, " "+key)
	})
}

// Publish publishes in the store behind, and again in the new one after it
// was changed.
func (l *leases) Publish(ctx context.Context, own lease.Lease, granted func(lease.Lease, error)) error {
	for ctx.Err() == nil {
		inner, until, cancel := l.current(ctx)
		err := inner.Publish(until, own, func(given lease.Lease, err error) {
			if errors.Is(err, store.ErrKept) {
				err = nil // it is used, and confirmed by nobody
			} else {
				l.own(err)
			}
			granted(given, err)
		})
		if err != nil && until.Err() == nil {
			cancel()
			l.own(err)
			return err
		}
		<-until.Done() // a store with nothing to keep alive returns at once
		cancel()
	}
	return nil
}

// own notes how publishing this node's lease went.
func (l *leases) own(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts.OwnError = err
	if err != nil {
		return
	}
	l.facts.Renewed = l.now()
	if l.facts.Granted.IsZero() {
		l.facts.Granted = l.facts.Renewed
	}
}
