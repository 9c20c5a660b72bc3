package cluster

import (
	"strings"

	"weft/profiles"
	"weft/profiles/kube"
)

// places works out where each node stands in the Kubernetes of a cluster whose
// profile is p; zero for nodes without one. Tokens are not in the cluster
// file: whoever has them puts them in.
func (c Cluster) places(p profiles.Profile) []profiles.NodeKubernetes {
	all := make([]profiles.NodeKubernetes, len(c.Nodes))
	if !p.Kubernetes.On() {
		return all
	}
	first, servers := c.bootstrap()
	url := ""
	if host := c.host(first); host != "" {
		url = kube.JoinURL(p.Kubernetes.Distribution, host)
	}
	for i, n := range c.Nodes {
		k := profiles.NodeKubernetes{Role: n.Role, Labels: n.Labels, Taints: n.Taints, Config: n.Config}
		if k.Role == "" {
			k.Role = Agent
		}
		switch {
		case k.Role == Plain:
			k = profiles.NodeKubernetes{Role: Plain}
		case i == first:
			k.More = servers > 1
		default:
			k.Join = url
		}
		all[i] = k
	}
	return all
}

// bootstrap finds the server that begins the cluster, -1 when none does, and
// counts the servers.
func (c Cluster) bootstrap() (first, servers int) {
	first = -1
	only := -1
	for i, n := range c.Nodes {
		if n.Role != Server {
			continue
		}
		servers++
		only = i
		if n.Bootstrap && first < 0 {
			first = i
		}
	}
	if servers == 1 {
		first = only
	}
	return first, servers
}

// host is the name or address at which nodes join; empty when the file tells
// none.
func (c Cluster) host(first int) string {
	switch {
	case c.Address != "":
		return strings.Trim(c.Address, "[]")
	case first >= 0 && len(c.Nodes[first].Addresses) > 0:
		return c.Nodes[first].Addresses[0].String()
	}
	return ""
}
