// Package kept keeps what a store last said on disk, so that a node that
// boots has its network before the store answers, and gets its own subnets
// again.
//
// What was kept is delivered first, marked as such; the store's first full
// update replaces it. There is one exception. A store that was put back to an
// older state, or emptied, does not know the nodes that are still there, and
// believing it would cut them off until they have written themselves again.
// So when a store's revision falls, or, for a store without revisions, when
// its answer is empty and was not before, the leases it no longer names are
// held: each until its node is back in whatever form, another node has its
// place, or the time has passed after which the lease of a node that is gone
// ends anyway. A lease that is gone from a store whose revision went on is
// gone.
//
// It decides nothing else and judges no lease.
package kept

import (
	"context"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
)

// DefaultHold is flannel's time to live of a lease.
const DefaultHold = 24 * time.Hour

// Config says what is kept, and for whom.
type Config struct {
	// Dir is where it is kept; it is made when it is missing.
	Dir string
	// UUID is the node's identity, Pods the ranges of the network. What was
	// kept for another node or network does not count.
	UUID string
	Pods []netip.Prefix
	// Hold is how long leases that a restored store does not know are held;
	// [DefaultHold] when zero.
	Hold time.Duration
	// Log takes what passes, Now is the clock.
	Log *slog.Logger
	Now func() time.Time
}

// A Keeper is what is kept of one network.
type Keeper struct {
	config Config

	mu       sync.Mutex
	found    bool // there was something to deliver first
	leases   map[string]lease.Lease
	held     map[string]bool // those of leases the store does not know
	until    time.Time       // the end of held
	revision int64
	subnets  []netip.Prefix
	dirty    dirty
	disk     disk
}

// Open reads what was kept. What is damaged, or of another node or network,
// is told in the log and does not count.
func Open(c Config) *Keeper {
	if c.Hold <= 0 {
		c.Hold = DefaultHold
	}
	k := &Keeper{config: c, leases: map[string]lease.Lease{}, held: map[string]bool{}, dirty: newDirty()}
	var own ownFile
	if k.read(ownName, &own, &own.Owner) {
		k.subnets = slices.DeleteFunc(own.Subnets, func(p netip.Prefix) bool { return !k.inside(p) })
	}
	var last leasesFile
	if k.read(leasesName, &last, &last.Owner) {
		k.found, k.revision = true, last.Revision
		if last.Leases != nil {
			k.leases = last.Leases
		}
		for _, key := range last.Held {
			if _, known := k.leases[key]; known {
				k.held[key] = true
			}
		}
		// A clock that was wrong does not hold longer than a right one.
		left := min(time.Unix(last.HeldUntil, 0).Sub(c.Now()), c.Hold)
		k.until = c.Now().Add(max(left, 0))
	}
	return k
}

func (k *Keeper) inside(p netip.Prefix) bool {
	return slices.ContainsFunc(k.config.Pods, func(pods netip.Prefix) bool {
		return p.IsValid() && pods.Contains(p.Addr()) && p.Bits() > pods.Bits() && p == p.Masked()
	})
}

// Subnets are the subnets this node had, at most one of each family.
func (k *Keeper) Subnets() []netip.Prefix {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.subnets)
}

// Leases are the other nodes' leases, by their keys in the store.
func (k *Keeper) Leases() map[string]lease.Lease {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.leases)
}

// Over is the store inner with what is kept before and under it. It is to be
// watched by one consumer.
func (k *Keeper) Over(inner store.Store) store.Store { return &over{k, inner} }

type over struct {
	keeper *Keeper
	inner  store.Store
}

// Publish grants the subnets the node had at once, before the store answers,
// and then what the store says, which is kept.
func (o *over) Publish(ctx context.Context, own lease.Lease, granted func(lease.Lease, error)) error {
	if again, had := o.keeper.withSubnets(own); had {
		granted(again, store.ErrKept)
	}
	return o.inner.Publish(ctx, own, func(l lease.Lease, err error) {
		if err == nil {
			o.keeper.keepOwn(l)
		}
		granted(l, err)
	})
}

// withSubnets fills in what own leaves open; had says that nothing is open
// then and that something was.
func (k *Keeper) withSubnets(own lease.Lease) (again lease.Lease, had bool) {
	for _, pods := range k.config.Pods {
		half := own.Half(pods.Addr().Is6())
		if half.Subnet.IsValid() {
			continue
		}
		for _, s := range k.Subnets() {
			if pods.Contains(s.Addr()) {
				half.Subnet, had = s, true
			}
		}
		if !half.Subnet.IsValid() {
			return own, false
		}
	}
	return own, had
}

func (k *Keeper) keepOwn(l lease.Lease) {
	var now []netip.Prefix
	for _, p := range []netip.Prefix{l.IPv4.Subnet, l.IPv6.Subnet} {
		if p.IsValid() {
			now = append(now, p)
		}
	}
	k.mu.Lock()
	if !slices.Equal(now, k.subnets) {
		k.subnets = now
		k.dirty.mark(&k.dirty.own)
	}
	k.mu.Unlock()
	// The node goes on when it cannot be written; that is tried again.
	_ = k.write()
}

// Watch delivers what was kept and then what the store says.
func (o *over) Watch(ctx context.Context) iter.Seq2[store.Update, error] {
	return func(yield func(store.Update, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var parts sync.WaitGroup
		defer parts.Wait()
		defer cancel()
		k := o.keeper
		// Writing ends last, so that what was heard last is on disk.
		ended := make(chan struct{})
		defer close(ended)
		if u, found := k.first(); found && !yield(u, nil) {
			return
		}
		type message struct {
			update store.Update
			err    error
		}
		messages := make(chan message)
		parts.Go(func() {
			defer close(messages)
			for u, err := range o.inner.Watch(ctx) {
				select {
				case messages <- message{u, err}:
				case <-ctx.Done():
					return
				}
			}
		})
		parts.Go(func() { k.keepWriting(ended) })
		held := time.NewTimer(k.holdFor())
		defer held.Stop()
		for {
			select {
			case m, open := <-messages:
				if !open {
					return
				}
				if m.err == nil {
					m.update = k.take(m.update)
					held.Reset(k.holdFor())
				}
				if !yield(m.update, m.err) {
					return
				}
			case <-held.C:
				if u, ended := k.release(); ended && !yield(u, nil) {
					return
				}
			}
		}
	}
}

// first is what was kept, as an update.
func (k *Keeper) first() (store.Update, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return store.Update{Full: true, Set: maps.Clone(k.leases), Kept: true, Revision: k.revision}, k.found
}
