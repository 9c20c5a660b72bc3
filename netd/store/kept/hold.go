package kept

import (
	"net/netip"
	"slices"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
)

// forever is a wait that does not end while netd runs.
const forever = 1 << 62

// holdFor is how long leases are still held.
func (k *Keeper) holdFor() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.held) == 0 {
		return forever
	}
	return max(k.until.Sub(k.config.Now()), 0)
}

// release lets go what was held long enough.
func (k *Keeper) release() (u store.Update, ended bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.held) == 0 || k.config.Now().Before(k.until) {
		return u, false
	}
	for key := range k.held {
		delete(k.leases, key)
		u.Gone = append(u.Gone, key)
	}
	slices.Sort(u.Gone)
	clear(k.held)
	u.Revision = k.revision
	k.changed()
	k.config.Log.Warn("leases that a restored store did not know are let go", "leases", len(u.Gone))
	return u, true
}

// changed notes that there are leases to write. The lock is held.
func (k *Keeper) changed() { k.dirty.mark(&k.dirty.leases) }

// take notes an update of the store and returns it with what is held.
func (k *Keeper) take(u store.Update) store.Update {
	k.mu.Lock()
	defer k.mu.Unlock()
	if u.Full {
		if putBack(u, k.leases, k.revision) {
			k.hold(u)
		}
		u = k.withHeld(u)
	} else {
		u.Gone = append(slices.Clone(u.Gone), k.displaced(u)...)
	}
	for key := range u.Set {
		if !u.Full {
			delete(k.held, key)
		}
	}
	same := !u.Full && len(u.Set) == 0 && len(u.Gone) == 0 && u.Revision <= k.revision
	k.leases = u.Apply(k.leases)
	if u.Revision != 0 {
		k.revision = u.Revision
	}
	if !same {
		k.changed()
	}
	return u
}

// putBack reports whether a full update is of a store that does not know what
// it knew before.
func putBack(u store.Update, before map[string]lease.Lease, revision int64) bool {
	if u.Revision != 0 {
		return u.Revision < revision
	}
	return len(u.Set) == 0 && len(before) > 0
}

// hold marks the leases that u does not name.
func (k *Keeper) hold(u store.Update) {
	for key := range k.leases {
		if _, known := u.Set[key]; !known {
			k.held[key] = true
		}
	}
	k.until = k.config.Now().Add(k.config.Hold)
	k.config.Log.Warn("the store was put back to an older state: the leases it does not know are held",
		"leases", len(k.held), "revision", u.Revision, "before", k.revision, "for", k.config.Hold)
}

// withHeld adds what is held to a full update.
func (k *Keeper) withHeld(u store.Update) store.Update {
	if len(k.held) == 0 {
		return u
	}
	for key := range u.Set {
		delete(k.held, key)
	}
	k.displaced(u)
	set := make(map[string]lease.Lease, len(u.Set)+len(k.held))
	for key, l := range u.Set {
		set[key] = l
	}
	for key := range k.held {
		set[key] = k.leases[key]
	}
	u.Set = set
	return u
}

// displaced lets go the held leases whose node is back in another form, or
// whose place another node has, and returns their keys. A lease outside of the
// network is nobody's: it is refused, and puts no node in the place of another.
func (k *Keeper) displaced(u store.Update) (keys []string) {
	if len(k.held) == 0 {
		return nil
	}
	live := newIndex(u.Set, k.foreign)
	for key := range k.held {
		if _, back := u.Set[key]; !back && live.displaces(k.leases[key]) {
			delete(k.held, key)
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// foreign reports whether a lease has a subnet outside of the network, in a
// family that the network has.
func (k *Keeper) foreign(l lease.Lease) bool {
	for _, half := range []lease.Half{l.IPv4, l.IPv6} {
		ours := func(pods netip.Prefix) bool { return pods.Addr().Is6() == half.Subnet.Addr().Is6() }
		if half.Subnet.IsValid() && slices.ContainsFunc(k.config.Pods, ours) && !k.inside(half.Subnet) {
			return true
		}
	}
	return false
}

// index finds leases by what only one node can have.
type index struct {
	uuids     map[string]bool
	addresses map[netip.Addr]bool
	subnets   []netip.Prefix // sorted by address
}

// newIndex is the index of a set, less the leases that leave says.
func newIndex(set map[string]lease.Lease, leave func(lease.Lease) bool) index {
	x := index{uuids: map[string]bool{}, addresses: map[netip.Addr]bool{}}
	for _, l := range set {
		if leave(l) {
			continue
		}
		if l.UUID != "" {
			x.uuids[l.UUID] = true
		}
		for _, half := range []lease.Half{l.IPv4, l.IPv6} {
			if half.Address.IsValid() && !half.Address.IsUnspecified() {
				x.addresses[half.Address] = true
			}
			if half.Subnet.IsValid() {
				x.subnets = append(x.subnets, half.Subnet)
			}
		}
	}
	slices.SortFunc(x.subnets, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return x
}

// displaces reports whether l cannot be beside what is in the index. Of
// subnets that contain each other the neighbours in order are looked at,
// which finds all overlaps among subnets that do not overlap themselves.
func (x index) displaces(l lease.Lease) bool {
	if x.uuids[l.UUID] {
		return true
	}
	for _, half := range []lease.Half{l.IPv4, l.IPv6} {
		if x.addresses[half.Address] {
			return true
		}
		if !half.Subnet.IsValid() {
			continue
		}
		i, _ := slices.BinarySearchFunc(x.subnets, half.Subnet.Addr(), func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
		for _, j := range []int{i - 1, i} {
			if j >= 0 && j < len(x.subnets) && x.subnets[j].Overlaps(half.Subnet) {
				return true
			}
		}
	}
	return false
}
