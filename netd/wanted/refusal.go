package wanted

import (
	"fmt"
	"net/netip"

	"weft/netd/lease"
)

// A Refusal says why a lease is not honoured in one family.
type Refusal struct {
	// Node is the name of the node whose lease it is.
	Node string `json:"node"`
	// Family is IPv4 or IPv6.
	Family string `json:"family"`
	// Reason says what is wrong, Fix what to do about it.
	Reason string `json:"reason"`
	Fix    string `json:"fix"`
}

// String is the refusal in one line.
func (r Refusal) String() string {
	return fmt.Sprintf("%s (%s): %s; fix: %s", r.Node, r.Family, r.Reason, r.Fix)
}

// strangers refuses the parts of leases that are in no family of this node.
func strangers(families []Family, leases []lease.Lease) []Refusal {
	var has4, has6 bool
	for _, f := range families {
		has4, has6 = has4 || !f.IPv6, has6 || f.IPv6
	}
	var refusals []Refusal
	refuse := func(l lease.Lease, family string, subnet netip.Prefix) {
		refusals = append(refusals, Refusal{Node: l.Node, Family: family,
			Reason: fmt.Sprintf("subnet %s is outside the network, which has no %s here", subnet, family),
			Fix:    fmt.Sprintf("add an %s range to network.pods and a subnet to this node, or remove the peer's", family)})
	}
	for _, l := range leases {
		if !has4 && l.IPv4.Subnet.IsValid() {
			refuse(l, "IPv4", l.IPv4.Subnet)
		}
		if !has6 && l.IPv6.Subnet.IsValid() {
			refuse(l, "IPv6", l.IPv6.Subnet)
		}
	}
	return refusals
}

// A judge decides about the leases of one family, one after the other.
type judge struct {
	family  Family
	backend string
	// What is taken, and by whom.
	subnets   *prefixes
	addresses map[netip.Addr]string
	macs      map[MAC]string
}

func newJudge(f Family, backend string, size int) *judge {
	return &judge{family: f, backend: backend, subnets: newPrefixes(size),
		addresses: make(map[netip.Addr]string, size), macs: make(map[MAC]string, size)}
}

// try is the peer a lease stands for, or why it cannot be honoured and what
// to do about it. An empty reason means that nothing is wrong.
func (j *judge) try(l lease.Lease) (peer Peer, reason, fix string) {
	peer, reason, fix = judgeAlone(j.family, j.backend, l)
	if reason != "" {
		return peer, reason, fix
	}
	if node, taken := j.subnets.overlap(peer.Subnet); taken {
		return peer, fmt.Sprintf("subnet %s overlaps the one of %s", peer.Subnet, node),
			"give every node a subnet of its own"
	}
	if node, taken := j.addresses[peer.Address]; taken {
		return peer, fmt.Sprintf("address %s is already the one of %s", peer.Address, node),
			"give every node an address of its own; was a disk cloned?"
	}
	if node, taken := j.macs[peer.MAC]; taken {
		return peer, fmt.Sprintf("MAC %s is already the one of %s", peer.MAC, node),
			"leave mac out, so that it follows from the name, or give every node its own"
	}
	return peer, "", ""
}

// admit is try, and takes what the lease asks for if nothing is wrong.
func (j *judge) admit(l lease.Lease) (peer Peer, reason, fix string) {
	peer, reason, fix = j.try(l)
	if reason == "" {
		j.subnets.add(peer.Subnet, l.Node)
		j.addresses[peer.Address] = l.Node
		j.macs[peer.MAC] = l.Node
	}
	return peer, reason, fix
}

// judgeAlone checks what can be said of a lease without the other leases. An
// empty reason means that nothing is wrong.
func judgeAlone(f Family, backend string, l lease.Lease) (peer Peer, reason, fix string) {
	half := f.half(l)
	subnet, address := half.Subnet, half.Address
	switch {
	case l.Backend != backend:
		return peer, fmt.Sprintf("backend is %q, here it is %q", l.Backend, backend),
			"use one backend in the whole network"
	case !subnet.IsValid():
		return peer, "no " + f.String() + " subnet", "give the peer a subnet inside " + f.Network.String()
	case subnet != subnet.Masked():
		return peer, fmt.Sprintf("subnet %s has host bits set", subnet), "write " + subnet.Masked().String()
	case subnet.Bits() < f.Network.Bits() || !f.Network.Contains(subnet.Addr()):
		return peer, fmt.Sprintf("subnet %s is outside the network %s", subnet, f.Network),
			"give the peer a subnet inside " + f.Network.String()
	case subnet.Overlaps(f.Own):
		return peer, fmt.Sprintf("subnet %s overlaps this node's own %s", subnet, f.Own),
			"give every node a subnet of its own"
	case !address.IsValid():
		return peer, "no " + f.String() + " address", "say where the peer is reached"
	case address.Is6() != f.IPv6 || address.Is4In6() || !address.IsGlobalUnicast():
		return peer, fmt.Sprintf("address %s is not one a peer can be reached at", address),
			"use a global or private unicast address"
	case f.Network.Contains(address):
		return peer, fmt.Sprintf("address %s is inside the pod network %s, which is reached through it", address, f.Network),
			"use the peer's address on the underlay"
	case address == f.Underlay.Address:
		return peer, fmt.Sprintf("address %s is this node's own", address),
			"give every node an address of its own; was a disk cloned?"
	}
	mac, err := ParseMAC(half.MAC)
	if err != nil {
		return peer, "MAC " + err.Error(), "leave mac out, so that it follows from the name, or correct it"
	}
	return Peer{Node: l.Node, Subnet: subnet, Address: address, MAC: mac}, "", ""
}

// prefixes is a set of prefixes that do not overlap, with their owners.
type prefixes struct {
	owners  map[netip.Prefix]string
	lengths [129]int // how many prefixes there are of each length
}

func newPrefixes(size int) *prefixes {
	return &prefixes{owners: make(map[netip.Prefix]string, size)}
}

func (p *prefixes) add(prefix netip.Prefix, owner string) {
	p.owners[prefix] = owner
	p.lengths[prefix.Bits()]++
}

// overlap finds the owner of a prefix that overlaps prefix. Networks have
// subnets of one length, or a few, so this looks at each length once; only a
// prefix shorter than others makes it look at all of those.
func (p *prefixes) overlap(prefix netip.Prefix) (string, bool) {
	for bits, n := range p.lengths {
		if n == 0 {
			continue
		}
		if bits > prefix.Bits() {
			return p.inside(prefix)
		}
		around, err := prefix.Addr().Prefix(bits)
		if err != nil {
			continue // longer than addresses of this family are
		}
		if owner, found := p.owners[around]; found {
			return owner, true
		}
	}
	return "", false
}

// inside finds the first owner, by address, of a prefix inside prefix.
func (p *prefixes) inside(prefix netip.Prefix) (owner string, found bool) {
	var first netip.Addr
	for other, o := range p.owners {
		if prefix.Contains(other.Addr()) && (!found || other.Addr().Less(first)) {
			owner, first, found = o, other.Addr(), true
		}
	}
	return owner, found
}
