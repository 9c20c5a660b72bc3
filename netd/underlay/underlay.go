// Package underlay chooses the device and the addresses that carry the
// tunnel: where this node reaches its peers and its peers reach it.
//
// The choice is a plain function over what the kernel was found to hold; it
// asks nothing itself (see package kernel) and does not wait (see package
// reconcile, which asks again when the kernel says that something changed).
package underlay

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// A Device is the underlay of one address family.
type Device struct {
	// Index is the kernel's number for the device; 0 means there is none.
	Index int
	// Name is the device's name.
	Name string
	// MTU is the device's, in bytes.
	MTU int
	// Address is this node's on the device, where peers reach it.
	Address netip.Addr
}

// A Choice is the underlay of both families. They may be different devices.
type Choice struct {
	IPv4, IPv6 Device
}

// Host is what the kernel holds of the things a choice depends on.
type Host struct {
	Links     []Link
	Addresses []Address
	// Defaults are the devices of the default routes of the main table.
	Defaults []Default
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
	// LinkScope, Dynamic, Temporary and Deprecated are the kernel's flags
	// (RT_SCOPE_LINK, not IFA_F_PERMANENT, IFA_F_TEMPORARY, IFA_F_DEPRECATED).
	LinkScope, Dynamic, Temporary, Deprecated bool
	// Unusable says that duplicate address detection has not passed.
	Unusable bool
}

// Default is a default route.
type Default struct {
	IPv6   bool
	Index  int
	Metric uint32
}

// Choose finds the underlay of family on host. When given holds an address
// of the family, the device that carries it is the underlay; otherwise it is
// the device of the best default route with its best address. The error says
// what is missing.
func Choose(host Host, ipv6 bool, given []netip.Addr) (Device, error) {
	family := "IPv4"
	if ipv6 {
		family = "IPv6"
	}
	for _, address := range given {
		if address.Is6() != ipv6 {
			continue
		}
		for _, a := range host.Addresses {
			if a.IP == address && !a.Unusable {
				return device(host, a)
			}
		}
		return Device{}, fmt.Errorf("no device carries %s, this node's %s address", address, family)
	}
	route, found := bestDefault(host, ipv6)
	if !found {
		return Device{}, fmt.Errorf("no %s default route and no %s address given for this node", family, family)
	}
	var best *Address
	for i, a := range host.Addresses {
		if a.Index == route.Index && a.IP.Is6() == ipv6 && a.usable() &&
			(best == nil || better(a, *best) < 0) {
			best = &host.Addresses[i]
		}
	}
	if best == nil {
		return Device{}, fmt.Errorf("the device of the %s default route has no usable %s address", family, family)
	}
	return device(host, *best)
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

// bestDefault is the default route the kernel prefers: the lowest metric.
func bestDefault(host Host, ipv6 bool) (Default, bool) {
	var routes []Default
	for _, r := range host.Defaults {
		if r.IPv6 == ipv6 {
			routes = append(routes, r)
		}
	}
	if len(routes) == 0 {
		return Default{}, false
	}
	return slices.MinFunc(routes, func(a, b Default) int { return cmp.Compare(a.Metric, b.Metric) }), true
}

func device(host Host, a Address) (Device, error) {
	for _, l := range host.Links {
		if l.Index == a.Index {
			return Device{Index: l.Index, Name: l.Name, MTU: l.MTU, Address: a.IP}, nil
		}
	}
	return Device{}, fmt.Errorf("the device with %s has just gone", a.IP)
}
