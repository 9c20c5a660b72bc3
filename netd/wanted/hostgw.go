package wanted

import (
	"fmt"

	"weft/netd/lease"
	"weft/profiles"
)

// hostGW routes to the peers' addresses, without a tunnel and without a
// device of its own, as flannel's host-gw. All nodes are on one link: a
// gateway that is behind a router would be no gateway.
type hostGW struct{ mtu int }

var _ Backend = hostGW{}

// Names is nothing.
func (hostGW) Names(bool) []string { return nil }

// Underlays is the one of the same family.
func (hostGW) Underlays(ipv6 bool) []bool { return []bool{ipv6} }

// PodMTU is the underlay's: nothing is added to packets.
func (h hostGW) PodMTU(_ Node, f Family) (int, error) { return underlayMTU(f, h.mtu) }

// underlayMTU is the MTU of pods whose packets netd adds nothing to: the
// underlay's, or what the profile says, if that is less.
func underlayMTU(f Family, given int) (int, error) {
	if given != 0 {
		f.Underlay.MTU = min(f.Underlay.MTU, given)
	}
	if f.IPv6 && f.Underlay.MTU < minMTU6 {
		return 0, notCarried{fmt.Sprintf("MTU %d of underlay %s is below the %d bytes that IPv6 needs",
			f.Underlay.MTU, f.Underlay.Name, minMTU6), fixMTU}
	}
	return f.Underlay.MTU, nil
}

// Devices is nothing. The family cannot be carried when peers are told an
// address that is not on the link: they would not reach it, or reach it by
// what translates it, as flannel finds, too.
func (h hostGW) Devices(node Node, f Family) ([]Link, []Address, error) {
	external := node.External4
	if f.IPv6 {
		external = node.External6
	}
	if external.IsValid() && external != f.Underlay.Address {
		return nil, nil, notCarried{fmt.Sprintf("peers are told to reach this node at %s, but host-gw needs the address of device %s, %s",
			external, f.Underlay.Name, f.Underlay.Address), "leave network.externalIP out, or use vxlan or wireguard"}
	}
	_, err := h.PodMTU(node, f)
	return nil, nil, err
}

// Base keeps what is for the node's own pods from going elsewhere.
func (hostGW) Base(f Family) []Route { return []Route{guard(f.Own.Masked())} }

// Lookup is always needed: a peer has to be on the link.
func (hostGW) Lookup(lease.Lease) bool { return true }

// Peer checks that the peer is on the link. A node that still has vxlan takes
// packets without a tunnel as well, so it is honoured: a network can be
// changed node by node.
func (hostGW) Peer(node Node, f Family, l lease.Lease) (peer Peer, reason, fix string) {
	peer = Peer{Address: f.half(l).Address, Plain: true}
	switch {
	case l.Backend != lease.HostGW && l.Backend != lease.VXLAN:
		reason, fix = otherBackend(l, lease.HostGW)
	case node.onLink(f, peer.Address) || !peer.Address.IsValid():
	case l.Backend == lease.VXLAN:
		reason, fix = otherBackend(l, lease.HostGW)
	default:
		reason = fmt.Sprintf("address %s is not on the link of %s; host-gw needs the peers on one link", peer.Address, f.Underlay.Name)
		fix = "put the nodes on one link, or use vxlan or wireguard"
	}
	return peer, reason, fix
}

// Add puts the route to peer into s.
func (hostGW) Add(s *State, _ Node, f Family, peer Peer) {
	s.Routes = append(s.Routes, plainRoute(f, peer))
}

// keep are the kinds of devices that nodes with another backend may still use
// to reach this one. A node that changes from vxlan to host-gw keeps its
// VXLAN devices until no lease says vxlan any more.
func keep(b profiles.Backend, leases []lease.Lease) []Kind {
	if b.Canonical() != lease.HostGW {
		return nil
	}
	for _, l := range leases {
		if l.Backend == lease.VXLAN {
			return []Kind{KindVXLAN}
		}
	}
	return nil
}
