package rules

import (
	"fmt"
	"net/netip"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
)

// underlayRules are the rules about the networks that carry the pod network.
func underlayRules() []Rule {
	return []Rule{
		{
			ID: "D5", Title: "with host-gw all nodes share a link", Severity: "error; warning for a network that routes between its nodes",
			Why:    "It sends pod packets to the other node as the next hop, which only a neighbour on the link can be.",
			Source: "K3s documentation; flannel pkg/backend/hostgw",
			Bad:    Example{Profile: "kubernetes:\n  server: {flannel-backend: host-gw}\n", Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [10.0.1.4]}\n  - {name: node-2, role: agent, addresses: [10.0.2.4]}\n"},
			Good:   Example{Profile: "kubernetes:\n  server: {flannel-backend: host-gw}\n", Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [10.0.1.4]}\n  - {name: node-2, role: agent, addresses: [10.0.1.5]}\n"},
			whole:  oneLink,
		},
		{
			ID: "D7", Level: document.Warning, Title: "servers with embedded etcd reach each other at their own addresses",
			Why:    "Etcd talks between the servers' internal addresses, whatever flannel does; across clouds they do not reach each other.",
			Source: "K3s documentation, Distributed hybrid or multicloud cluster",
			Bad:    Example{Profile: "kubernetes:\n  server: {flannel-backend: wireguard-native, flannel-external-ip: true}\n", Cluster: multicloud("10.2.0.4")},
			Good:   Example{Profile: "kubernetes:\n  server: {flannel-backend: wireguard-native, flannel-external-ip: true}\n", Cluster: multicloud("10.1.0.5")},
			whole:  etcdAcrossClouds,
		},
		{
			ID: "D11", Level: document.Warning, Title: "over a network of small packets the tunnel's MTU is set",
			Why:    "The tunnel takes the device's 1500, and packets of full size vanish on the way.",
			Source: "k3s#5101, kube-hetzner#2027 (vSwitch of 1400)",
			Bad:    Example{Profile: "kubernetes:\n  server: {flannel-backend: wireguard-native}\n", Cluster: "networks:\n  - {name: vswitch, prefixes: [192.168.1.0/24], mtu: 1400}\n"},
			Good:   Example{Profile: "kubernetes:\n  server: {flannel-backend: wireguard-native}\nlinks:\n  - match: {name: eth1}\n    mtu: 1400\n", Cluster: "networks:\n  - {name: vswitch, prefixes: [192.168.1.0/24], mtu: 1400}\n"},
			whole:  smallPackets,
		},
	}
}

// multicloud is the example of three servers with external addresses, the
// third with an address of its own.
func multicloud(third string) string {
	text := "networks:\n  - {name: cloud-a, prefixes: [10.1.0.0/16]}\n  - {name: cloud-b, prefixes: [10.2.0.0/16]}\nnodes:\n"
	for i, a := range []string{"10.1.0.2", "10.1.0.3", third} {
		text += fmt.Sprintf("  - name: node-%d\n    role: server\n    bootstrap: %v\n    addresses: [%s]\n    externalAddresses: [203.0.113.1%d]\n", i+1, i == 0, a, i+1)
	}
	return text
}

// hostGW tells whether pod packets go from node to node without a tunnel.
func hostGW(n *Node) bool {
	if backend, on := n.flannel(); on {
		return backend == "host-gw"
	}
	if n.rke2() && n.plugin() == "canal" {
		return canalBackend(n) == "host-gw"
	}
	return n.Profile.NetdOn() && n.Network.Backend.Type == profiles.BackendHostGW
}

// subnetOf is the network of an address: one of the cluster file's, or what
// its link says, or else the /24 or /64 around it, which is the rule.
func subnetOf(n *Node, a netip.Addr) (netip.Prefix, *cluster.Network) {
	if c := n.Subject.Cluster; c != nil {
		for i, net := range c.Networks {
			for _, p := range net.Prefixes {
				if p.Contains(a) {
					return p, &c.Networks[i]
				}
			}
		}
	}
	for _, l := range n.links() {
		for _, p := range l.Addresses {
			if p.Addr() == a {
				return p.Masked(), nil
			}
		}
	}
	bits := 24
	if a.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(a, bits).Masked(), nil
}

// links are the uplinks of the node.
func (n *Node) links() []profiles.Link {
	if n.Entry != nil && len(n.Entry.Links) > 0 {
		return n.Entry.Links
	}
	return n.Profile.Links
}

func oneLink(s *Subject) document.Problems {
	var found document.Problems
	first := map[bool]*Node{}
	where := map[bool]netip.Prefix{}
	for _, n := range s.Nodes {
		if !hostGW(n) {
			continue
		}
		if external := n.Config.Bool("flannel-external-ip"); external {
			found = append(found, n.Config["flannel-external-ip"].Problem("host-gw cannot use external addresses").
				WithNote("they are behind a router").WithFix("use flannel-backend: wireguard-native"))
		}
		for i, a := range entryAddresses(n) {
			path := document.Index(n.Path+".addresses", i)
			p, net := subnetOf(n, a)
			if net != nil && net.Routed {
				found = append(found, warning(s.Doc.Problem(path, fmt.Sprintf("network %s routes between its nodes", net.Name)).
					WithNote("host-gw needs a link that nodes share").
					WithFix("use backend vxlan or wireguard-native, or teach the network the pod ranges")))
				continue
			}
			if first[a.Is4()] == nil {
				first[a.Is4()], where[a.Is4()] = n, p
				continue
			}
			if p != where[a.Is4()] {
				found = append(found, s.Doc.Problem(path, "host-gw needs every node on one link").
					WithNote(fmt.Sprintf("%s is on %s", first[a.Is4()].label(), where[a.Is4()])).
					WithFix("put the nodes on one subnet, say it in networks, or use vxlan or wireguard-native"))
			}
		}
	}
	return found
}

// entryAddresses are the addresses the cluster file gives a node.
func entryAddresses(n *Node) []netip.Addr {
	if n.Entry == nil {
		return nil
	}
	return n.Entry.Addresses
}

func etcdAcrossClouds(s *Subject) document.Problems {
	servers, first := s.servers()
	if s.Cluster == nil || first == nil || len(servers) < 2 || first.Config.Has("datastore-endpoint") {
		return nil
	}
	var found document.Problems
	home := map[bool]netip.Prefix{}
	for _, a := range entryAddresses(first) {
		home[a.Is4()], _ = subnetOf(first, a)
	}
	for _, n := range servers {
		if n == first || len(n.Entry.ExternalAddresses) == 0 {
			continue
		}
		for i, a := range entryAddresses(n) {
			if p, _ := subnetOf(n, a); home[a.Is4()].IsValid() && p != home[a.Is4()] {
				found = append(found, s.Doc.Problem(document.Index(n.Path+".addresses", i), fmt.Sprintf("%s and %s keep etcd together over %s and %s", n.label(), first.label(), p, home[a.Is4()])).
					WithFix("make sure the two networks reach each other, keep the servers in one, or use an external datastore"))
			}
		}
	}
	return found
}

func smallPackets(s *Subject) document.Problems {
	if s.Cluster == nil {
		return nil
	}
	var found document.Problems
	for i, net := range s.Cluster.Networks {
		if net.MTU == 0 || net.MTU >= 1500 {
			continue
		}
		for _, n := range s.Nodes {
			if !carries(n, net) || hostGW(n) || mtuSaid(n) || !tunnels(n) {
				continue
			}
			found = append(found, s.Doc.Problem(document.Index("networks", i)+".mtu", fmt.Sprintf("network %s carries %d bytes, and the tunnel takes the MTU of the device", net.Name, net.MTU)).
				WithFix(fmt.Sprintf("set mtu: %d on the link in the profile, or network.backend.mtu", net.MTU)))
			break
		}
	}
	return found
}

// tunnels tells whether the pod network has a tunnel that weft knows of.
func tunnels(n *Node) bool {
	_, on := n.flannel()
	return on || n.Profile.NetdOn() || n.plugin() == "canal"
}

// carries tells whether a node has an address in a network.
func carries(n *Node, net cluster.Network) bool {
	for _, a := range entryAddresses(n) {
		for _, p := range net.Prefixes {
			if p.Contains(a) {
				return true
			}
		}
	}
	return false
}

// mtuSaid tells whether the MTU of the tunnel, or of the device it follows, is
// set.
func mtuSaid(n *Node) bool {
	if n.Network.Backend.MTU != 0 || n.Config.Has("flannel-conf") {
		return true
	}
	for _, l := range n.links() {
		if l.MTU != 0 {
			return true
		}
	}
	for name, values := range n.Profile.Kubernetes.Charts {
		if flannel, ok := values["flannel"].(map[string]any); ok && strings.HasPrefix(name, "rke2-") && flannel["mtu"] != nil {
			return true
		}
	}
	return false
}
