package wanted

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"weft/netd/lease"
	"weft/netd/underlay"
	"weft/profiles"
)

// A Node is this node's part in the network.
type Node struct {
	// Name is the hostname, UUID the node's identity; empty when unknown.
	Name, UUID string
	// MAC is the address of the VTEP devices.
	MAC MAC
	// IPv4 and IPv6 are the node's own pod subnets; the zero prefix for a
	// family it does not serve.
	IPv4, IPv6 netip.Prefix
	// Underlay carries the tunnel. A family without one is left out of the
	// wanted state: its devices are to be held as they are.
	Underlay underlay.Choice
	// Direct are the addresses of peers that the routing table reaches
	// without a gateway, with the index of the device it reaches them by;
	// looked up only where [Backend.Lookup] asks for it.
	Direct map[netip.Addr]int
	// External4 and External6 are where peers are told to reach this node, in place of the
	// underlay's addresses; the zero address for a family without.
	External4, External6 netip.Addr
	// PublicKey is the one of the node's WireGuard devices; zero for other
	// backends.
	PublicKey Key
	// PSK is the SHA-256 sum of the pre-shared key of the network; zero
	// without one.
	PSK Key
	// Lane is the second WireGuard device while a key is replaced.
	Lane Lane
}

// A Family is one address family of the network: what is common to all nodes
// and what is this node's. It is what decisions of one family are made from.
type Family struct {
	IPv6 bool
	// Network is the range of all pods, Own this node's part of it.
	Network, Own netip.Prefix
	// Underlay carries the family: the underlay of the same family, except
	// with backends that can carry it by the other (see [Backend.Underlays]).
	Underlay underlay.Device
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
		f := Family{IPv6: pods.Addr().Is6(), Network: pods.Masked(), Own: node.IPv4}
		if f.IPv6 {
			f.Own = node.IPv6
		}
		if !f.Own.IsValid() {
			continue
		}
		for _, ipv6 := range Underlays(network.Backend, f.IPv6) {
			if f.Underlay.Index == 0 {
				f.Underlay = node.underlay(ipv6)
			}
		}
		families = append(families, f)
	}
	return families
}

// underlay is the underlay of a family.
func (n Node) underlay(ipv6 bool) underlay.Device {
	if ipv6 {
		return n.Underlay.IPv6
	}
	return n.Underlay.IPv4
}

// Underlays are the families of underlay (true is IPv6) that can carry a
// family of pods, the preferred one first.
func Underlays(b profiles.Backend, ipv6 bool) []bool {
	backend, err := BackendFor(b)
	if err != nil {
		return []bool{ipv6}
	}
	return backend.Underlays(ipv6)
}

// DeviceNames are the names of the devices that carry a family: netd's,
// whoever made them. Backends that need no device have none.
func DeviceNames(b profiles.Backend, ipv6 bool) []string {
	backend, err := BackendFor(b)
	if err != nil {
		return nil
	}
	return backend.Names(ipv6)
}

// MTU is what pods of all families may send, in bytes, the smallest of the
// families'; 0 as long as no family has an underlay.
func MTU(node Node, network profiles.Network) int {
	backend, err := BackendFor(network.Backend)
	if err != nil {
		return 0
	}
	least := 0
	for _, f := range Families(node, network) {
		if f.Underlay.Index == 0 {
			continue
		}
		if mtu, err := backend.PodMTU(node, f); err == nil && (least == 0 || mtu < least) {
			least = mtu
		}
	}
	return least
}

// A Peer is another node in one family, found sound.
type Peer struct {
	Node    string
	Subnet  netip.Prefix
	Address netip.Addr
	// MAC is the address of its VTEP device, for backend vxlan.
	MAC MAC
	// PublicKey is its WireGuard key and Port the UDP port of its device, for
	// backend wireguard.
	PublicKey Key
	Port      uint16
	// Lane and LanePort are those of its second device, if it has one.
	Lane     Key
	LanePort uint16
	// Backend is the one of its lease. It is another than this node's while
	// the network changes from one to the other.
	Backend string
	// Plain says that the peer is reached by a plain route on the link,
	// without a tunnel.
	Plain bool
}

// A Backend is a way for pods on two nodes to reach each other, as pure
// functions over one family.
type Backend interface {
	// Names are the names of the devices that carry the family.
	Names(ipv6 bool) []string
	// Underlays are the families of underlay (true is IPv6) that can carry a
	// family of pods, the preferred one first.
	Underlays(ipv6 bool) []bool
	// PodMTU is what pods of the family may send, in bytes. The error says why
	// the family cannot be carried, and by what.
	PodMTU(node Node, f Family) (int, error)
	// Devices are the node's own devices and their addresses. A device that
	// carries both families is returned for each, and taken once.
	Devices(node Node, f Family) ([]Link, []Address, error)
	// Base are the routes of the family that need no peer.
	Base(f Family) []Route
	// Lookup reports whether it matters for a lease if its address is
	// on the link ([Node.Direct]).
	Lookup(l lease.Lease) bool
	// Peer is what a lease comes to whose subnet is sound, without Node and
	// Subnet; or why it cannot be honoured and what to do about it. An empty
	// reason means that nothing is wrong.
	Peer(node Node, f Family, l lease.Lease) (peer Peer, reason, fix string)
	// Add puts what reaches peer into s. Peers of one WireGuard device and
	// key, added once for each family, become one.
	Add(s *State, node Node, f Family, peer Peer)
}

// BackendFor is the backend that a profile asks for.
func BackendFor(b profiles.Backend) (Backend, error) {
	switch b.Canonical() {
	case lease.VXLAN:
		return newVXLAN(b), nil
	case lease.HostGW:
		return hostGW{b.MTU}, nil
	case lease.WireGuard:
		return newWireGuard(b), nil
	case lease.IPsec:
		return ipsec{b}, nil
	case lease.None:
		return none{b.MTU}, nil
	}
	return nil, fmt.Errorf("backend %q is not known; use %s", b.Type, strings.Join(profiles.Backends, ", "))
}

// onLink reports whether an address is on the link of the family's underlay.
func (n Node) onLink(f Family, address netip.Addr) bool {
	index, found := n.Direct[address]
	return found && index == f.Underlay.Index
}

// metric is the kernel's default priority of routes of the family.
func (f Family) metric() uint32 {
	if f.IPv6 {
		return metric6
	}
	return 0
}

// lastMetric is the lowest priority a route can have: any other route to the
// same destination comes before it.
const lastMetric = math.MaxUint32

// guard is the route for packets to dst that have no other: they end here.
//
// A node on which no pod has started has no bridge, and with it no route to
// its own pods. What comes for them, out of a tunnel that may encrypt, would
// go on by the default route, bare, to a router that may well send it back.
// Flannel has no such route.
func guard(dst netip.Prefix) Route {
	return Route{Dst: dst, Unreachable: true, Metric: lastMetric, Protocol: ProtocolFor(dst)}
}

// plainRoute is the route to a peer on the link.
func plainRoute(f Family, peer Peer) Route {
	return Route{Dst: peer.Subnet, Via: peer.Address, Link: f.Underlay.Name,
		Metric: f.metric(), Protocol: ProtocolFor(peer.Subnet)}
}

// A Plan is what leases come to on a node: the state wanted, the peers in it,
// and the leases that are not honoured. Its slices are shared and never
// changed.
type Plan struct {
	State    State
	Peers    []Peer
	Refusals []Refusal
	// Keep are kinds of devices that other nodes may still use to reach this
	// one: netd's own of such a kind stay although they are not wanted.
	Keep []Kind

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
// first one wins, unless it has a subnet outside the network.
//
// A family whose underlay is unknown has its leases judged, but is not in the
// state. The error says why nothing at all can be computed.
func For(node Node, network profiles.Network, leases []lease.Lease) (Plan, error) {
	backend, err := BackendFor(network.Backend)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{node: node, backend: backend, kind: network.Backend.Canonical(),
		families: Families(node, network), Keep: keep(network.Backend, leases)}
	p.Peers = make([]Peer, 0, len(leases)*len(p.families))
	if len(p.families) == 0 {
		return p, nil // the node has no subnets yet
	}
	leases = straysLast(network, leases)
	p.Refusals = strangers(p.families, leases)
	p.State.Routes = make([]Route, 0, len(leases)*len(p.families))
	for i := range p.families {
		f := &p.families[i]
		judge := newJudge(node, *f, backend, network.Pods, len(leases))
		p.judges = append(p.judges, judge)
		first := len(p.Peers)
		for _, l := range leases {
			peer, refusal := judge.admit(l)
			if refusal != nil {
				p.Refusals = append(p.Refusals, *refusal)
				continue
			}
			p.Peers = append(p.Peers, peer)
		}
		if f.Underlay.Index == 0 {
			continue
		}
		links, addresses, err := backend.Devices(node, *f)
		if err != nil {
			p.Refusals = append(p.Refusals, uncarried(node, *f, err))
			f.Underlay.Index = 0 // not carried
			continue
		}
		for _, l := range links {
			if !slices.ContainsFunc(p.State.Links, func(other Link) bool { return other.Name == l.Name }) {
				p.State.Links = append(p.State.Links, l)
			}
		}
		p.State.Addresses = append(p.State.Addresses, addresses...)
		p.State.Routes = append(p.State.Routes, backend.Base(*f)...)
		for _, peer := range p.Peers[first:] {
			backend.Add(&p.State, node, *f, peer)
		}
	}
	p.State.Sort()
	return p, nil
}

// With is the plan with one more lease, what its state has more, and true, when
// the lease is sound and excludes no other: the usual case of a node that joins,
// at a fraction of the cost of [For]. Otherwise only For can tell.
//
// direct is [Node.Direct] of the lease's addresses, if [Plan.Lookup] asks for them. The plan must not be used for With
// again after it returned true.
func (p Plan) With(l lease.Lease, direct map[netip.Addr]int) (with Plan, more State, simple bool) {
	if l.Backend != p.kind || len(p.judges) == 0 {
		return p, more, false
	}
	p.node.Direct = direct
	for _, judge := range p.judges {
		judge.node.Direct = direct
		if _, refusal := judge.try(l); refusal != nil {
			return p, more, false
		}
	}
	if len(strangers(p.families, []lease.Lease{l})) > 0 {
		return p, more, false
	}
	for i, judge := range p.judges {
		peer, _ := judge.admit(l)
		p.Peers = append(p.Peers, peer)
		if p.families[i].Underlay.Index != 0 {
			p.backend.Add(&more, p.node, p.families[i], peer)
		}
	}
	p.State.Routes = inserted(p.State.Routes, more.Routes, CompareRoutes)
	p.State.Rules = slices.Compact(inserted(p.State.Rules, more.Rules, CompareRules))
	p.State.FDB = inserted(p.State.FDB, more.FDB, CompareFDB)
	p.State.Neighs = inserted(p.State.Neighs, more.Neighs, CompareNeighbours)
	p.State.Peers = inserted(p.State.Peers, mergedPeers(more.Peers), CompareWGPeers)
	return p, more, true
}

// Lookup reports whether a lease's addresses have to be looked up before it
// is judged.
func (p Plan) Lookup(l lease.Lease) bool { return p.backend.Lookup(l) }

// inserted is a new sorted slice with all of sorted and more.
func inserted[T any](sorted, more []T, compare func(a, b T) int) []T {
	if len(more) == 0 {
		return sorted
	}
	all := make([]T, 0, len(sorted)+len(more))
	slices.SortFunc(more, compare)
	for _, one := range more {
		i, _ := slices.BinarySearchFunc(sorted, one, compare)
		all = append(append(all, sorted[:i]...), one)
		sorted = sorted[i:]
	}
	return append(all, sorted...)
}

// notCarried is the error of a family that a backend cannot carry on this
// node.
type notCarried struct{ reason, fix string }

func (e notCarried) Error() string { return e.reason }

// fixOf is what to do about an error of [Backend.Devices].
func fixOf(err error) string {
	var e notCarried
	if errors.As(err, &e) {
		return e.fix
	}
	return "leave the family out of network.pods"
}

// fixMTU is what to do about an underlay whose packets are too small.
const fixMTU = "raise the MTU of the underlay, or leave the family out of network.pods"
