// Package lease holds the type of a lease: one node's entry in the network,
// and how its parts are spelled in the stores that flannel uses too.
//
// A lease is what a store says, not what is right: its addresses may overlap
// and its MAC addresses may be nonsense. Package wanted judges leases; this
// package only names their parts.
package lease

import (
	"net/netip"
	"slices"
)

// The backends of leases, as flannel spells them (BackendType).
const (
	VXLAN     = "vxlan"
	HostGW    = "host-gw"
	WireGuard = "wireguard"
	IPsec     = "ipsec"
	None      = "none"
)

// A Lease is one node's entry in the network.
type Lease struct {
	// Node is the node's name; stores that know no names use the address.
	Node string
	// UUID is the node's identity (RFC 9562), empty when the store has none:
	// leases of flanneld, and of lists of peers.
	UUID string
	// Backend is how the node's pods are reached, such as [VXLAN].
	Backend string
	// IPv4 and IPv6 are the node's part in each family; a family the node
	// does not serve is the zero value.
	IPv4, IPv6 Half
	// Lane is the node's second WireGuard device while a key is replaced
	// somewhere; the zero value at other times.
	Lane Lane
	// Learned are endpoints of WireGuard peers from which this node has had
	// authenticated packets, sorted by key, for nodes that know none.
	Learned []Endpoint
}

// A Half is a lease's part in one address family.
type Half struct {
	// Subnet is where the node's pods have their addresses.
	Subnet netip.Prefix
	// Address is where peers reach the node.
	Address netip.Addr
	// MAC is the address of the node's VTEP device, as the store spells it.
	MAC string
	// VNI is the VXLAN network identifier; 0 when the lease does not say.
	VNI int
	// PublicKey is the node's WireGuard key, in base64, as the store spells
	// it.
	PublicKey string
	// Port is the UDP port of the node's WireGuard device; 0 stands for the
	// reader's own.
	Port uint16
}

// A Lane is a second WireGuard device of a node, beside the one of its main
// key: a way between two nodes on which no traffic depends, so that a key can
// be replaced there and proved before packets take it.
type Lane struct {
	// PublicKey is the key of the second device, in base64.
	PublicKey string `json:"publicKey,omitempty"`
	// Port and PortV6 are its UDP ports, the second of the device of mode
	// separate for IPv6.
	Port   uint16 `json:"port,omitempty"`
	PortV6 uint16 `json:"portV6,omitempty"`
	// Step says how far the node is in replacing its key.
	Step string `json:"step,omitempty"`
	// On are the public keys of the peers' lanes to which this node now sends
	// through its own, sorted. A lane's key is used for one lane only, so what
	// is said of an earlier one cannot be taken for news.
	On []string `json:"on,omitempty"`
}

// An Endpoint is where a WireGuard peer was seen.
type Endpoint struct {
	PublicKey string         `json:"publicKey"`
	Address   netip.AddrPort `json:"address"`
}

// IsZero reports whether the half does not serve the family at all.
func (h Half) IsZero() bool { return h == Half{} }

// IsZero reports whether there is no lane.
func (l Lane) IsZero() bool { return l.PublicKey == "" && l.Step == "" }

// Equal reports whether two leases say the same.
func (l Lease) Equal(other Lease) bool {
	return l.Node == other.Node && l.UUID == other.UUID && l.Backend == other.Backend &&
		l.IPv4 == other.IPv4 && l.IPv6 == other.IPv6 &&
		l.Lane.PublicKey == other.Lane.PublicKey && l.Lane.Port == other.Lane.Port &&
		l.Lane.PortV6 == other.Lane.PortV6 && l.Lane.Step == other.Lane.Step &&
		slices.Equal(l.Lane.On, other.Lane.On) && slices.Equal(l.Learned, other.Learned)
}

// Half is the part in a family.
func (l *Lease) Half(ipv6 bool) *Half {
	if ipv6 {
		return &l.IPv6
	}
	return &l.IPv4
}
