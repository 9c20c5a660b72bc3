// Package cluster works out what each node of a cluster says in its node
// file: its name, addresses, pod subnets and peers.
//
// It computes values and touches no disk; package builder/fat puts a node
// file into an image.
package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"weft/profiles"
)

// MaxNodes is how many nodes [Plan] numbers.
const MaxNodes = 250

// An Underlay is the network the nodes of a cluster share.
type Underlay struct {
	// Prefixes are its ranges, at most one of each family. Node k gets the
	// k-th address of each.
	Prefixes []netip.Prefix
	// MACs are the hardware addresses of the nodes' devices on it, one for
	// each node.
	MACs []net.HardwareAddr
	// Uplinks are the hardware addresses of the nodes' devices towards the
	// outside, one for each node, configured by DHCP; none when empty.
	Uplinks []net.HardwareAddr
}

// Plan numbers the nodes of a cluster whose network is n: node k is called
// node-k, has the k-th address of the underlay, and the k-th pod subnet after
// the first, which stays free as in flannel. All nodes carry the same peer
// list. Where the store is Kubernetes, which gives out the subnets and knows
// the nodes, they carry neither.
func Plan(n profiles.Network, u Underlay) ([]profiles.Node, error) {
	count := len(u.MACs)
	if count < 1 || count > MaxNodes {
		return nil, fmt.Errorf("a cluster has 1 to %d nodes, not %d", MaxNodes, count)
	}
	if len(u.Uplinks) != 0 && len(u.Uplinks) != count {
		return nil, fmt.Errorf("%d nodes with %d uplinks", count, len(u.Uplinks))
	}
	peers := make([]profiles.Peer, count)
	for i := range peers {
		peer, err := member(n, u, i+1)
		if err != nil {
			return nil, err
		}
		peers[i] = peer
	}
	nodes := make([]profiles.Node, count)
	fromKubernetes := n.Store.Type == profiles.StoreKubernetes
	for i, self := range peers {
		nodes[i] = profiles.Node{
			Weft:      profiles.NodeVersion,
			Hostname:  self.Name,
			Addresses: self.Addresses,
			Subnets:   self.Subnets,
			Peers:     peers,
			Links:     links(u, i, self.Addresses),
		}
		if fromKubernetes {
			nodes[i].Subnets, nodes[i].Peers = nil, nil
		}
	}
	return nodes, nil
}

// member is the k-th node as its peers see it.
func member(n profiles.Network, u Underlay, k int) (profiles.Peer, error) {
	peer := profiles.Peer{Name: fmt.Sprintf("node-%d", k)}
	for _, p := range u.Prefixes {
		sub, err := nth(p, p.Addr().BitLen(), k)
		if err != nil {
			return peer, fmt.Errorf("underlay: %w", err)
		}
		peer.Addresses = append(peer.Addresses, sub.Addr())
	}
	for _, p := range n.Pods {
		bits := n.SubnetLength.IPv4
		if p.Addr().Is6() {
			bits = n.SubnetLength.IPv6
		}
		sub, err := nth(p, bits, k)
		if err != nil {
			return peer, fmt.Errorf("pod network: %w", err)
		}
		peer.Subnets = append(peer.Subnets, sub)
	}
	return peer, nil
}

// links are the devices of node i: its uplink, and the one on the underlay.
func links(u Underlay, i int, addresses []netip.Addr) []profiles.Link {
	no := false
	cluster := profiles.Link{
		Match:                profiles.Match{MAC: u.MACs[i].String()},
		DHCP4:                &no,
		RouterAdvertisements: &no,
	}
	for k, a := range addresses {
		cluster.Addresses = append(cluster.Addresses, netip.PrefixFrom(a, u.Prefixes[k].Bits()))
	}
	if len(u.Uplinks) == 0 {
		return []profiles.Link{cluster}
	}
	uplink := profiles.Link{Match: profiles.Match{MAC: u.Uplinks[i].String()}}
	return []profiles.Link{uplink, cluster}
}

// errNoRoom says that a range has no k-th part.
var errNoRoom = errors.New("range is too small")

// nth is the k-th subnet of p with the given length, counted from zero.
func nth(p netip.Prefix, bits, k int) (netip.Prefix, error) {
	spare := bits - p.Bits()
	if bits > p.Addr().BitLen() || spare <= 0 || spare < 31 && k >= 1<<spare {
		return netip.Prefix{}, fmt.Errorf("%s has no part number %d of length /%d: %w", p, k, bits, errNoRoom)
	}
	raw := p.Masked().Addr().AsSlice()
	// Add k at the bit position of the subnet's last bit, byte by byte from
	// there upwards.
	shift := p.Addr().BitLen() - bits
	carry := uint(k) << (shift % 8)
	for at := len(raw) - 1 - shift/8; at >= 0 && carry > 0; at-- {
		carry += uint(raw[at])
		raw[at] = byte(carry)
		carry >>= 8
	}
	addr, ok := netip.AddrFromSlice(raw)
	if !ok {
		return netip.Prefix{}, fmt.Errorf("%s: %w", p, errNoRoom)
	}
	return netip.PrefixFrom(addr, bits), nil
}
