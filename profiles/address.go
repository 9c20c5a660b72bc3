package profiles

import (
	"crypto/sha256"
	"encoding/binary"
	"net"
	"net/netip"
)

// VTEPMAC derives the address of a node's VTEP device from its name, so that
// all nodes of a network without a store know each other's. The result is
// stable across versions, unicast and locally administered (IEEE 802, section
// 8.2).
func VTEPMAC(name string) net.HardwareAddr {
	sum := sha256.Sum256([]byte("weft vtep mac 1\x00" + name))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^1 | 2
	return mac
}

// SubnetsFor picks a pod subnet of each family of n for the node with a UUID:
// always the same for one UUID, spread evenly over the range. It never picks
// the first subnet of a range, which flannel leaves out too (SubnetMin is the
// second one, pkg/subnet/config.go). n may lack defaults, but must be sound.
func SubnetsFor(n Network, uuid string) []netip.Prefix {
	n = n.WithDefaults()
	subnets := make([]netip.Prefix, 0, len(n.Pods))
	for _, pods := range n.Pods {
		length := n.SubnetLength.of(pods.Addr())
		sum := sha256.Sum256([]byte("weft subnet 1\x00" + pods.Masked().String() + "\x00" + uuid))
		// 2^63 subnets are enough to choose from, and fit.
		spare := min(length-pods.Bits(), 63)
		if spare < 1 {
			continue
		}
		choices := uint64(1)<<spare - 1
		index := 1 + binary.BigEndian.Uint64(sum[:8])%choices
		subnets = append(subnets, nthSubnet(pods, length, index))
	}
	return subnets
}

// nthSubnet returns the subnet of pods with a length and an index, counted
// from 0.
func nthSubnet(pods netip.Prefix, length int, index uint64) netip.Prefix {
	addr := pods.Masked().Addr().AsSlice()
	for bit := length - 1; index != 0 && bit >= pods.Bits(); bit-- {
		if index&1 == 1 {
			addr[bit/8] |= 0x80 >> (bit % 8)
		}
		index >>= 1
	}
	a, _ := netip.AddrFromSlice(addr)
	return netip.PrefixFrom(a, length)
}

// of returns the length for the family of an address.
func (l SubnetLength) of(a netip.Addr) int {
	if a.Is4() {
		return l.IPv4
	}
	return l.IPv6
}

// hasFamily tells whether a network has pods of a family.
func (n Network) hasFamily(ipv4 bool) bool {
	for _, p := range n.Pods {
		if p.IsValid() && p.Addr().Is4() == ipv4 {
			return true
		}
	}
	return false
}

// HasIPv4 tells whether pods have IPv4 addresses.
func (n Network) HasIPv4() bool { return n.hasFamily(true) }

// HasIPv6 tells whether pods have IPv6 addresses.
func (n Network) HasIPv6() bool { return n.hasFamily(false) }

// familyName returns IPv4 or IPv6.
func familyName(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}
