package wanted

import (
	"weft/netd/lease"
	"weft/profiles"
)

// What IPsec adds to a pod's packet at most, and what UDP around it adds:
// flannel's figures (pkg/backend/ipsec, ipsec.go). For AES-GCM 77 bytes are an
// outer IPv4 header (20), SPI and sequence number (8), IV (8), padding,
// its length and the next header (up to 17) and an integrity check value (16),
// rounded up for ciphers that need more.
const (
	ipsecOverhead = 77
	ipsecUDP      = 8
)

// ipsec has no devices: policies in the kernel choose the packets (see package
// netd/ipsec, which makes them). It is IPv4 only, as flannel's.
type ipsec struct{ profiles.Backend }

var _ Backend = ipsec{}

// Names is nothing.
func (ipsec) Names(bool) []string { return nil }

// Underlays is the one of the same family.
func (ipsec) Underlays(ipv6 bool) []bool { return []bool{ipv6} }

// PodMTU is what a pod can send without its packet being too big for the
// underlay.
func (b ipsec) PodMTU(_ Node, f Family) (int, error) {
	if f.IPv6 {
		return 0, notCarried{"backend ipsec carries IPv4 only", "leave IPv6 out of network.pods, or use backend wireguard"}
	}
	mtu := f.Underlay.MTU - ipsecOverhead
	if b.UDPEncapsulation {
		mtu -= ipsecUDP
	}
	if b.MTU != 0 {
		mtu = min(mtu, b.MTU)
	}
	if mtu < minMTU4 {
		return 0, notCarried{"MTU of the underlay " + f.Underlay.Name + " leaves too little for IPv4", fixMTU}
	}
	return mtu, nil
}

// Devices is nothing.
func (b ipsec) Devices(node Node, f Family) ([]Link, []Address, error) {
	_, err := b.PodMTU(node, f)
	return nil, nil, err
}

// Base keeps what is for the network's pods and has no route from leaving by
// the default route: no policy would encrypt it. That is what is for the
// node's own pods while it has none, and for those of a node that has left.
func (ipsec) Base(f Family) []Route { return []Route{guard(f.Network)} }

// Lookup is never needed.
func (ipsec) Lookup(lease.Lease) bool { return false }

// Peer takes leases of the same backend.
func (ipsec) Peer(_ Node, f Family, l lease.Lease) (peer Peer, reason, fix string) {
	peer = Peer{Address: f.half(l).Address}
	if l.Backend != lease.IPsec {
		reason, fix = otherBackend(l, lease.IPsec)
	}
	return peer, reason, fix
}

// Add puts a route to the peer's pods into s. Packets need one to get as far
// as the policy. It has no gateway: a packet that no policy takes, because it
// has been removed this moment, waits for an address that nobody has, and does
// not leave in clear by the default route. Flannel has no such route, and its
// pods reach each other only on nodes with a default route.
func (ipsec) Add(s *State, _ Node, f Family, peer Peer) {
	s.Routes = append(s.Routes, Route{Dst: peer.Subnet, Link: f.Underlay.Name,
		Metric: f.metric(), Protocol: ProtocolFor(peer.Subnet)})
}
