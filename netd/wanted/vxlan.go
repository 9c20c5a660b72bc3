package wanted

import (
	"fmt"
	"net/netip"

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

// DeviceName is the name of the device that carries a family.
func DeviceName(b profiles.Backend, ipv6 bool) string { return newVXLAN(b).name(ipv6) }

func (v vxlan) name(ipv6 bool) string {
	if ipv6 {
		return v.name6
	}
	return v.name4
}

// Devices is the tunnel device of the family; its address is the first of the
// own subnet, with which the node itself talks to pods of other nodes.
func (v vxlan) Devices(node Node, f Family) ([]Link, []Address, error) {
	mtu, err := v.mtu(f)
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

// mtu is what a pod can send without its packet being too big for the
// underlay. The families differ: the outer IPv6 header is 20 bytes longer.
func (v vxlan) mtu(f Family) (int, error) {
	overhead, least := overhead4, minMTU4
	if f.IPv6 {
		overhead, least = overhead6, minMTU6
	}
	mtu := f.Underlay.MTU - overhead
	if v.MTU != 0 {
		mtu = min(mtu, v.MTU)
	}
	if mtu < least {
		return 0, fmt.Errorf("MTU %d of the tunnel is below the %d bytes that %s needs (underlay %s has %d, the tunnel takes %d)",
			mtu, least, f, f.Underlay.Name, f.Underlay.MTU, overhead)
	}
	return mtu, nil
}

// Add puts neighbour, FDB entry and route of peer into s: the route's gateway
// is the first address of the peer's subnet, the neighbour gives it the MAC
// of the peer's device, and the FDB entry says behind which host that is.
//
// A peer on the same link, with direct routing, needs only a plain route.
func (v vxlan) Add(s *State, node Node, f Family, peer Peer) {
	var metric uint32
	if f.IPv6 {
		metric = metric6
	}
	if v.DirectRouting && node.Direct[peer.Address] {
		s.Routes = append(s.Routes, Route{Dst: peer.Subnet, Via: peer.Address, Link: f.Underlay.Name,
			Metric: metric, Protocol: ProtocolFor(peer.Subnet)})
		return
	}
	name := v.name(f.IPv6)
	via := peer.Subnet.Addr()
	s.Neighs = append(s.Neighs, Neighbour{Link: name, IP: via, MAC: peer.MAC})
	s.FDB = append(s.FDB, FDBEntry{Link: name, MAC: peer.MAC, Dst: peer.Address})
	s.Routes = append(s.Routes, Route{Dst: peer.Subnet, Via: via, Link: name, OnLink: true,
		Metric: metric, Protocol: ProtocolFor(peer.Subnet)})
}
