package wanted

import (
	"cmp"
	"net/netip"
	"slices"

	"weft/netd/lease"
	"weft/profiles"
)

// Contested reports whether a lease was refused because another node has what
// it asks for, so that the order of leases decided which of the two counts.
func (p Plan) Contested() bool {
	return slices.ContainsFunc(p.Refusals, func(r Refusal) bool { return r.Rival != "" && r.Rival != p.node.Name })
}

// What a lease has been honoured for in a family, the more the higher.
const (
	seatNone   = 0
	seatSubnet = 1 // its subnet leads to somebody
	seatExact  = 2 // its subnet leads to its address
)

// Incumbents brings leases into the order in which [For] should see them when
// some exclude each other: those that are honoured already come first, so
// that a clone that appears takes nothing from the node it is a clone of. A
// lease with a subnet that is honoured at another address follows: a node that
// has moved keeps its subnets, in which its pods are, and its clone has others.
//
// Honoured are the leases of peers, those of the plan before, and those whose
// objects are in have, what the kernel holds: it is the memory that lasts
// over a restart. Where neither knows a lease, as after a boot, the order
// stays what it was, that of the store, which is the same on every node.
func (p Plan) Incumbents(peers []Peer, have State, leases []lease.Lease) []lease.Lease {
	type seat struct {
		node    string
		subnet  netip.Prefix
		address netip.Addr
	}
	seats, subnets := make(map[seat]bool, len(peers)), led(have)
	for _, peer := range peers {
		seats[seat{peer.Node, peer.Subnet, peer.Address}] = true
		subnets[peer.Subnet] = true
	}
	type claim struct {
		lease.Lease
		rank int
	}
	claims := make([]claim, len(leases))
	for i, l := range leases {
		claims[i].Lease = l
		for _, judge := range p.judges {
			peer, refusal := judge.alone(l)
			rank := seatNone
			switch {
			case refusal != nil:
			case seats[seat{peer.Node, peer.Subnet, peer.Address}] || holds(have, p.backend, p.node, judge.family, peer):
				rank = seatExact
			case subnets[peer.Subnet]:
				rank = seatSubnet
			}
			claims[i].rank += rank
		}
	}
	slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(b.rank, a.rank) })
	ordered := make([]lease.Lease, len(claims))
	for i, c := range claims {
		ordered[i] = c.Lease
	}
	return ordered
}

// led are the subnets that state leads to somebody.
func led(state State) map[netip.Prefix]bool {
	subnets := make(map[netip.Prefix]bool, len(state.Routes))
	for _, r := range state.Routes {
		subnets[r.Dst] = true
	}
	for _, peer := range state.Peers {
		for _, subnet := range peer.AllowedIPs {
			subnets[subnet] = true
		}
	}
	return subnets
}

// straysLast are leases with those at the end that have a subnet outside the
// network: they are of no node of this network, so what they ask for inside of
// it is theirs only where nobody else asks. The rest keep their order.
func straysLast(network profiles.Network, leases []lease.Lease) []lease.Lease {
	strays := func(l lease.Lease) bool {
		return slices.ContainsFunc(network.Pods, func(pods netip.Prefix) bool {
			subnet := l.Half(pods.Addr().Is6()).Subnet
			return subnet.IsValid() && outside(pods, subnet)
		})
	}
	if !slices.ContainsFunc(leases, strays) {
		return leases
	}
	ordered := slices.DeleteFunc(slices.Clone(leases), strays)
	for _, l := range leases {
		if strays(l) {
			ordered = append(ordered, l)
		}
	}
	return ordered
}

// outside reports whether a subnet is not one of a network.
func outside(network, subnet netip.Prefix) bool {
	return subnet.Bits() < network.Bits() || !network.Contains(subnet.Addr())
}

// holds reports whether state has all that reaches a peer, and that there is
// something.
func holds(have State, backend Backend, node Node, f Family, peer Peer) bool {
	var s State
	backend.Add(&s, node, f, peer)
	return len(s.Routes)+len(s.FDB)+len(s.Neighs)+len(s.Peers) > 0 &&
		all(have.Routes, s.Routes, CompareRoutes) &&
		all(have.FDB, s.FDB, CompareFDB) &&
		all(have.Neighs, s.Neighs, CompareNeighbours) &&
		all(have.Peers, s.Peers, CompareWGPeers) &&
		!slices.ContainsFunc(s.Peers, func(p WGPeer) bool { return !routesTo(have.Peers, p) })
}

// all reports whether every one of some is in the sorted have.
func all[T any](have, some []T, compare func(a, b T) int) bool {
	return !slices.ContainsFunc(some, func(one T) bool {
		_, found := slices.BinarySearchFunc(have, one, compare)
		return !found
	})
}

// routesTo reports whether a WireGuard peer of have may send from all
// addresses that peer may.
func routesTo(have []WGPeer, peer WGPeer) bool {
	i, found := slices.BinarySearchFunc(have, peer, CompareWGPeers)
	return found && !slices.ContainsFunc(peer.AllowedIPs, func(p netip.Prefix) bool {
		return !slices.Contains(have[i].AllowedIPs, p)
	})
}
