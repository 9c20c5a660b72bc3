package cluster

import (
	"fmt"
	"net/netip"
	"slices"

	"weft/profiles"
)

// NodeFiles works out the node file of each node of a cluster whose profile is
// p, in the order of the cluster file: its name, addresses and links, its place
// in Kubernetes (without the token, which is no part of the file), and, for a
// network whose store is static, the subnets and the peers.
//
// Nodes that the file gives no subnet get the next free ones of the network,
// in order; the first stays free as in flannel. A cluster with Kubernetes has
// no subnets here: Kubernetes gives them out. So does etcd, but to nodes that
// the file gives theirs.
func (c Cluster) NodeFiles(p profiles.Profile) ([]profiles.Node, error) {
	network := p.WithDefaults().Network
	static := p.NetdOn() && network.Store.Type == profiles.StoreStatic
	etcd := p.NetdOn() && network.Store.Type == profiles.StoreEtcd
	nodes := make([]profiles.Node, len(c.Nodes))
	places := c.places(p)
	var peers []profiles.Peer
	free := newDealer(c, len(network.Pods))
	for i, n := range c.Nodes {
		nodes[i] = profiles.Node{
			Weft: profiles.NodeVersion, Hostname: n.Name, Addresses: n.Addresses,
			ExternalAddresses: n.ExternalAddresses, Links: n.Links,
			Kubernetes: places[i],
		}
		if etcd {
			nodes[i].Subnets = n.Subnets
		}
		if !static {
			continue
		}
		subnets := n.Subnets
		if len(subnets) == 0 {
			var err error
			if subnets, err = free.deal(network); err != nil {
				return nil, fmt.Errorf("cluster %s: node %s: %w", c.Name, n.Name, err)
			}
		}
		nodes[i].Subnets = subnets
		reached := n.Addresses
		if network.ExternalIP && len(n.ExternalAddresses) > 0 {
			reached = n.ExternalAddresses
		}
		peers = append(peers, profiles.Peer{Name: n.Name, Addresses: reached, Subnets: subnets, PublicKey: n.PublicKey})
	}
	for i := range nodes {
		nodes[i].Peers = peers
	}
	return nodes, nil
}

// A dealer gives out subnets in order, less those that the file gives.
type dealer struct {
	given []netip.Prefix
	// next is the number of the next subnet, by pod range.
	next []int
}

// newDealer notes the subnets the file gives.
func newDealer(c Cluster, ranges int) *dealer {
	d := &dealer{next: make([]int, ranges)}
	for _, n := range c.Nodes {
		d.given = append(d.given, n.Subnets...)
	}
	return d
}

// deal takes the next free subnet of each family.
func (d *dealer) deal(n profiles.Network) ([]netip.Prefix, error) {
	var subnets []netip.Prefix
	for i, pods := range n.Pods {
		bits := n.SubnetLength.IPv4
		if pods.Addr().Is6() {
			bits = n.SubnetLength.IPv6
		}
		for {
			d.next[i]++
			s, err := nth(pods, bits, d.next[i])
			if err != nil {
				return nil, fmt.Errorf("pod network: %w", err)
			}
			if !slices.ContainsFunc(d.given, s.Overlaps) {
				subnets = append(subnets, s)
				break
			}
		}
	}
	return subnets, nil
}

// LockFor is the lock of a cluster whose profile is p.
func (c Cluster) LockFor(p profiles.Profile) Lock {
	n := p.EffectiveNetwork()
	return Lock{Weft: LockVersion, ID: c.ID, Pods: n.Pods, Services: n.Services}
}

// YAML renders the lock; [ReadLock] reads it back equal.
func (l Lock) YAML() ([]byte, error) {
	return profiles.Render("cluster lock", l)
}
