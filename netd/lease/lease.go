// Package lease holds the type of a lease: one node's entry in the network.
//
// A lease is what a store says, not what is right: its addresses may overlap
// and its MAC addresses may be nonsense. Package wanted judges leases; this
// package only names their parts.
package lease

import "net/netip"

// VXLAN is the backend of leases whose node is reached by VXLAN.
const VXLAN = "vxlan"

// A Lease is one node's entry in the network.
type Lease struct {
	// Node is the node's name; stores that know no names use the address.
	Node string
	// UUID is the node's identity (RFC 9562), empty when the store has none.
	UUID string
	// Backend is how the node's pods are reached, such as [VXLAN].
	Backend string
	// IPv4 and IPv6 are the node's part in each family; a family the node
	// does not serve is the zero value.
	IPv4, IPv6 Half
}

// A Half is a lease's part in one address family.
type Half struct {
	// Subnet is where the node's pods have their addresses.
	Subnet netip.Prefix
	// Address is where peers reach the node.
	Address netip.Addr
	// MAC is the address of the node's VTEP device, as the store spells it.
	MAC string
}

// IsZero reports whether the lease does not serve the family at all.
func (h Half) IsZero() bool { return h == Half{} }
