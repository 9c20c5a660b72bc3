package wanted

import "weft/netd/lease"

// none leaves the paths between nodes to somebody else: a router that knows
// the pod subnets, or a cloud's route table. netd still keeps the packet
// filter and the files that pods get their addresses by.
type none struct{ mtu int }

var _ Backend = none{}

// Names is nothing.
func (none) Names(bool) []string { return nil }

// Underlays is the one of the same family.
func (none) Underlays(ipv6 bool) []bool { return []bool{ipv6} }

// PodMTU is the underlay's, or what the profile says, if that is less: who
// carries the packets may add to them.
func (n none) PodMTU(_ Node, f Family) (int, error) { return underlayMTU(f, n.mtu) }

// Devices is nothing.
func (n none) Devices(node Node, f Family) ([]Link, []Address, error) {
	_, err := n.PodMTU(node, f)
	return nil, nil, err
}

// Base is nothing: the way to the node's own pods may be somebody else's, too.
func (none) Base(Family) []Route { return nil }

// Lookup is never needed.
func (none) Lookup(lease.Lease) bool { return false }

// Peer takes leases of any backend: how their nodes are reached is not netd's
// to know.
func (none) Peer(_ Node, f Family, l lease.Lease) (peer Peer, reason, fix string) {
	return Peer{Address: f.half(l).Address}, "", ""
}

// Add puts nothing into s.
func (none) Add(*State, Node, Family, Peer) {}
