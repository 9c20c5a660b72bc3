// Package underlay chooses the device and the addresses that carry the
// tunnel: where this node reaches its peers and its peers reach it.
//
// The choice is a plain function over what the kernel was found to hold; it
// asks nothing itself (see package kernel) and does not wait (see package
// reconcile, which asks again when the kernel says that something changed).
package underlay

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"weft/profiles"
)

// A Device is the underlay of one address family.
type Device struct {
	// Index is the kernel's number for the device; 0 means there is none.
	Index int
	// Name is the device's name.
	Name string
	// MTU is the device's, in bytes.
	MTU int
	// Address is this node's on the device, where peers reach it; Net the
	// network there, if it is known.
	Address netip.Addr
	Net     netip.Prefix
}

// Broadcast is the address that all hosts of an IPv4 network listen to; the
// zero address where there is none, as on links of two (RFC 3021).
func (d Device) Broadcast() netip.Addr {
	if !d.Net.Addr().Is4() || d.Net.Bits() > 30 {
		return netip.Addr{}
	}
	b := d.Net.Masked().Addr().As4()
	last := binary.BigEndian.Uint32(b[:]) | 1<<(32-d.Net.Bits()) - 1
	binary.BigEndian.PutUint32(b[:], last)
	return netip.AddrFrom4(b)
}

// A Choice is the underlay of both families. They may be different devices.
type Choice struct {
	IPv4, IPv6 Device
}

// Host is what the kernel holds of the things a choice depends on.
type Host struct {
	Links     []Link
	Addresses []Address
	// Defaults are the next hops of the default routes of the main table, in
	// the kernel's order; a multipath route has several of one metric.
	Defaults []Default
	// Routes are the answers of the kernel's route lookup for the addresses
	// that were asked about; one without an answer is not in it.
	Routes map[netip.Addr]Route
}

// Link is a network device of the host.
type Link struct {
	Index int
	Name  string
	MTU   int
	Up    bool
}

// Address is an address of a device.
type Address struct {
	// Index is the device's.
	Index int
	IP    netip.Addr
	// Net is the network it is in on the device.
	Net netip.Prefix
	// LinkScope, Dynamic, Temporary and Deprecated are the kernel's flags
	// (RT_SCOPE_LINK, not IFA_F_PERMANENT, IFA_F_TEMPORARY, IFA_F_DEPRECATED).
	LinkScope, Dynamic, Temporary, Deprecated bool
	// Unusable says that duplicate address detection has not passed.
	Unusable bool
}

// Default is a next hop of a default route.
type Default struct {
	IPv6   bool
	Index  int
	Metric uint32
	// Dead says that the kernel does not use the hop now (RTNH_F_DEAD or
	// RTNH_F_LINKDOWN).
	Dead bool
}

// Route is how the kernel would send a packet to an address.
type Route struct {
	// Index is the device it would leave by.
	Index int
	// Source is the address it would be sent from; invalid when the kernel
	// does not say.
	Source netip.Addr
}

// CanReach lists the addresses whose routes a choice for network depends on.
func CanReach(network profiles.Network) []netip.Addr {
	var all []netip.Addr
	for _, ipv6 := range []bool{false, true} {
		for _, a := range waysOf(network.Underlay, ipv6).CanReach {
			all = append(all, a.Unmap())
		}
	}
	return all
}

// Published is the address peers are told to reach the device at: the node's
// external one where the network says so, else the device's own. An external
// address changes nothing but this.
func Published(device Device, ipv6 bool, node profiles.NetdNode, network profiles.Network) netip.Addr {
	if network.ExternalIP && device.Index != 0 {
		for _, a := range node.ExternalAddresses {
			if a.Is6() == ipv6 {
				return a
			}
		}
	}
	return device.Address
}

// waysOf are the ways to choose for a family: its own where it has them, else
// those of both.
func waysOf(u profiles.Underlay, ipv6 bool) profiles.UnderlayChoice {
	switch {
	case ipv6 && u.IPv6 != nil:
		return *u.IPv6
	case !ipv6 && u.IPv4 != nil:
		return *u.IPv4
	}
	return u.UnderlayChoice
}

// usable reports whether peers can be told this address at all.
func (a Address) usable() bool {
	return !a.Unusable && !a.Deprecated && a.IP.IsGlobalUnicast()
}

// better orders addresses as flannel does (pkg/ip/iface.go): global before
// link scope, permanent before dynamic, lasting before temporary. Addresses
// equal in all of that keep the kernel's order.
func better(a, b Address) int {
	return cmp.Or(
		compareBool(a.LinkScope, b.LinkScope),
		compareBool(a.Dynamic, b.Dynamic),
		compareBool(a.Temporary, b.Temporary),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
