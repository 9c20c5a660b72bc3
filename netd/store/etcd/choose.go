package etcd

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/store/etcd/client"
)

// DuplicateError is another node that is this one: it has its address, or its
// identity.
type DuplicateError struct {
	// Key is the other node's lease.
	Key string
	// Node, UUID and Address are what the lease says of it.
	Node, UUID string
	Address    netip.Addr
	// Identity says that the other has this node's UUID, not only its
	// address.
	Identity bool
}

func (e *DuplicateError) Error() string {
	if e.Identity {
		return fmt.Sprintf("%s: a node at %s runs with this node's identity %s; fix: one of the two was cloned: erase its data partition", e.Key, e.Address, e.UUID)
	}
	return fmt.Sprintf("%s: node %s (%s) has this node's address %s; fix: give one of the two another address, or delete the key if that node is gone", e.Key, e.Node, e.UUID, e.Address)
}

// Is makes it a [store.ErrTwin].
func (e *DuplicateError) Is(target error) bool { return target == store.ErrTwin }

// TakenError is a fixed subnet that another node has.
type TakenError struct {
	// Subnet is what this node is configured to have, Key the lease that
	// overlaps it, of Node.
	Subnet netip.Prefix
	Key    string
	Node   string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s: node %s has %s, which is this node's by its configuration; fix: give this node another subnet, or delete the key if that node is gone", e.Key, e.Node, e.Subnet)
}

// FullError is a network without a free subnet.
type FullError struct {
	// Network is the one, Length that of its subnets.
	Network netip.Prefix
	Length  int
}

func (e *FullError) Error() string {
	return fmt.Sprintf("no /%d of %s is free; fix: delete leases of nodes that are gone, or widen subnetMin and subnetMax", e.Length, e.Network)
}

// wish is what a node wants of the store.
type wish struct {
	lease lease.Lease // subnets that are not fixed are open
	// last are the subnets it had, to be asked for again.
	last subnets
	// stay says that the node runs with them, so that whoever else asks for
	// them came later. claimed is another node's entry in its place, which
	// counts as its own; empty for none.
	stay    bool
	claimed string
	// seed decides which of the free subnets it gets.
	seed uint64
}

// choice is the entry to write.
type choice struct {
	subnets subnets
	prior   *entry  // the entry with these subnets there is already, of this node
	old     []entry // others of this node, to be deleted with it
	// careful asks for the whole table to be unchanged, since no single key
	// would show that another node had the same idea.
	careful bool
	// exact says that only the key itself may not exist: another with the same
	// subnet stands beside it.
	exact bool
}

// choose decides which subnets a node gets. It touches nothing: equal
// arguments give equal results.
func choose(entries []entry, p pools, w wish) (choice, error) {
	if err := duplicate(entries, w); err != nil {
		return choice{}, err
	}
	mine := ownEntries(entries, w)
	others := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool {
		return slices.ContainsFunc(mine, func(m entry) bool { return m.key == e.key })
	})
	var had subnets
	if len(mine) > 0 {
		had = mine[0].subnets
	}
	c, err := pickSubnets(others, p, w, had)
	if err != nil {
		return choice{}, err
	}
	for _, m := range mine {
		if m.subnets == c.subnets {
			c.prior = &m
		} else {
			c.old = append(c.old, m)
		}
	}
	return c, nil
}

// duplicate looks for another node with this node's address. A lease without
// a UUID is flanneld's: on the same node, since netd takes its place there.
func duplicate(entries []entry, w wish) error {
	own := w.lease
	for _, e := range entries {
		if e.bad != nil || e.key == w.claimed || e.lease.UUID == "" || e.lease.UUID == own.UUID {
			continue
		}
		for _, ipv6 := range []bool{false, true} {
			if a := own.Half(ipv6).Address; a.IsValid() && a == e.lease.Half(ipv6).Address {
				return &DuplicateError{Key: e.key, Node: e.lease.Node, UUID: e.lease.UUID, Address: a}
			}
		}
	}
	return nil
}

// ownEntries are the entries of this node, the best first: by its identity,
// of these the one where its pods are, then the one with its address, then the
// newest; then by its address, flanneld's; then one that cannot be read, or is
// another node's and to be written over, where its lease was. Another with its
// identity may be of a copy of the node, whose subnets are of no use to the
// pods that are here.
func ownEntries(entries []entry, w wish) []entry {
	var byUUID, byAddress, unread []entry
	for _, e := range entries {
		switch {
		case e.key == w.claimed:
			unread = append(unread, e)
		case e.bad != nil:
			if e.subnets != (subnets{}) && e.subnets == w.last {
				unread = append(unread, e)
			}
		case e.lease.UUID == w.lease.UUID:
			byUUID = append(byUUID, e)
		case e.lease.UUID == "" && sameAddress(e.lease, w.lease):
			byAddress = append(byAddress, e)
		}
	}
	slices.SortFunc(byUUID, func(a, b entry) int {
		return cmp.Or(first(a.subnets == w.last, b.subnets == w.last),
			first(sameAddress(a.lease, w.lease), sameAddress(b.lease, w.lease)), cmp.Compare(b.modified, a.modified))
	})
	return slices.Concat(byUUID, byAddress, unread)
}

// first compares so that what holds for one comes first.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// sameAddress reports whether two leases are of one address: the IPv4 one,
// by which flannel knows its own, or, without, the IPv6 one.
func sameAddress(a, b lease.Lease) bool {
	if b.IPv4.Address.IsValid() {
		return a.IPv4.Address == b.IPv4.Address
	}
	return b.IPv6.Address.IsValid() && a.IPv6.Address == b.IPv6.Address
}

// pickSubnets finds the subnets of both families: those fixed, those had,
// those asked for again, or free ones.
func pickSubnets(others []entry, p pools, w wish, had subnets) (choice, error) {
	var c choice
	nodes := slices.DeleteFunc(slices.Clone(others), p.strays)
	v4, number, _, err := pickOne(others, nodes, p.v4, false, w, w.lease.IPv4.Subnet, had.v4, w.last.v4, nil)
	if err != nil {
		return c, err
	}
	// The two families are paired by number, so that two nodes which choose
	// at once collide in the key's IPv4 half or in neither.
	v6, _, paired, err := pickOne(others, nodes, p.v6, true, w, w.lease.IPv6.Subnet, had.v6, w.last.v6, number)
	if err != nil {
		return c, err
	}
	c.subnets = subnets{v4, v6}
	c.exact = w.stay && c.subnets == w.last
	c.careful = p.v4 != nil && p.v6 != nil && number != nil && !paired
	return c, nil
}

// strays reports whether an entry has a subnet that is not one of the network.
// It is of no node of this network, so that what it has inside of it in the
// other family is not given to a new node, but taken from none.
func (p pools) strays(e entry) bool {
	return p.v4 != nil && e.subnets.v4.IsValid() && !p.v4.holds(e.subnets.v4) ||
		p.v6 != nil && e.subnets.v6.IsValid() && !p.v6.holds(e.subnets.v6)
}

// in is the subnet of a family.
func (s subnets) in(ipv6 bool) netip.Prefix {
	if ipv6 {
		return s.v6
	}
	return s.v4
}

// pickOne finds the subnet of one family. nodes are those of the others that
// a subnet which is this node's is left to. number is that of a subnet that
// was chosen freely; paired says that pair was taken.
func pickOne(others, nodes []entry, p *pool, ipv6 bool, w wish, fixed, had, last netip.Prefix, pair *uint64) (subnet netip.Prefix, number *uint64, paired bool, err error) {
	if p == nil {
		return netip.Prefix{}, nil, false, nil
	}
	// One with all of the network, or more, is no node's: nobody honours it,
	// and it would leave nothing for anybody.
	if fixed.IsValid() {
		for _, e := range nodes {
			if s := e.subnets.in(ipv6); !w.stay && overlap(s, fixed) && s.Bits() > p.network.Bits() {
				return netip.Prefix{}, nil, false, &TakenError{Subnet: fixed, Key: e.key, Node: e.lease.Node}
			}
		}
		return fixed, nil, false, nil
	}
	// Where the node's pods are comes before where an entry with its identity
	// is, which may be a copy's while its own is gone or cannot be read.
	for _, s := range []netip.Prefix{last, had} {
		// What is larger than the subnet this node had came later: it would not
		// have been given inside of it.
		conflicts := func(e entry) bool {
			t := e.subnets.in(ipv6)
			return overlap(t, s) && t.Bits() >= s.Bits() && t.Bits() > p.network.Bits()
		}
		if s.IsValid() && p.holds(s) && (s == had || w.stay && s == last || !slices.ContainsFunc(nodes, conflicts)) {
			return s, nil, false, nil
		}
	}
	var taken []netip.Prefix
	for _, e := range others {
		if s := e.subnets.in(ipv6); s.IsValid() && s.Bits() > p.network.Bits() {
			taken = append(taken, s)
		}
	}
	gaps := p.free(taken)
	if pair != nil && isFree(gaps, *pair) {
		return p.subnet(*pair), pair, true, nil
	}
	subnet, n, found := p.pick(gaps, w.seed)
	if !found {
		return netip.Prefix{}, nil, false, &FullError{Network: p.network, Length: p.length}
	}
	return subnet, &n, false, nil
}

// holds reports whether a subnet is one of the network that a node can have.
func (p pool) holds(s netip.Prefix) bool {
	return s.Bits() > p.network.Bits() && p.network.Contains(s.Addr())
}

// seed is a node's own start into the free subnets, another at each attempt.
func seed(uuid string, attempt int) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, uuid, attempt)
	return h.Sum64()
}

// collision are the keys that may not exist when the choice is written: those
// with the same IPv4 subnet in any company, or, where an old one of this node
// may be among them, the key itself.
func (c choice) collision(dir string) client.Range {
	if c.subnets.v4.IsValid() && len(c.old) == 0 && !c.exact {
		return client.Prefix(dir + c.subnets.v4.Addr().String() + "-")
	}
	return client.Range{From: dir + c.subnets.name()}
}
