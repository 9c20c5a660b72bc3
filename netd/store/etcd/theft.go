package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/store/etcd/client"
)

// StolenError is another node's lease where this node's was while it ran. The
// node keeps its subnets, in which its pods are: another would cut off all of
// them for good.
type StolenError struct {
	// Key is where both leases belong.
	Key string
	// Node, UUID and Address are what the lease says of the other; UUID is
	// empty for flanneld's.
	Node, UUID string
	Address    netip.Addr
	// Ended says that this node's lease had ended before, so that the other
	// was given the subnet by etcd.
	Ended bool
}

func (e *StolenError) Error() string {
	who := fmt.Sprintf("node %s at %s", e.Node, e.Address)
	if e.UUID != "" {
		who = fmt.Sprintf("node %s (%s) at %s", e.Node, e.UUID, e.Address)
	}
	what := "has written its lease over this node's"
	if e.Ended {
		what = "has the subnet of this node, whose lease had ended"
	}
	return fmt.Sprintf("%s: %s %s, which keeps the subnet for its pods, though peers send there; fix: delete the key if that node is gone or wrong, else start netd here anew, for another subnet, and then the pods", e.Key, who, what)
}

// Is makes it a [store.ErrTwin].
func (e *StolenError) Is(target error) bool { return target == store.ErrTwin }

// stranger reports whether an entry is another node's. One without a UUID and
// with this node's address is flanneld's on this node, from before netd.
func stranger(e entry, own lease.Lease) bool {
	return e.bad == nil && e.lease.UUID != own.UUID && (e.lease.UUID != "" || !sameAddress(e.lease, own))
}

// moved reports whether other subnets are asked for than those of a lease.
func moved(own, held lease.Lease) bool {
	for _, ipv6 := range []bool{false, true} {
		if s := own.Half(ipv6).Subnet; s.IsValid() && s != held.Half(ipv6).Subnet {
			return true
		}
	}
	return false
}

// claim looks for another node's lease at the key that this process has had,
// and says whether it is to be written over; the error says why it may not.
//
// The revision at which a key was made, which etcd keeps as long as the key
// is there, tells what has happened:
//
//   - The key is the one this node had: somebody wrote over it, which no netd
//     and no flanneld does. It is taken back, as from a clone, maxDefended times
//     in tenure.
//   - It is older: etcd was put back to a time before it gave the subnet to
//     this node. The node that had it then had given it up, as etcd itself
//     said later; most likely it is gone. Its lease is written over.
//   - It is younger: this node's lease had ended, and another node was given
//     the subnet; that one is left in peace. Or, if the lease has not ended,
//     somebody deleted the key of a node that is there, which is written over.
//
// In the last two cases the other may be alive and in good faith. Then it
// takes the key back as this node would, and this node, having come last, lets
// it (see tenure).
func (s *Store) claim(ctx context.Context, t table, own lease.Lease) (claimed string, err error) {
	s.mu.Lock()
	held, stolen := s.held, s.stolen
	s.mu.Unlock()
	at := slices.IndexFunc(t.entries, func(e entry) bool { return e.key == held.key })
	if at < 0 || !stranger(t.entries[at], own) {
		s.mu.Lock()
		s.stolen = 0
		s.mu.Unlock()
		return "", nil
	}
	e := &t.entries[at]
	refusal := &StolenError{Key: e.key, Node: e.lease.Node, UUID: e.lease.UUID, Address: anyAddress(e.lease)}
	if stolen != 0 && e.modified >= stolen {
		return "", refusal
	}
	if e.created > held.created && held.etcd != 0 {
		if _, err := s.client.KeepAlive(ctx, held.etcd); client.IsNotFound(err) {
			refusal.Ended = true
			return "", refusal
		} else if err != nil {
			return "", fmt.Errorf("own lease: keep it alive: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayTake() {
		s.stolen = e.modified
		return "", refusal
	}
	if e.created == held.created {
		s.defended = append(s.defended, time.Now())
	} else {
		s.took = time.Now()
	}
	s.config.Log.Warn("own lease: it is taken back", "key", e.key, "from", e.lease.Node, "uuid", e.lease.UUID, "address", refusal.Address)
	e.etcd = held.etcd // not the other's, which may end
	return e.key, nil
}

// claimLast is [Store.claim] for a process that has had no lease yet. That of
// the subnets the node had last may have ended, so that whoever stands there
// has it by right, unless etcd remembers that the key began as this node's:
// then somebody has written over it while netd was not there.
func (s *Store) claimLast(ctx context.Context, t table, own lease.Lease, last subnets) (claimed string, err error) {
	key := s.dir() + last.name()
	at := slices.IndexFunc(t.entries, func(e entry) bool { return e.key == key })
	if at < 0 || !stranger(t.entries[at], own) || t.entries[at].modified == t.entries[at].created {
		return "", nil
	}
	e := &t.entries[at]
	page, err := s.client.Range(ctx, client.Range{From: key, Revision: e.created})
	var answer *client.StatusError
	if errors.As(err, &answer) {
		return "", nil // it is compacted
	}
	if err != nil {
		return "", fmt.Errorf("read what %s was: %w", key, err)
	}
	if len(page.KVs) != 1 {
		return "", nil
	}
	if first := parseEntry(s.dir(), page.KVs[0]); first.bad != nil || stranger(first, own) {
		return "", nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayTake() {
		return "", nil
	}
	s.defended = append(s.defended, time.Now())
	s.config.Log.Warn("own lease: it is taken back", "key", key, "from", e.lease.Node, "uuid", e.lease.UUID, "address", anyAddress(e.lease))
	e.etcd = page.KVs[0].Lease // not the other's, which may end
	return key, nil
}

// mayTake reports whether a lease that another node wrote over may be taken
// back. The lock is held.
func (s *Store) mayTake() bool {
	now := time.Now()
	s.defended = slices.DeleteFunc(s.defended, func(at time.Time) bool { return now.Sub(at) > tenure })
	return now.Sub(s.took) >= tenure && len(s.defended) < maxDefended
}
