package wanted

import (
	"fmt"
	"net/netip"
	"slices"

	"weft/netd/lease"
	"weft/netd/underlay"
	"weft/profiles"
)

// A Node is this node's part in the network.
type Node struct {
	// Name is the hostname.
	Name string
	// MAC is the address of the VTEP devices.
	MAC MAC
	// IPv4 and IPv6 are the node's own pod subnets; the zero prefix for a
	// family it does not serve.
	IPv4, IPv6 netip.Prefix
	// Underlay carries the tunnel. A family without one is left out of the
	// wanted state: its devices are to be held as they are.
	Underlay underlay.Choice
	// Direct are the addresses of peers that the routing table reaches
	// without a gateway; looked up only for direct routing.
	Direct map[netip.Addr]bool
}

// A Family is one address family of the network: what is common to all nodes
// and what is this node's. It is what decisions of one family are made from.
type Family struct {
	IPv6 bool
	// Network is the range of all pods, Own this node's part of it.
	Network, Own netip.Prefix
	Underlay     underlay.Device
}

// String is the family's name.
func (f Family) String() string {
	if f.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// half is the part of a lease in the family.
func (f Family) half(l lease.Lease) lease.Half {
	if f.IPv6 {
		return l.IPv6
	}
	return l.IPv4
}

// Families are the address families that network and node have both.
func Families(node Node, network profiles.Network) []Family {
	var families []Family
	for _, pods := range network.Pods {
		f := Family{IPv6: pods.Addr().Is6(), Network: pods.Masked(), Own: node.IPv4, Underlay: node.Underlay.IPv4}
		if f.IPv6 {
			f.Own, f.Underlay = node.IPv6, node.Underlay.IPv6
		}
		if f.Own.IsValid() {
			families = append(families, f)
		}
	}
	return families
}

// A Peer is another node in one family, found sound.
type Peer struct {
	Node    string
	Subnet  netip.Prefix
	Address netip.Addr
	MAC     MAC
}

// A Backend is a way for pods on two nodes to reach each other, as pure
// functions over one family.
type Backend interface {
	// Devices are the node's own devices and their addresses. The error says
	// why the family cannot be carried.
	Devices(node Node, f Family) ([]Link, []Address, error)
	// Add puts what reaches peer into s.
	Add(s *State, node Node, f Family, peer Peer)
}

// BackendFor is the backend that a profile asks for.
func BackendFor(b profiles.Backend) (Backend, error) {
	switch b.Type {
	case lease.VXLAN:
		return newVXLAN(b), nil
	}
	return nil, fmt.Errorf("backend %q is not known; use vxlan", b.Type)
}

// A Plan is what leases come to on a node: the state wanted, the peers in it,
// and the leases that are not honoured. Its slices are shared and never
// changed.
type Plan struct {
	State    State
	Peers    []Peer
	Refusals []Refusal

	node     Node
	backend  Backend
	kind     string
	families []Family
	judges   []*judge // by family
}

// For computes the state that leases ask of node. It touches no kernel and
// reads no clock: equal arguments give equal results, in a stable order.
// Leases that cannot be honoured are left out and returned as refusals, so
// one bad lease costs only itself; of two leases that exclude each other the
// first one wins.
//
// A family whose underlay is unknown has its leases judged, but is not in the
// state. The error says why nothing at all can be computed.
func For(node Node, network profiles.Network, leases []lease.Lease) (Plan, error) {
	backend, err := BackendFor(network.Backend)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{node: node, backend: backend, kind: network.Backend.Type, families: Families(node, network)}
	p.Peers = make([]Peer, 0, len(leases)*len(p.families))
	p.Refusals = strangers(p.families, leases)
	p.State.grow(len(leases) * len(p.families))
	for i := range p.families {
		f := &p.families[i]
		judge := newJudge(*f, p.kind, len(leases))
		p.judges = append(p.judges, judge)
		first := len(p.Peers)
		for _, l := range leases {
			peer, reason, fix := judge.admit(l)
			if reason != "" {
				p.Refusals = append(p.Refusals, Refusal{Node: l.Node, Family: f.String(), Reason: reason, Fix: fix})
				continue
			}
			p.Peers = append(p.Peers, peer)
		}
		if f.Underlay.Index == 0 {
			continue
		}
		links, addresses, err := backend.Devices(node, *f)
		if err != nil {
			p.Refusals = append(p.Refusals, Refusal{Node: node.Name, Family: f.String(), Reason: err.Error(),
				Fix: "raise the MTU of the underlay, or leave the family out of network.pods"})
			f.Underlay.Index = 0 // not carried
			continue
		}
		p.State.Links = append(p.State.Links, links...)
		p.State.Addresses = append(p.State.Addresses, addresses...)
		for _, peer := range p.Peers[first:] {
			backend.Add(&p.State, node, *f, peer)
		}
	}
	p.State.Sort()
	return p, nil
}

// With is the plan with one more lease, and true, when the lease is sound and
// excludes no other: the usual case of a node that joins, at a fraction of
// the cost of [For]. Otherwise only For can tell.
//
// The plan must not be used for With again after it returned true.
func (p Plan) With(l lease.Lease) (Plan, bool) {
	for _, judge := range p.judges {
		if _, reason, _ := judge.try(l); reason != "" {
			return p, false
		}
	}
	if len(strangers(p.families, []lease.Lease{l})) > 0 {
		return p, false
	}
	var more State
	for i, judge := range p.judges {
		peer, _, _ := judge.admit(l)
		p.Peers = append(p.Peers, peer)
		if p.families[i].Underlay.Index != 0 {
			p.backend.Add(&more, p.node, p.families[i], peer)
		}
	}
	p.State.Routes = inserted(p.State.Routes, more.Routes, CompareRoutes)
	p.State.FDB = inserted(p.State.FDB, more.FDB, CompareFDB)
	p.State.Neighs = inserted(p.State.Neighs, more.Neighs, CompareNeighbours)
	return p, true
}

// inserted is a new sorted slice with all of sorted and more.
func inserted[T any](sorted, more []T, compare func(a, b T) int) []T {
	all := make([]T, 0, len(sorted)+len(more))
	slices.SortFunc(more, compare)
	for _, one := range more {
		i, _ := slices.BinarySearchFunc(sorted, one, compare)
		all = append(append(all, sorted[:i]...), one)
		sorted = sorted[i:]
	}
	return append(all, sorted...)
}
