package cluster

import (
	"net/netip"
	"slices"
)

// numbered gives nodes without an address of a family the next one from where
// a network says that they begin, in the order of the file and past those that
// nodes are given. Nodes for which a network has no address left are without
// one still; [Cluster.Crowded] finds them.
func (c *Cluster) numbered() {
	taken := map[netip.Addr]bool{}
	for _, n := range c.Nodes {
		for _, a := range slices.Concat(n.Addresses, n.ExternalAddresses) {
			taken[a] = true
		}
	}
	for _, network := range c.Networks {
		for _, first := range network.First {
			within, found := network.within(first)
			if !found {
				continue
			}
			next := first
			for i := range c.Nodes {
				n := &c.Nodes[i]
				if n.has(first.Is4()) {
					continue
				}
				for taken[next] {
					next = next.Next()
				}
				if !usable(next, within) {
					break
				}
				taken[next] = true
				n.Addresses = append(slices.Clone(n.Addresses), next)
			}
		}
	}
}

// within is the prefix of the network that an address is in.
func (n Network) within(a netip.Addr) (netip.Prefix, bool) {
	i := slices.IndexFunc(n.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return n.Prefixes[i], true
}

// usable reports whether a node can have an address in a prefix: not the last
// one of IPv4, to which a network's broadcasts go.
func usable(a netip.Addr, p netip.Prefix) bool {
	return p.Contains(a) && (a.Is6() || p.Bits() >= 31 || p.Contains(a.Next()))
}

// has reports whether the node has an address of a family.
func (n Node) has(ipv4 bool) bool {
	return slices.ContainsFunc(n.Addresses, func(a netip.Addr) bool { return a.Is4() == ipv4 })
}

// Crowded is the number of the first node that the networks which say where
// addresses begin have none left for, and that beginning; -1 when there is none.
func (c Cluster) Crowded() (int, netip.Addr) {
	for _, network := range c.Networks {
		for _, first := range network.First {
			for i, n := range c.Nodes {
				if _, found := network.within(first); found && !n.has(first.Is4()) {
					return i, first
				}
			}
		}
	}
	return -1, netip.Addr{}
}
