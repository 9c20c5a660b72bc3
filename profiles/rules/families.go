package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"weft/document"
	"weft/profiles"
	"weft/profiles/kube"
)

// dual is the network of examples with both families.
const dual = "network:\n  pods: [10.42.0.0/16, \"fd42:42::/56\"]\n  services: [10.43.0.0/16, \"fd42:43::/112\"]\n  masquerade: {ipv6: true}\n"

// only6 is the network of examples with IPv6 alone.
const only6 = "network:\n  pods: [\"fd42:42::/56\"]\n  services: [\"fd42:43::/112\"]\n  masquerade: {ipv6: true}\n"

// familyRules are the rules about IPv4 and IPv6 on nodes.
func familyRules() []Rule {
	return []Rule{
		{
			ID: "B3", Title: "services have the families of the pods, in the same order",
			Why:    "K3s exits: \"must share the same IP version\". The first family is the cluster's primary one.",
			Source: "k3s pkg/agent/run.go",
			Bad:    Example{Profile: "network:\n  pods: [10.42.0.0/16, \"fd42:42::/56\"]\n  services: [10.43.0.0/16]\n  masquerade: {ipv6: true}\n"},
			Good:   Example{Profile: dual},
		},
		{
			ID: "B4", Title: "a node has an address of each family of the cluster",
			Why:    "K3s exits on the node: the node IPs do not cover the families of the cluster.",
			Source: "k3s pkg/agent/run.go",
			Bad:    Example{Profile: dual, Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11]}\n"},
			Good:   Example{Profile: dual, Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11, \"2001:db8::11\"]}\n"},
			node:   nodeFamilies,
		},
		{
			ID: "B5", Level: document.Warning, Title: "nodes of a dual-stack cluster have their addresses written down",
			Why:    "Without node-ip K3s takes IPv6 only when the node has a default route of it at that moment; else the node joins with one family and stays so.",
			Source: "k3s#11735, k3s#9946, k3s#5781",
			Bad:    Example{Profile: dual, Cluster: "nodes:\n  - {name: node-1, role: server}\n"},
			Good:   Example{Profile: dual, Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11, \"2001:db8::11\"]}\n"},
			node:   dualWithoutAddresses,
		},
		{
			ID: "B6", Title: "where IPv6 comes first, each node's IPv6 address comes first", Severity: "error before the releases of March 2024 (1.26.15, 1.27.12, 1.28.8, 1.29.3), warning from then on",
			Why:    "The kubelet takes IPv4 for the node's primary address; K3s puts two addresses in the cluster's order only in releases from 2024-03 on.",
			Source: "K3s documentation, known issue of dual stack; k3s pkg/agent/config (\"Adjust first node-ip\")",
			Bad:    Example{Profile: "kubernetes: {version: v1.28.5+k3s1}\nnetwork:\n  pods: [\"fd42:42::/56\", 10.42.0.0/16]\n  services: [\"fd42:43::/112\", 10.43.0.0/16]\n  masquerade: {ipv6: true}\n", Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11, \"2001:db8::11\"]}\n"},
			Good:   Example{Profile: "kubernetes: {version: v1.28.5+k3s1}\nnetwork:\n  pods: [\"fd42:42::/56\", 10.42.0.0/16]\n  services: [\"fd42:43::/112\", 10.43.0.0/16]\n  masquerade: {ipv6: true}\n", Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [\"2001:db8::11\", 192.168.1.11]}\n"},
			node:   primaryFirst,
		},
		{
			ID: "B15", Until: "1.24", Title: "the version has the families of the cluster",
			Why:    "Both families came with 1.21 and IPv6 alone with 1.22.9; before 1.23.7 K3s's network policies did not know IPv6 alone.",
			Source: "K3s documentation, Dual-stack and Single-stack IPv6 (version gates); k3s-io/docs#16",
			Bad:    Example{Profile: "kubernetes: {version: v1.23.6+k3s1}\n" + only6},
			Good:   Example{Profile: "kubernetes: {version: v1.23.6+k3s1, networkPolicy: false}\n" + only6},
			node:   familiesOfVersion,
		},
	}
}

// underlayChosen tells whether the profile says by a rule which address a node
// takes, so that init fills it in at boot.
func underlayChosen(p profiles.Profile) bool {
	u := p.Network.Underlay
	some := func(c profiles.UnderlayChoice) bool {
		return len(c.Interfaces)+len(c.InterfacesRegex)+len(c.CanReach)+len(c.Subnet) > 0
	}
	return some(u.UnderlayChoice) || u.IPv4 != nil && some(*u.IPv4) || u.IPv6 != nil && some(*u.IPv6)
}

func nodeFamilies(n *Node) document.Problems {
	list := n.addresses("node-ip")
	if !n.on() || len(list) == 0 {
		return nil
	}
	has := func(is4 bool) bool {
		return slices.ContainsFunc(list, func(a netip.Addr) bool { return a.Is4() == is4 })
	}
	var found document.Problems
	lacks := func(name string) {
		found = append(found, n.at("node-ip", fmt.Sprintf("%s has no %s address, but pods have %s", n.label(), name, name)).
			WithFix(fmt.Sprintf("add the node's %s address", name)))
	}
	if n.Network.HasIPv4() && !has(true) {
		lacks("IPv4")
	}
	if n.Network.HasIPv6() && !has(false) {
		lacks("IPv6")
	}
	return found
}

func dualWithoutAddresses(n *Node) document.Problems {
	if !n.on() || !n.dual() || n.Entry == nil || n.Config.Has("node-ip") || underlayChosen(n.Profile) {
		return nil
	}
	return one(n.inCluster("addresses", fmt.Sprintf("%s would find its addresses by its default routes", n.label())).
		WithNote("of both families, if both are there at start").
		WithFix("give addresses of both families, or choose them with network.underlay"))
}

// reordered are the first releases of each line, those of March 2024, whose
// K3s puts the addresses of a node in order.
var reordered = []string{"1.26.15", "1.27.12", "1.28.8", "1.29.3"}

func primaryFirst(n *Node) document.Problems {
	if !n.on() || !n.dual() || !n.first6() || n.Entry == nil {
		return nil
	}
	list := n.addresses("node-ip")
	var p document.Problem
	switch {
	case len(list) == 0 && !underlayChosen(n.Profile):
		p = n.inCluster("addresses", fmt.Sprintf("%s would call its IPv4 address its first", n.label())).
			WithNote("IPv6 is the first family of the cluster").
			WithFix("give its addresses, IPv6 first")
	case len(list) > 1 && list[0].Is4():
		p = n.at("node-ip", fmt.Sprintf("%s has its IPv4 address first", n.label())).
			WithNote("IPv6 is the first family of the cluster").
			WithFix(fmt.Sprintf("write [\"%s\", %s]", list[1], list[0]))
	default:
		return nil
	}
	if !n.Release.BeforeLine(reordered...) {
		p = warning(p)
	}
	return one(p)
}

func familiesOfVersion(n *Node) document.Problems {
	if !n.server() || !n.k3s() {
		return nil
	}
	say := func(message, fix string) document.Problems {
		return one(n.inProfile(message, "network.pods").WithFix(fix))
	}
	switch {
	case n.dual() && n.Release.Before("1.21"):
		return say(fmt.Sprintf("K3s %s has one family of pods", n.Release), "use 1.23.7 or newer")
	case n.only6() && n.Release.Before("1.22.9"):
		return say(fmt.Sprintf("K3s %s does not run on IPv6 alone", n.Release), "use 1.23.7 or newer")
	case n.only6() && n.Release.Before("1.23.7") && !n.Config.Bool("disable-network-policy"):
		return say(fmt.Sprintf("the network policies of K3s %s do not know IPv6 alone", n.Release), "set kubernetes.networkPolicy: false, or use 1.23.7 or newer")
	}
	return nil
}

// subnetRules are the rules about the part of the pods that each node has.
func subnetRules() []Rule {
	return []Rule{
		{
			ID: "C1", Title: "a node's pod range is smaller than the cluster's",
			Why:    "The controller manager exits: \"mask size of cluster CIDR must be less than or equal\".",
			Source: "kubernetes pkg/controller/nodeipam; flannel pkg/subnet/config.go",
			Bad:    Example{Profile: "network:\n  pods: [10.42.0.0/24]\n  services: [10.43.0.0/16]\nkubernetes:\n  server:\n    kube-controller-manager-arg: [node-cidr-mask-size=22]\n"},
			Good:   Example{Profile: "network:\n  pods: [10.42.0.0/16]\n  services: [10.43.0.0/16]\nkubernetes:\n  server:\n    kube-controller-manager-arg: [node-cidr-mask-size=22]\n"},
			node:   maskTooShort,
		},
		{
			ID: "C2", Title: "the IPv6 range of a node is at most 16 bits longer than the cluster's",
			Why:    "The controller manager exits: \"New CIDR set failed; the node CIDR size is too big\".",
			Source: "kubernetes pkg/controller/nodeipam/ipam/cidrset/cidr_set.go; measured on K3s 1.33.1",
			Bad:    Example{Profile: "network:\n  pods: [\"fd00::/40\"]\n  services: [\"fd42:43::/112\"]\n  masquerade: {ipv6: true}\n"},
			Good:   Example{Profile: "network:\n  pods: [\"fd00::/48\"]\n  services: [\"fd42:43::/112\"]\n  masquerade: {ipv6: true}\n"},
			node:   rangeTooWide,
		},
		{
			ID: "C3", Level: document.Warning, Title: "there is a pod range for every node",
			Why:    "A node without one has no pods: it waits for ever. A /16 cut in /24 is enough for 256 nodes.",
			Source: "K3s documentation: more than 255 nodes need other masks",
			Bad:    Example{Profile: "network:\n  pods: [10.42.0.0/22]\n  services: [10.43.0.0/16]\n", Cluster: manyNodes(5)},
			Good:   Example{Profile: "network:\n  pods: [10.42.0.0/22]\n  services: [10.43.0.0/16]\n", Cluster: manyNodes(4)},
			whole:  roomForNodes,
		},
		{
			ID: "C4", Title: "a node's range has an address for each of its pods",
			Why:    "The kubelet takes pods that then get no address.",
			Source: "kubelet max-pods, 110 by default; CNI host-local",
			Bad:    Example{Profile: "network:\n  pods: [10.42.0.0/16]\n  services: [10.43.0.0/16]\n  subnetLength: {ipv4: 26}\n"},
			Good:   Example{Profile: "network:\n  pods: [10.42.0.0/16]\n  services: [10.43.0.0/16]\n  subnetLength: {ipv4: 25}\n"},
			node:   roomForPods,
		},
		{
			ID: "C5", Title: "the length of node ranges is said for each family", Severity: "error with both families; warning when a range of another size leaves it at the default",
			Why:    "With both families, the controller manager takes no node-cidr-mask-size; and a range other than /16 or /56 rarely fits nodes of /24 and /64.",
			Source: "kubernetes cmd/kube-controller-manager/app/core.go; K3s documentation, Dual-stack",
			Bad:    Example{Profile: dual + "kubernetes:\n  server:\n    kube-controller-manager-arg: [node-cidr-mask-size=25]\n"},
			Good:   Example{Profile: dual + "kubernetes:\n  server:\n    kube-controller-manager-arg: [node-cidr-mask-size-ipv4=25]\n"},
			node:   masksByFamily,
		},
	}
}

// manyNodes is the example of a cluster with some nodes.
func manyNodes(count int) string {
	text := "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11]}\n"
	for i := 2; i <= count; i++ {
		text += fmt.Sprintf("  - {name: node-%d, role: agent, addresses: [192.168.1.1%d]}\n", i, i)
	}
	return text
}

// A mask is the length of the ranges of nodes in one pod range.
type mask struct {
	pods   netip.Prefix
	length int
	// path is where the pod range stands, and at where the length does;
	// at.Doc is nil when it is the default.
	path string
	at   kube.Setting
	said bool
}

// masks are the lengths of node ranges, one for each pod range.
func (n *Node) masks() []mask {
	var all []mask
	for i, p := range n.Network.Pods {
		if !p.IsValid() {
			continue
		}
		m := mask{pods: p, path: document.Index("network.pods", i), length: 24}
		names := []string{"node-cidr-mask-size-ipv4"}
		if p.Addr().Is6() {
			m.length, names[0] = 64, "node-cidr-mask-size-ipv6"
		}
		if !n.dual() {
			names = append(names, "node-cidr-mask-size")
		}
		for _, name := range names {
			if v, at, found := n.Config.Arg("kube-controller-manager-arg", name); found {
				var length int
				if _, err := fmt.Sscanf(v, "%d", &length); err == nil {
					m.length, m.at, m.said = length, at, true
				}
			}
		}
		all = append(all, m)
	}
	return all
}

// problem points at the length, or at the pod range when it is the default.
func (n *Node) maskProblem(m mask, message string) document.Problem {
	if !m.said {
		return n.inProfile(message, m.path)
	}
	if m.at.Derived && m.pods.Addr().Is6() && n.Doc.Has("network.subnetLength.ipv6") {
		return n.Doc.Problem("network.subnetLength.ipv6", message)
	}
	return m.at.Problem(message)
}

func maskTooShort(n *Node) document.Problems {
	if !n.server() {
		return nil
	}
	var found document.Problems
	for _, m := range n.masks() {
		if m.length < m.pods.Bits() {
			found = append(found, n.maskProblem(m, fmt.Sprintf("a /%d for each node is larger than %s", m.length, m.pods)).
				WithFix(fmt.Sprintf("use a pod range of /%d or shorter, or node ranges longer than /%d", m.length, m.pods.Bits())))
		}
	}
	return found
}

func rangeTooWide(n *Node) document.Problems {
	if !n.server() {
		return nil
	}
	var found document.Problems
	for _, m := range n.masks() {
		if m.pods.Addr().Is6() && m.length-m.pods.Bits() > 16 {
			found = append(found, n.inProfile(fmt.Sprintf("%s is too large to be cut into /%d for nodes", m.pods, m.length), m.path).
				WithNote("16 bits are the most").
				WithFix(fmt.Sprintf("use a /%d or longer", m.length-16)))
		}
	}
	return found
}

func roomForNodes(s *Subject) document.Problems {
	if s.Cluster == nil || len(s.Nodes) == 0 {
		return nil
	}
	n := s.Nodes[0]
	count := len(s.Nodes)
	if !n.on() {
		return nil
	}
	for _, m := range n.masks() {
		spare := m.length - m.pods.Bits()
		if spare >= 0 && spare < 20 && 1<<spare < count {
			return one(n.maskProblem(m, fmt.Sprintf("%s has room for %d nodes of /%d, and there are %d", m.pods, 1<<spare, m.length, count)).
				WithFix("use a larger pod range, or longer ranges for nodes in network.subnetLength"))
		}
	}
	return nil
}

// defaultPods is how many pods a kubelet takes.
const defaultPods = 110

func roomForPods(n *Node) document.Problems {
	if !n.on() {
		return nil
	}
	pods := defaultPods
	if v, _, found := n.Config.Arg("kubelet-arg", "max-pods"); found {
		if _, err := fmt.Sscanf(v, "%d", &pods); err != nil {
			return nil
		}
	}
	// Agents do not have the controller manager's arguments; the length is
	// that of the servers.
	view := *n
	view.Config = n.Servers
	var found document.Problems
	for _, m := range view.masks() {
		spare := m.pods.Addr().BitLen() - m.length
		// The first address and the last are nobody's.
		if room := 1<<min(max(spare, 0), 30) - 2; room < pods && m.length >= m.pods.Bits() {
			found = append(found, view.maskProblem(m, fmt.Sprintf("a /%d has %d addresses for pods, and a node takes %d", m.length, max(room, 0), pods)).
				WithFix("use shorter ranges for nodes, or set kubelet-arg max-pods"))
		}
	}
	return found
}

func masksByFamily(n *Node) document.Problems {
	if !n.server() {
		return nil
	}
	if _, at, found := n.Config.Arg("kube-controller-manager-arg", "node-cidr-mask-size"); found && n.dual() {
		return one(at.Problem("node-cidr-mask-size is for clusters of one family").
			WithFix("use network.subnetLength, or node-cidr-mask-size-ipv4 and -ipv6"))
	}
	if !n.dual() {
		return nil
	}
	var found document.Problems
	for _, m := range n.masks() {
		usual := 16
		if m.pods.Addr().Is6() {
			usual = 56
		}
		if !m.said && m.pods.Bits() != usual {
			found = append(found, warning(n.inProfile(fmt.Sprintf("%s is cut into /%d for nodes by default", m.pods, m.length), m.path).
				WithFix("say the length in network.subnetLength")))
		}
	}
	return found
}
