package wanted

import (
	"fmt"
	"net/netip"

	"weft/netd/lease"
	"weft/profiles"
)

// Defaults of the VXLAN backend, flannel's (pkg/backend/vxlan).
const (
	DefaultVNI  = 1
	DefaultPort = 8472
)

// What a VXLAN packet adds to a pod's: outer IP, UDP (8), VXLAN (8, RFC 7348
// section 5) and inner Ethernet (14) headers; IP is 20 bytes or 40.
const (
	overhead4 = 20 + 8 + 8 + 14
	overhead6 = 40 + 8 + 8 + 14
)

// minMTU6 is what IPv6 needs of every link (RFC 8200 section 5); below it the
// kernel turns IPv6 off on a device. minMTU4 is what IPv4 needs (RFC 791
// section 3.2 asks for 68; 576 is what every host takes).
const (
	minMTU6 = 1280
	minMTU4 = 576
)

// metric6 is the kernel's default metric of IPv6 routes (IP6_RT_PRIO_USER).
const metric6 = 1024

// vxlan carries each family in a VXLAN device of its own, as flannel does, so
// that a node of one family only can be a peer of a node of both.
type vxlan struct {
	profiles.Backend
	name4, name6 string
}

var _ Backend = vxlan{}

func newVXLAN(b profiles.Backend) vxlan {
	if b.VNI == 0 {
		b.VNI = DefaultVNI
	}
	if b.Port == 0 {
		b.Port = DefaultPort
	}
	return vxlan{b, fmt.Sprint("flannel.", b.VNI), fmt.Sprint("flannel-v6.", b.VNI)}
}

// Names is the one device of the family.
func (v vxlan) Names(ipv6 bool) []string { return []string{v.name(ipv6)} }

// Underlays is the one of the same family.
func (v vxlan) Underlays(ipv6 bool) []bool { return []bool{ipv6} }

func (v vxlan) name(ipv6 bool) string {
	if ipv6 {
		return v.name6
	}
	return v.name4
}

// Devices is the tunnel device of the family; its address is the first of the
// own subnet, with which the node itself talks to pods of other nodes.
func (v vxlan) Devices(node Node, f Family) ([]Link, []Address, error) {
	mtu, err := v.PodMTU(node, f)
	if err != nil {
		return nil, nil, err
	}
	link := Link{
		Name:            v.name(f.IPv6),
		Kind:            KindVXLAN,
		Alias:           Mark,
		MAC:             node.MAC,
		MTU:             mtu,
		Up:              true,
		AcceptRA:        false, // a pod must not become this node's router
		ChecksumOffload: v.ChecksumOffload == nil || *v.ChecksumOffload,
		VXLAN: VXLAN{
			VNI:      v.VNI,
			Port:     v.Port,
			Local:    f.Underlay.Address,
			Underlay: f.Underlay.Index,
			Learning: v.Learning,
			GBP:      v.GBP,
		},
	}
	first := f.Own.Masked().Addr()
	return []Link{link}, []Address{{Link: link.Name, Prefix: netip.PrefixFrom(first, first.BitLen())}}, nil
}

// Base keeps what is for the node's own pods from going elsewhere.
func (vxlan) Base(f Family) []Route { return []Route{guard(f.Own.Masked())} }

// PodMTU is what a pod can send without its packet being too big for the
// underlay. The families differ: the outer IPv6 header is 20 bytes longer.
func (v vxlan) PodMTU(_ Node, f Family) (int, error) {
	overhead, least := overhead4, minMTU4
	if f.IPv6 {
		overhead, least = overhead6, minMTU6
	}
	mtu := f.Underlay.MTU - overhead
	if v.MTU != 0 {
		mtu = min(mtu, v.MTU)
	}
	if mtu < least {
		return 0, notCarried{fmt.Sprintf("MTU %d of the tunnel is below the %d bytes that %s needs (underlay %s has %d, the tunnel takes %d)",
			mtu, least, f, f.Underlay.Name, f.Underlay.MTU, overhead), fixMTU}
	}
	return mtu, nil
}

// Lookup reports whether a plain route would do for the lease's node.
func (v vxlan) Lookup(l lease.Lease) bool { return v.DirectRouting || l.Backend == lease.HostGW }

// Peer takes the MAC address of the peer's device from its lease.
//
// A node that has changed to host-gw has no tunnel any more, but on the same
// link it is reached, and reaches this node, without one; so it is honoured
// there, and a network can be changed node by node.
func (v vxlan) Peer(node Node, f Family, l lease.Lease) (peer Peer, reason, fix string) {
	half := f.half(l)
	peer.Address = half.Address
	direct := node.onLink(f, half.Address)
	switch {
	case l.Backend == lease.HostGW && direct:
		peer.Plain = true
		return peer, "", ""
	case l.Backend != lease.VXLAN:
		reason, fix = otherBackend(l, lease.VXLAN)
		return peer, reason, fix
	}
	mac, err := ParseMAC(half.MAC)
	if err != nil {
		return peer, "MAC " + err.Error(), "leave mac out, so that it follows from the name, or correct it"
	}
	peer.MAC, peer.Plain = mac, v.DirectRouting && direct
	return peer, "", ""
}

// otherBackend refuses a lease of another backend than the own one.
func otherBackend(l lease.Lease, own string) (reason, fix string) {
	reason = fmt.Sprintf("backend is %q, here it is %q", l.Backend, own)
	switch {
	case own == lease.VXLAN && l.Backend == lease.HostGW, own == lease.HostGW && l.Backend == lease.VXLAN:
		return reason + ", and the peer is not on this node's link",
			"use one backend in the whole network; nodes behind a router need vxlan or wireguard"
	}
	return reason, "use one backend in the whole network"
}

// Add puts neighbour, FDB entry and route of peer into s: the route's gateway
// is the first address of the peer's subnet, the neighbour gives it the MAC
// of the peer's device, and the FDB entry says behind which host that is.
//
// A peer on the same link, with direct routing, needs only a plain route.
func (v vxlan) Add(s *State, node Node, f Family, peer Peer) {
	if peer.Plain {
		s.Routes = append(s.Routes, plainRoute(f, peer))
		return
	}
	name := v.name(f.IPv6)
	via := peer.Subnet.Addr()
	s.Neighs = append(s.Neighs, Neighbour{Link: name, IP: via, MAC: peer.MAC})
	s.FDB = append(s.FDB, FDBEntry{Link: name, MAC: peer.MAC, Dst: peer.Address})
	s.Routes = append(s.Routes, Route{Dst: peer.Subnet, Via: via, Link: name, OnLink: true,
		Metric: f.metric(), Protocol: ProtocolFor(peer.Subnet)})
}
