// Package store says where leases come from.
//
// A store delivers leases as they are written; it does not judge them (see
// package wanted) and programs nothing (see package reconcile).
package store

import (
	"context"
	"errors"
	"iter"

	"weft/netd/lease"
)

// An Update is one delivery of a store: the full set of leases, or a change
// of the set delivered before.
type Update struct {
	// Full says that Set is the whole set and replaces what came before.
	// Otherwise Set holds the leases that are new or changed.
	Full bool
	// Set are the leases by key. Keys are the store's own and mean nothing
	// outside it.
	Set map[string]lease.Lease
	// Gone are the keys of leases that ended; empty in a full update.
	Gone []string
	// Kept says that the update is not the store's own word but what was kept
	// on disk of an earlier one, until the store answers.
	Kept bool
	// Revision numbers the store's states upwards; 0 when the store does not
	// number them. One that falls is of a store that was put back.
	Revision int64
}

// Apply brings leases up to date with u and returns them. leases may be nil.
func (u Update) Apply(leases map[string]lease.Lease) map[string]lease.Lease {
	if u.Full || leases == nil {
		leases = make(map[string]lease.Lease, len(u.Set))
	}
	for key, l := range u.Set {
		leases[key] = l
	}
	for _, key := range u.Gone {
		delete(leases, key)
	}
	return leases
}

// A Store holds the leases of a cluster.
//
// Watch delivers the full set of the other nodes' leases first and then every
// change; after any gap it delivers a full set again, so a consumer never
// needs to ask what it missed. An error delivered says what is wrong now and
// does not end the watch; the watch ends with its context or when the
// consumer stops.
//
// Publish writes this node's own lease and keeps it alive until ctx ends;
// ending it leaves the lease in the store. Subnets that own leaves open are
// the store's to choose. granted is called, from Publish, with the lease as
// it stands in the store: when it has been written, and again when the store
// changes it; with a lease to go by until then, and [ErrKept]; or with another
// error, which the store has logged and which says why the lease does not
// stand there now, as long as nothing else is granted. An error that
// will pass is tried again; the error returned says why trying again is of no
// use.
type Store interface {
	Watch(ctx context.Context) iter.Seq2[Update, error]
	Publish(ctx context.Context, own lease.Lease, granted func(lease.Lease, error)) error
}

// ErrTwin is what errors delivered by Watch are (see [errors.Is]) as long as
// this node has no lease because another node is the same, or is where it is:
// one of the two is a copy, or has the other's address or subnet.
var ErrTwin = errors.New("another node is this one")

// ErrKept comes with a lease that this node had and that the store has not
// confirmed.
var ErrKept = errors.New("the lease is the one of before")

// Problem is an error delivered by Watch about one entry of the store: the
// entry is skipped and all others count.
type Problem struct {
	// Key is the entry, as the store names it.
	Key string
	// Reason says what is wrong with it, Fix what to do about it.
	Reason, Fix string
}

func (p *Problem) Error() string { return p.Key + ": " + p.Reason + "; fix: " + p.Fix }
