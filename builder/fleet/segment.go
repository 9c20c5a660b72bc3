package fleet

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
)

// defaults are the ranges that nodes without addresses are numbered from, when
// the cluster file names no network of the family. QEMU's user network,
// 10.0.2.0/24 and fec0::/64, does not use them.
var defaults = []netip.Prefix{
	netip.MustParsePrefix("10.77.0.0/24"),
	netip.MustParsePrefix("fd77::/64"),
}

// The lengths of a link's ranges, where the cluster file names no network that
// holds an address.
const (
	linkBits4 = 24
	linkBits6 = 64
)

// Cards are the hardware addresses of a node's two cards: the first leads to
// the outside, the second to the other nodes.
type Cards struct{ Uplink, Segment net.HardwareAddr }

// OnSegment makes the fleet one of virtual machines that share a segment:
// nodes keep the addresses of the cluster file, which are static on their
// second card, and those without an address of a family that pods have are
// numbered. Links of the file, which name real cards, do not count. The first
// card gets its addresses from QEMU, and no IPv4 where pods have none.
func (f *Fleet) OnSegment(cards func(node string) Cards) error {
	if err := f.emulated(); err != nil {
		return err
	}
	nodes := slices.Clone(f.Cluster.Nodes)
	if err := f.number(nodes); err != nil {
		return err
	}
	for i := range nodes {
		n := &nodes[i]
		c := cards(n.Name)
		no := false
		uplink := profiles.Link{Match: profiles.Match{MAC: c.Uplink.String()}}
		if !f.Bases[f.base[i]].profile.EffectiveNetwork().HasIPv4() && !slices.ContainsFunc(n.Addresses, netip.Addr.Is4) {
			uplink.DHCP4 = &no
		}
		segment := profiles.Link{Match: profiles.Match{MAC: c.Segment.String()}, DHCP4: &no, DHCP6: &no, RouterAdvertisements: &no}
		for _, a := range slices.Concat(n.Addresses, n.ExternalAddresses) {
			segment.Addresses = append(segment.Addresses, f.onLink(a))
		}
		segment.Routes = f.routes(segment.Addresses, nodes, i)
		n.Links = []profiles.Link{uplink, segment}
	}
	f.Cluster.Nodes = nodes
	return nil
}

// emulated refuses boards that no virtual machine boots, at the first node of
// each.
func (f *Fleet) emulated() error {
	var found document.Problems
	for at, b := range f.Bases {
		if !b.Plan.Board.ForRaspberryPi() {
			continue
		}
		i := slices.Index(f.base, at)
		n := f.Cluster.Nodes[i]
		path := document.Index("nodes", i)
		switch {
		case n.Board != "":
			path = document.Join(path, "board")
		case f.Cluster.Board != "":
			path = "board"
		}
		found = append(found, f.file.Problem(path, fmt.Sprintf("%s boots by the firmware of a Raspberry Pi, which QEMU does not have", b.Plan.Board.Name)).
			WithNote("needed by node "+n.Name).WithFix("to see the network in QEMU, use the board arm64-uefi or x86-64-cloud"))
	}
	return found.Errors()
}

// number gives addresses to nodes that lack one of a family of their pods.
func (f *Fleet) number(nodes []cluster.Node) error {
	taken := map[netip.Addr]bool{}
	for _, n := range nodes {
		for _, a := range slices.Concat(n.Addresses, n.ExternalAddresses) {
			taken[a] = true
		}
	}
	for i := range nodes {
		n := &nodes[i]
		for _, pods := range f.Bases[f.base[i]].profile.EffectiveNetwork().Pods {
			family := func(a netip.Addr) bool { return a.Is4() == pods.Addr().Is4() }
			if slices.ContainsFunc(n.Addresses, family) {
				continue
			}
			from := f.rangeOf(family)
			a := from.Masked().Addr().Next()
			for taken[a] {
				a = a.Next()
			}
			if !from.Contains(a) {
				return f.problem("nodes", fmt.Sprintf("%s has no address left for %s", from, n.Name), "name a larger network, or give the node an address")
			}
			taken[a] = true
			n.Addresses = append(slices.Clone(n.Addresses), a)
		}
	}
	return nil
}

// rangeOf is the first network of the cluster file of a family.
func (f *Fleet) rangeOf(family func(netip.Addr) bool) netip.Prefix {
	for _, n := range f.Cluster.Networks {
		for _, p := range n.Prefixes {
			if family(p.Addr()) {
				return p
			}
		}
	}
	return defaults[slices.IndexFunc(defaults, func(p netip.Prefix) bool { return family(p.Addr()) })]
}

// onLink is an address with the length of the smallest network it is in.
func (f *Fleet) onLink(a netip.Addr) netip.Prefix {
	bits := 0
	for _, n := range f.Cluster.Networks {
		for _, p := range n.Prefixes {
			if p.Contains(a) {
				bits = max(bits, p.Bits())
			}
		}
	}
	switch {
	case bits > 0:
	case a.Is4():
		bits = linkBits4
	default:
		bits = linkBits6
	}
	return netip.PrefixFrom(a, bits)
}

// routes lead to the addresses of other nodes that are in none of a node's own
// ranges: routers of real networks are not there, but all are on one segment.
func (f *Fleet) routes(own []netip.Prefix, nodes []cluster.Node, self int) []profiles.Route {
	var list []profiles.Route
	for i, n := range nodes {
		for _, a := range slices.Concat(n.Addresses, n.ExternalAddresses) {
			if i != self && !slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Contains(a) }) {
				list = append(list, profiles.Route{To: netip.PrefixFrom(a, a.BitLen())})
			}
		}
	}
	return list
}
