// Package wanted computes the kernel state that leases ask of a node.
//
// It is plain functions over values: it touches no kernel and reads no clock,
// and equal arguments give equal results in a stable order. Reading and
// changing the kernel is the business of package kernel, comparing of package
// diff.
package wanted

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Mark is the alias (ip link: "alias") of devices that netd made or took
// over. A device that carries it and is not wanted is netd's to remove.
const Mark = "weft netd"

// Protocol and the ones after it, Protocols in all, are the routing protocol
// numbers (rtm_protocol) that mark netd's routes. They are free in the
// kernel's rtnetlink.h and iproute2's rt_protos.
//
// There are several because of a hash table: the kernel finds equal next hops
// of IPv4 routes by protocol, device and metric, but not by gateway
// (net/ipv4/fib_semantics.c, fib_info_hashfn), and so puts all routes of one
// protocol through one device into one chain, which it walks for each route
// that is added. With 32 numbers, programming 5,000 leases takes a quarter of
// the CPU time.
const (
	Protocol  = 208
	Protocols = 32
)

// ProtocolFor is the number for the route to dst: always the same for one,
// and spread evenly over many.
func ProtocolFor(dst netip.Prefix) uint8 {
	const prime = 16777619 // of FNV-1a, 32 bits
	sum := uint32(2166136261)
	for _, b := range dst.Addr().As16() {
		sum = (sum ^ uint32(b)) * prime
	}
	return Protocol + uint8((sum^sum>>16)%Protocols)
}

// Marked reports whether a routing protocol number is one of netd's.
func Marked(protocol uint8) bool { return protocol >= Protocol && protocol < Protocol+Protocols }

// Kind is a device's type, as the kernel names it (IFLA_INFO_KIND).
type Kind string

// The kinds of devices netd makes.
const (
	KindVXLAN     Kind = "vxlan"
	KindWireGuard Kind = "wireguard"
)

// State is kernel state: what netd should hold for a node, or what it holds.
// All slices are sorted.
type State struct {
	Links     []Link      `json:"links"`
	Addresses []Address   `json:"addresses"`
	Routes    []Route     `json:"routes"`
	Rules     []Rule      `json:"rules,omitempty"`
	FDB       []FDBEntry  `json:"fdb"`
	Neighs    []Neighbour `json:"neighbours"`
	Peers     []WGPeer    `json:"wireguardPeers,omitempty"`
}

// Append adds the objects of more behind those there are.
func (s *State) Append(more State) {
	s.Links = append(s.Links, more.Links...)
	s.Addresses = append(s.Addresses, more.Addresses...)
	s.Routes = append(s.Routes, more.Routes...)
	s.Rules = append(s.Rules, more.Rules...)
	s.FDB = append(s.FDB, more.FDB...)
	s.Neighs = append(s.Neighs, more.Neighs...)
	s.Peers = append(s.Peers, more.Peers...)
}

// Link is a network device.
type Link struct {
	// Name is the device's name and Kind its type.
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Index is the kernel's number for the device, in state that was read;
	// 0 in wanted state, where it does not matter.
	Index int `json:"index"`
	// Alias is [Mark] on devices that are netd's.
	Alias string `json:"alias"`
	// MAC is the device's hardware address.
	MAC MAC `json:"mac"`
	// MTU is in bytes.
	MTU int `json:"mtu"`
	// Up is the administrative state (IFF_UP).
	Up bool `json:"up"`
	// AcceptRA is the device's accept_ra setting.
	AcceptRA bool `json:"acceptRA"`
	// ChecksumOffload is the device's tx-checksum-ip-generic feature.
	ChecksumOffload bool `json:"checksumOffload"`
	// VXLAN holds the parameters of a [KindVXLAN] device.
	VXLAN VXLAN `json:"vxlan,omitzero"`
	// WireGuard holds those of a [KindWireGuard] device.
	WireGuard WireGuard `json:"wireguard,omitzero"`
}

// VXLAN holds the parameters of a VXLAN device.
type VXLAN struct {
	VNI  int `json:"vni"`
	Port int `json:"port"`
	// Local is the source address of the tunnel.
	Local netip.Addr `json:"local"`
	// Underlay is the index of the device that carries the tunnel.
	Underlay int  `json:"underlay"`
	Learning bool `json:"learning"`
	GBP      bool `json:"gbp"`
}

// WireGuard holds the parameters of a WireGuard device. The private key is
// not among them: state is shown and logged. The edge knows the private key
// that belongs to a public one.
type WireGuard struct {
	// PublicKey is that of the device.
	PublicKey Key `json:"publicKey"`
	// Port is the UDP port the device listens on.
	Port int `json:"port"`
}

// WGPeer is a peer of a WireGuard device.
type WGPeer struct {
	// Link is the name of the device.
	Link      string `json:"link"`
	PublicKey Key    `json:"publicKey"`
	// Endpoint is where the peer is reached; the zero value when unknown.
	Endpoint netip.AddrPort `json:"endpoint"`
	// AllowedIPs are what the peer may send from and what is sent to it,
	// sorted.
	AllowedIPs []netip.Prefix `json:"allowedIPs"`
	// Keepalive is how often a packet is sent when there is nothing else to
	// send, in seconds; 0 is never.
	Keepalive int `json:"keepalive"`
	// PSK stands for the pre-shared key, which it is the SHA-256 sum of; zero
	// without one.
	PSK Key `json:"psk,omitzero"`
}

// Equal reports whether two peers are the same in all they hold.
func (p WGPeer) Equal(other WGPeer) bool {
	return p.Link == other.Link && p.PublicKey == other.PublicKey && p.Endpoint == other.Endpoint &&
		p.Keepalive == other.Keepalive && p.PSK == other.PSK && slices.Equal(p.AllowedIPs, other.AllowedIPs)
}

// Key is a public key of WireGuard (Curve25519, RFC 7748), or a SHA-256 sum:
// never a secret.
type Key [32]byte

// String is the key in base64, as the wg tool prints it.
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// MarshalText is [Key.String], for JSON.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what [Key.MarshalText] wrote.
func (k *Key) UnmarshalText(text []byte) error {
	raw, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil || len(raw) != len(k) {
		return fmt.Errorf("%q is not 32 bytes in base64", text)
	}
	*k = Key(raw)
	return nil
}

// ParseKey reads the public key of a device: 32 bytes in base64, not zero.
func ParseKey(text string) (k Key, err error) {
	if err := k.UnmarshalText([]byte(text)); err != nil {
		return Key{}, err
	}
	if k == (Key{}) {
		return Key{}, errors.New("a key of zeros is no key of a device")
	}
	return k, nil
}

// Address is an address of a device.
type Address struct {
	Link   string       `json:"link"`
	Prefix netip.Prefix `json:"prefix"`
}

// Route is a route of the main table or of another one.
type Route struct {
	Dst netip.Prefix `json:"dst"`
	Via netip.Addr   `json:"via"`
	// Link is the name of the device the route leaves by; empty for one that
	// is Unreachable or a Throw.
	Link string `json:"link"`
	// Table is the number of the table; 0 stands for the main one.
	Table uint32 `json:"table,omitempty"`
	// Unreachable says that packets end here and their senders are told so
	// (RTN_UNREACHABLE).
	Unreachable bool `json:"unreachable,omitempty"`
	// Throw says that there is no route in this table, and the next one that
	// the rules name is to be asked (RTN_THROW).
	Throw bool `json:"throw,omitempty"`
	// OnLink says that Via is reachable although no address of Link says so.
	OnLink bool `json:"onLink"`
	// Metric is the route's priority: 0 for IPv4, 1024 for IPv6, the kernel's
	// defaults; the last there is for one that is Unreachable, and others in
	// the table of lanes.
	Metric uint32 `json:"metric"`
	// Protocol is who made the route.
	Protocol uint8 `json:"protocol"`
}

// Rule says that a routing table is asked, for all packets of a family.
type Rule struct {
	IPv6 bool `json:"ipv6"`
	// Priority is the rule's place: those with small numbers come first, the
	// one of the main table has 32766 (net/ipv4/fib_rules.c).
	Priority uint32 `json:"priority"`
	Table    uint32 `json:"table"`
}

// FDBEntry says behind which host a MAC address is.
type FDBEntry struct {
	Link string     `json:"link"`
	MAC  MAC        `json:"mac"`
	Dst  netip.Addr `json:"dst"`
}

// Neighbour is a permanent neighbour entry: which MAC address has an IP.
type Neighbour struct {
	Link string     `json:"link"`
	IP   netip.Addr `json:"ip"`
	MAC  MAC        `json:"mac"`
}

// MAC is an Ethernet address. Unlike [net.HardwareAddr] it can be compared.
type MAC [6]byte

// String is the address in the usual form, 02:00:5e:10:00:01.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText is [MAC.String], for JSON.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what [MAC.MarshalText] wrote.
func (m *MAC) UnmarshalText(text []byte) error {
	parsed, err := net.ParseMAC(string(text))
	if err != nil || len(parsed) != len(m) {
		return fmt.Errorf("%q is not a MAC address", text)
	}
	*m = MAC(parsed)
	return nil
}

// ParseMAC reads the MAC address of a device: six bytes, unicast, not zero.
func ParseMAC(text string) (MAC, error) {
	parsed, err := net.ParseMAC(text)
	switch {
	case err != nil || len(parsed) != 6:
		return MAC{}, fmt.Errorf("%q is not a MAC address such as 02:00:5e:10:00:01", text)
	case MAC(parsed) == MAC{}:
		return MAC{}, fmt.Errorf("%s is no address of a device", text)
	case parsed[0]&1 != 0:
		return MAC{}, fmt.Errorf("%s is a multicast address", text)
	}
	return MAC(parsed), nil
}

// String describes the device for logs.
func (l Link) String() string { return "device " + l.Name }

// String describes the address for logs.
func (a Address) String() string { return fmt.Sprintf("address %s dev %s", a.Prefix, a.Link) }

// String describes the route for logs.
func (r Route) String() string {
	table := ""
	if r.Table != 0 {
		table = fmt.Sprintf(" table %d", r.Table)
	}
	switch {
	case r.Unreachable:
		return fmt.Sprintf("route unreachable %s%s", r.Dst, table)
	case r.Throw:
		return fmt.Sprintf("route throw %s%s", r.Dst, table)
	case !r.Via.IsValid():
		return fmt.Sprintf("route %s dev %s%s", r.Dst, r.Link, table)
	}
	return fmt.Sprintf("route %s via %s dev %s%s", r.Dst, r.Via, r.Link, table)
}

// String describes the rule for logs.
func (r Rule) String() string {
	family := "IPv4"
	if r.IPv6 {
		family = "IPv6"
	}
	return fmt.Sprintf("%s rule %d lookup %d", family, r.Priority, r.Table)
}

// String describes the entry for logs.
func (e FDBEntry) String() string {
	return fmt.Sprintf("fdb entry %s dst %s dev %s", e.MAC, e.Dst, e.Link)
}

// String describes the neighbour for logs.
func (n Neighbour) String() string {
	return fmt.Sprintf("neighbour %s lladdr %s dev %s", n.IP, n.MAC, n.Link)
}

// String describes the peer for logs.
func (p WGPeer) String() string { return fmt.Sprintf("peer %s dev %s", p.PublicKey, p.Link) }
