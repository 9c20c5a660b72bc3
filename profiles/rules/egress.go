package rules

import (
	"fmt"
	"slices"
	"strings"

	"weft/document"
)

// egressRules are the rules about the ways between the control plane and the
// nodes.
func egressRules() []Rule {
	return []Rule{
		{
			ID: "E1", Title: "the egress selector has a mode that is there and fits", Severity: "error for an unknown mode; warning for a server without agent",
			Why:    "K3s exits at an unknown mode; without an agent on the server, modes agent and disabled leave webhooks and aggregated APIs out of reach.",
			Source: "k3s pkg/daemons/control/server.go; measured on K3s 1.33.1",
			Bad:    Example{Profile: "kubernetes:\n  server: {egress-selector-mode: pods}\n"},
			Good:   Example{Profile: "kubernetes:\n  server: {egress-selector-mode: pod}\n"},
			node:   egressMode,
		},
		{
			ID: "E2", Title: "egress mode pod is used with a plugin that keeps to the nodes' ranges",
			Why:    "It looks for the node of a pod by the node's range; Calico and Cilium give out addresses of their own.",
			Source: "K3s documentation, Control-Plane Egress Selector",
			Bad:    Example{Profile: "kubernetes:\n  customCNI: calico\n  server: {egress-selector-mode: pod}\n"},
			Good:   Example{Profile: "kubernetes:\n  customCNI: calico\n  server: {egress-selector-mode: cluster}\n"},
			node:   egressPod,
		},
		{
			ID: "E3", Title: "without egress tunnels the servers reach every node and service themselves",
			Why:    "The API server then reaches no kubelet and no webhook: kubectl exec and logs fail.",
			Source: "K3s documentation, Control-Plane Egress Selector (disabled)",
			Bad:    Example{Profile: "kubernetes:\n  server: {egress-selector-mode: disabled, disable-agent: true}\n"},
			Good:   Example{Profile: "kubernetes:\n  server: {egress-selector-mode: disabled}\n"},
			node:   egressDisabled,
		},
		{
			ID: "E4", Level: document.Warning, Title: "without the cloud controller, kubelets of a dual-stack cluster are told their addresses",
			Why:    "K3s hands both addresses to the kubelet only when its own cloud controller runs.",
			Source: "k3s pkg/daemons/agent/agent_linux.go",
			Bad:    Example{Profile: dual + "kubernetes:\n  server: {disable-cloud-controller: true}\n"},
			Good:   Example{Profile: dual + "kubernetes:\n  config: {kubelet-arg: [\"node-ip=192.168.1.11,2001:db8::11\"]}\n  server: {disable-cloud-controller: true}\n"},
			node:   noCloudController,
		},
		{
			ID: "E5", Level: document.Warning, Until: "1.27", Title: "kubelets before 1.27 are told which family comes first when the cluster is on another device",
			Why:    "They forget the IPv6 address of a node whose cluster traffic is not on the device of the default route.",
			Source: "kubernetes#111695; K3s documentation, known issue of dual stack",
			Bad:    Example{Profile: dual + "kubernetes:\n  version: v1.26.4+k3s1\n  config: {flannel-iface: eth1}\n"},
			Good:   Example{Profile: dual + "kubernetes:\n  version: v1.26.4+k3s1\n  config: {flannel-iface: eth1, kubelet-arg: [node-ip=0.0.0.0]}\n"},
			node:   secondDevice,
		},
	}
}

// egressModes are the values of egress-selector-mode.
var egressModes = []string{"agent", "cluster", "pod", "disabled"}

func egressMode(n *Node) document.Problems {
	if !n.server() {
		return nil
	}
	mode := n.Config.Text("egress-selector-mode")
	if mode != "" && !slices.Contains(egressModes, mode) {
		return one(n.Config["egress-selector-mode"].Problem(fmt.Sprintf("there is no egress mode %q", mode)).
			WithFix(document.DidYouMean(mode, egressModes)))
	}
	if n.Config.Bool("disable-agent") && (mode == "" || mode == "agent") {
		return one(warning(n.at("egress-selector-mode", "without an agent, this server reaches no webhooks and no aggregated APIs", "kubernetes.server.disable-agent").
			WithFix("set egress-selector-mode: cluster, or pod")))
	}
	return nil
}

func egressPod(n *Node) document.Problems {
	if !n.server() || n.Config.Text("egress-selector-mode") != "pod" {
		return nil
	}
	plugin := n.plugin()
	if plugin != "calico" && plugin != "cilium" || plugin == "cilium" && ipam(n) == "kubernetes" {
		return nil
	}
	return one(n.Config["egress-selector-mode"].Problem(fmt.Sprintf("egress mode pod does not work with %s, which gives out addresses of its own", plugin)).
		WithFix("use cluster or agent"))
}

// ipam is how Cilium gives out addresses.
func ipam(n *Node) string {
	for _, chart := range []string{"rke2-cilium", "cilium"} {
		if v, ok := n.Profile.Kubernetes.Charts[chart]["ipam"].(map[string]any); ok {
			if mode, ok := v["mode"].(string); ok {
				return mode
			}
		}
	}
	if n.rke2() {
		// rke2-cilium sets it (rke2-charts, packages/rke2-cilium).
		return "kubernetes"
	}
	return "cluster-pool"
}

func egressDisabled(n *Node) document.Problems {
	if !n.server() || n.Config.Text("egress-selector-mode") != "disabled" {
		return nil
	}
	s := n.Config["egress-selector-mode"]
	if n.Config.Bool("disable-agent") {
		return one(s.Problem("without egress tunnels, the server needs an agent of its own").
			WithNote("for kubelet, kube-proxy and the pod network").
			WithFix("use egress-selector-mode: cluster, or remove disable-agent"))
	}
	if n.Config.Bool("disable-kube-proxy") && n.plugin() == "" {
		return one(s.Problem("without egress tunnels, the server needs kube-proxy").
			WithFix("use egress-selector-mode: cluster, or leave kube-proxy on"))
	}
	c := n.Subject.Cluster
	if c == nil {
		return nil
	}
	for _, other := range n.Subject.Nodes {
		for _, a := range entryAddresses(other) {
			if _, net := subnetOf(other, a); net != nil && net.NAT && other.agent() {
				return one(s.Problem(fmt.Sprintf("the server cannot reach %s, which is behind NAT in %s", other.label(), net.Name)).
					WithFix("use egress-selector-mode: agent"))
			}
		}
	}
	return nil
}

func noCloudController(n *Node) document.Problems {
	if !n.server() || !n.dual() || !n.Config.Bool("disable-cloud-controller") {
		return nil
	}
	if _, _, found := n.Config.Arg("kubelet-arg", "node-ip"); found {
		return nil
	}
	return one(n.Config["disable-cloud-controller"].Problem("kubelets get no second address without the cloud controller").
		WithFix("add kubelet-arg node-ip with both addresses of each node, or leave the cloud controller on"))
}

func secondDevice(n *Node) document.Problems {
	if !n.on() || !n.dual() {
		return nil
	}
	if _, _, found := n.Config.Arg("kubelet-arg", "node-ip"); found {
		return nil
	}
	s, said := n.Config["flannel-iface"]
	if !said || strings.TrimSpace(n.Config.Text("flannel-iface")) == "" {
		return nil
	}
	return one(s.Problem("kubelets before 1.27 forget the IPv6 address of a second device").
		WithFix("add kubelet-arg [node-ip=0.0.0.0] (or node-ip=:: for IPv6 first), or use Kubernetes 1.27"))
}
