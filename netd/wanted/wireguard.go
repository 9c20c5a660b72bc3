package wanted

import (
	"fmt"
	"net/netip"
	"strings"

	"weft/netd/lease"
	"weft/profiles"
)

// WireGuardOverhead is what WireGuard adds to a packet of a pod, in bytes:
// outer IP (40 for IPv6), UDP (8), type, receiver and counter (16) and
// authentication tag (16). Flannel counts it so for both families
// (pkg/backend/wireguard, wireguard_network.go); over IPv4 60 would do.
const WireGuardOverhead = 80

// The devices of backend wireguard, flannel's names. A lane's is the name of
// the device it stands beside with laneSuffix.
const (
	wireguardDevice  = "flannel-wg"
	wireguardDevice6 = "flannel-wg-v6"
	laneSuffix       = ".1"
)

// laneKeepalive is how often a silent peer of a lane gets a packet, in
// seconds: often enough that each end soon sees if the lane works.
const laneKeepalive = 5

// A Lane is the node's second WireGuard device, on which packets go while a
// key is replaced (see package rotate).
type Lane struct {
	// PublicKey is its key; zero when there is none.
	PublicKey Key
	// Port and PortV6 are its UDP ports, the second of the IPv6 device of mode
	// separate.
	Port, PortV6 uint16
	// Ways say for each peer, by its main key, which devices it is in; the
	// main one alone where nothing is said.
	Ways map[Key]Way
}

// A Way is what WireGuard devices have for one peer.
type Way struct {
	// Main and Lane say that the peer is in the device.
	Main, Lane bool
	// Via says that packets for the peer take the lane.
	Via bool
	// Provoke says that a handshake on the main device is waited for.
	Provoke bool
}

// IsLane reports whether a device is a lane. Lanes are never given another
// key or port: they are made anew, so that a handshake seen there is one of
// the key it has.
func IsLane(device string) bool {
	return device == wireguardDevice+laneSuffix || device == wireguardDevice6+laneSuffix
}

// wireguard encrypts: one device for each family in mode separate, and else
// one for both. A device routes the whole pod network, and the peers' allowed
// addresses say who gets what.
type wireguard struct{ profiles.Backend }

var _ Backend = wireguard{}

func newWireGuard(b profiles.Backend) wireguard {
	if b.Mode == "" {
		b.Mode = profiles.ModeSeparate
	}
	if b.ListenPort == 0 {
		b.ListenPort = profiles.DefaultListenPort
	}
	if b.ListenPortV6 == 0 {
		b.ListenPortV6 = profiles.DefaultListenPortV6
	}
	return wireguard{b}
}

func (w wireguard) separate() bool { return w.Mode == profiles.ModeSeparate }

// device is the device of a family, and the port it listens on.
func (w wireguard) device(ipv6 bool) (name string, port int) {
	if ipv6 && w.separate() {
		return wireguardDevice6, w.ListenPortV6
	}
	return wireguardDevice, w.ListenPort
}

// LanePorts are the ports of the lanes: the two above those of the main
// devices, 51822 and 51823 by default, or below where there is no room, so that
// firewalls between nodes can be told of them beforehand.
func LanePorts(b profiles.Backend) (port, portV6 uint16) {
	w := newWireGuard(b)
	first := max(w.ListenPort, w.ListenPortV6) + 1
	if first+1 > 65535 {
		first = min(w.ListenPort, w.ListenPortV6) - 2
	}
	return uint16(first), uint16(first + 1)
}

// WireGuardPorts are the UDP ports of all devices and lanes that backend
// wireguard may have, in order; none for other backends.
func WireGuardPorts(b profiles.Backend) []uint16 {
	if b.Canonical() != profiles.BackendWireGuard {
		return nil
	}
	w := newWireGuard(b)
	lane, lane6 := LanePorts(b)
	if !w.separate() {
		return []uint16{uint16(w.ListenPort), lane}
	}
	return []uint16{uint16(w.ListenPort), uint16(w.ListenPortV6), lane, lane6}
}

// Names are the device and its lane.
func (w wireguard) Names(ipv6 bool) []string {
	name, _ := w.device(ipv6)
	return []string{name, name + laneSuffix}
}

// Underlays follow from the mode.
func (w wireguard) Underlays(ipv6 bool) []bool {
	switch w.Mode {
	case profiles.ModeIPv4:
		return []bool{false}
	case profiles.ModeIPv6:
		return []bool{true}
	case profiles.ModeAuto:
		return []bool{false, true}
	}
	return []bool{ipv6}
}

// PodMTU is what a pod can send without its packet being too big for the
// underlay.
func (w wireguard) PodMTU(_ Node, f Family) (int, error) {
	least := minMTU4
	if f.IPv6 {
		least = minMTU6
	}
	mtu := f.Underlay.MTU - WireGuardOverhead
	if w.MTU != 0 {
		mtu = min(mtu, w.MTU)
	}
	if mtu < least {
		return 0, notCarried{fmt.Sprintf("MTU %d of the tunnel is below the %d bytes that %s needs (underlay %s has %d, the tunnel takes %d)",
			mtu, least, f, f.Underlay.Name, f.Underlay.MTU, WireGuardOverhead), fixMTU}
	}
	return mtu, nil
}

// Devices are the device of the family and, while there is one, its lane. Both
// have the first address of the own subnet: with it the node itself talks to
// pods of other nodes, whichever of them it sends through.
func (w wireguard) Devices(node Node, f Family) ([]Link, []Address, error) {
	mtu, err := w.PodMTU(node, f)
	if err != nil {
		return nil, nil, err
	}
	if node.PublicKey == (Key{}) {
		return nil, nil, notCarried{"the node has no WireGuard key", "look in netd's log for what is wrong with its key file"}
	}
	name, port := w.device(f.IPv6)
	link := Link{Name: name, Kind: KindWireGuard, Alias: Mark, MTU: mtu, Up: true,
		// NETIF_F_HW_CSUM: checksums are made when a packet is encrypted
		// (drivers/net/wireguard/device.c, wg_setup).
		ChecksumOffload: true,
		WireGuard:       WireGuard{PublicKey: node.PublicKey, Port: port}}
	first := f.Own.Masked().Addr()
	address := Address{Link: name, Prefix: netip.PrefixFrom(first, first.BitLen())}
	if node.Lane.PublicKey == (Key{}) {
		return []Link{link}, []Address{address}, nil
	}
	lane, there := link, address
	lane.Name, there.Link = name+laneSuffix, name+laneSuffix
	lane.WireGuard = WireGuard{PublicKey: node.Lane.PublicKey, Port: int(node.Lane.port(f.IPv6 && w.separate()))}
	return []Link{link, lane}, []Address{address, there}, nil
}

func (l Lane) port(v6Device bool) uint16 {
	if v6Device {
		return l.PortV6
	}
	return l.Port
}

// Base are the routes of the family that need no peer: the whole network is
// behind the device, and what is for the node's own pods never goes elsewhere,
// not even in the moment when a new device has its peers and not yet its route.
func (w wireguard) Base(f Family) []Route {
	name, _ := w.device(f.IPv6)
	return []Route{{Dst: f.Network, Link: name, Metric: f.metric(), Protocol: ProtocolFor(f.Network)}, guard(f.Own.Masked())}
}

// Lookup is never needed.
func (wireguard) Lookup(lease.Lease) bool { return false }

// Peer takes the key and the port of a lease and the address that the mode
// chooses. In a device for both families the key may be in either half.
func (w wireguard) Peer(node Node, f Family, l lease.Lease) (peer Peer, reason, fix string) {
	if l.Backend != lease.WireGuard {
		reason, fix = otherBackend(l, lease.WireGuard)
		return peer, reason, fix
	}
	half := f.half(l)
	if !w.separate() && half.PublicKey == "" {
		half.PublicKey = l.Half(!f.IPv6).PublicKey
	}
	peer.Address, peer.Port = w.address(node, f, l), half.Port
	if _, own := w.device(f.IPv6); peer.Port == 0 {
		peer.Port = uint16(own)
	}
	if half.PublicKey == "" {
		return peer, "the lease has no WireGuard key", "with a static store, give the peer its publicKey; otherwise wait until the node has started"
	}
	key, err := ParseKey(strings.TrimSpace(half.PublicKey))
	if err != nil {
		return peer, "WireGuard key " + err.Error(), "give the peer the key that wg pubkey prints on it"
	}
	peer.PublicKey = key
	if lane, err := ParseKey(l.Lane.PublicKey); err == nil {
		peer.Lane, peer.LanePort = lane, l.Lane.Port
		if f.IPv6 && w.separate() {
			peer.LanePort = l.Lane.PortV6
		}
	}
	return peer, "", ""
}

// address is where a peer is reached. Mode auto chooses as flannel does
// (selectPublicEndpoint): IPv4 unless it is private while both nodes have a
// public IPv6 address.
func (w wireguard) address(node Node, f Family, l lease.Lease) netip.Addr {
	v4, v6 := l.IPv4.Address, l.IPv6.Address
	switch w.Mode {
	case profiles.ModeIPv4:
		return v4
	case profiles.ModeIPv6:
		return v6
	case profiles.ModeAuto:
		own4, own6 := node.Underlay.IPv4.Address, node.Underlay.IPv6.Address
		switch {
		case !v6.IsValid() || !own6.IsValid():
			return v4
		case !v4.IsValid() || !own4.IsValid():
			return v6
		case v4.IsPrivate() && !v6.IsPrivate() && !own6.IsPrivate():
			return v6
		}
		return v4
	}
	return f.half(l).Address
}

// Add puts peer into the device of the family, and while a key is replaced
// into the lane and on its way.
func (w wireguard) Add(s *State, node Node, f Family, peer Peer) {
	name, _ := w.device(f.IPv6)
	way, said := node.Lane.Ways[peer.PublicKey]
	if !said {
		way = Way{Main: true}
	}
	allowed := []netip.Prefix{peer.Subnet}
	if way.Main {
		one := WGPeer{Link: name, PublicKey: peer.PublicKey, Endpoint: netip.AddrPortFrom(peer.Address, peer.Port),
			AllowedIPs: allowed, Keepalive: w.Keepalive, PSK: node.PSK}
		if way.Provoke {
			// The kernel sends a packet at once when it first hears of a
			// keepalive (drivers/net/wireguard/netlink.c, set_peer).
			one.Keepalive = 1
		}
		s.Peers = append(s.Peers, one)
	}
	if way.Lane && peer.Lane != (Key{}) && peer.LanePort != 0 && node.Lane.PublicKey != (Key{}) {
		s.Peers = append(s.Peers, WGPeer{Link: name + laneSuffix, PublicKey: peer.Lane,
			Endpoint:   netip.AddrPortFrom(peer.Address, peer.LanePort),
			AllowedIPs: allowed, Keepalive: laneKeepalive, PSK: node.PSK})
		addLaneRoutes(s, f, peer.Subnet, name+laneSuffix, way.Via)
	}
}
