package store

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"weft/netd/lease"
	"weft/profiles"
)

// Static is a store whose leases are written in the configuration.
type Static struct {
	mu      sync.Mutex
	set     map[string]lease.Lease
	changed chan struct{} // closed and replaced at every change of set
}

var _ Store = (*Static)(nil)

// NewStatic returns a store of peers, all of which use one backend. The entry named self is left out, so
// that all nodes can carry one list.
func NewStatic(self, backend string, peers []profiles.Peer) *Static {
	return &Static{set: leases(self, backend, peers), changed: make(chan struct{})}
}

// Replace makes peers the new content; watchers get it as a full update.
func (s *Static) Replace(self, backend string, peers []profiles.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = leases(self, backend, peers)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Watch delivers the peers, and after each [Static.Replace] what changed.
func (s *Static) Watch(ctx context.Context) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		var last map[string]lease.Lease
		for {
			s.mu.Lock()
			set, changed := s.set, s.changed
			s.mu.Unlock()
			if !yield(between(last, set), nil) {
				return
			}
			last = set
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}
}

// between is the update that turns one set into another.
func between(old, set map[string]lease.Lease) Update {
	if old == nil {
		return Update{Full: true, Set: set}
	}
	u := Update{Set: map[string]lease.Lease{}}
	for key, l := range set {
		if was, found := old[key]; !found || !was.Equal(l) {
			u.Set[key] = l
		}
	}
	for key := range old {
		if _, found := set[key]; !found {
			u.Gone = append(u.Gone, key)
		}
	}
	slices.Sort(u.Gone)
	return u
}

// Publish grants what it is given: every node already carries the whole list.
func (s *Static) Publish(_ context.Context, own lease.Lease, granted func(lease.Lease, error)) error {
	granted(own, nil)
	return nil
}

// leases turns the peers of a configuration into leases. Two peers of one
// name stay two leases, so that package wanted can refuse the second.
func leases(self, backend string, peers []profiles.Peer) map[string]lease.Lease {
	set := make(map[string]lease.Lease, len(peers))
	for i, p := range peers {
		if p.Name != self {
			set[fmt.Sprintf("%06d %s", i, p.Name)] = FromPeer(backend, p)
		}
	}
	return set
}

// FromPeer is the lease that a peer of the configuration stands for.
func FromPeer(backend string, p profiles.Peer) lease.Lease {
	mac := p.MAC
	if mac == "" {
		mac = profiles.VTEPMAC(p.Name).String()
	}
	l := lease.Lease{Node: p.Name, UUID: p.UUID, Backend: backend}
	for _, subnet := range p.Subnets {
		half := &l.IPv6
		if subnet.Addr().Is4() {
			half = &l.IPv4
		}
		half.Subnet, half.MAC, half.PublicKey = subnet, mac, p.PublicKey
	}
	for _, address := range p.Addresses {
		half := &l.IPv6
		if address.Is4() {
			half = &l.IPv4
		}
		half.Address = address
	}
	return l
}
