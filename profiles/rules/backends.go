package rules

import (
	"fmt"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
)

// backendRules are the rules about how pods on two nodes reach each other.
func backendRules() []Rule {
	return []Rule{
		{
			ID: "D1", Title: "the backend is one the version has",
			Why:    "K3s says \"Cannot configure unknown flannel backend\" only after its server is up; wireguard is gone since 1.26 and ipsec since 1.27.",
			Source: "k3s pkg/agent/flannel/setup.go; k3s#7297; K3s documentation, Migrating from wireguard or ipsec",
			Bad:    Example{Profile: "kubernetes:\n  version: v1.28.4+k3s1\n  server: {flannel-backend: wireguard}\n"},
			Good:   Example{Profile: "kubernetes:\n  version: v1.28.4+k3s1\n  server: {flannel-backend: wireguard-native}\n"},
			node:   flannelBackend,
		},
		{
			ID: "D2", Title: "the ipsec backend has strongSwan's programs", Severity: "error when the image is known to lack them, else warning", Until: "1.27",
			Why:    "K3s brings charon and swanctl no more since its releases of December 2022.",
			Source: "K3s documentation: v1.26.0, v1.25.5, v1.24.9, v1.23.15 come without them",
			Bad:    Example{Profile: "kubernetes:\n  version: v1.26.1+k3s1\n  server: {flannel-backend: ipsec}\n"},
			Good:   Example{Profile: "kubernetes:\n  version: v1.26.1+k3s1\n  server: {flannel-backend: ipsec}\n  payload:\n    - {name: charon, path: charon}\n    - {name: swanctl, path: swanctl}\n"},
			node:   strongSwan,
		},
		{
			ID: "D3", Title: "the legacy wireguard backend has the program wg", Until: "1.26",
			Why:    "It runs wg for every peer; without it flannel does not start.",
			Source: "K3s documentation, Migrating from wireguard",
			Bad:    Example{Profile: "kubernetes:\n  version: v1.25.4+k3s1\n  server: {flannel-backend: wireguard}\n"},
			Good:   Example{Profile: "kubernetes:\n  version: v1.25.4+k3s1\n  server: {flannel-backend: wireguard}\n  payload:\n    - {name: wg, path: wg}\n"},
			node:   wireguardTools,
		},
		{
			ID: "D4", Title: "the kernel has what the backend and the rest of the profile ask of it",
			Why:    "Flannel dies: \"operation not supported\"; the node stays NotReady.",
			Source: "flannel#1502, flannel#1747, k3s#6162, k3s#8015, k3s#4234",
			Bad:    Example{Profile: "kubernetes:\n  server: {flannel-backend: vxlan}\n", Facts: Facts{Kernel: "6.12.43", Lacks: []string{"CONFIG_VXLAN"}}},
			Good:   Example{Profile: "kubernetes:\n  server: {flannel-backend: host-gw}\n", Facts: Facts{Kernel: "6.12.43", Lacks: []string{"CONFIG_VXLAN"}}},
			node:   kernelForBackend,
		},
		{
			ID: "D6", Title: "with external addresses every node has one, and the tunnel is encrypted", Severity: "error for a node without an external address; warning for a tunnel that anyone on the way can read",
			Why:    "A node without one is reached at its internal address, which others cannot reach; VXLAN and host-gw carry everything in the clear.",
			Source: "k3s pkg/agent/run.go",
			Bad:    Example{Profile: "kubernetes:\n  server: {flannel-backend: wireguard-native, flannel-external-ip: true}\n", Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11]}\n"},
			Good:   Example{Profile: "kubernetes:\n  server: {flannel-backend: wireguard-native, flannel-external-ip: true}\n", Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11], externalAddresses: [203.0.113.11]}\n"},
			node:   externalAddresses,
		},
		{
			ID: "D8", Title: "IPv6 is masqueraded where pods have IPv6 and flannel runs",
			Why:    "It has no effect; whoever writes it believes in something that is not there.",
			Source: "K3s documentation: only for dual-stack or IPv6-only clusters, with any backend but none",
			Bad:    Example{Profile: "kubernetes:\n  server: {flannel-ipv6-masq: true}\n"},
			Good:   Example{Profile: dual + "kubernetes:\n  server: {flannel-ipv6-masq: true}\n"},
			node:   masqueradeWithoutEffect,
		},
		{
			ID: "D9", Level: document.Warning, Title: "without flannel, something else is the network",
			Why:    "The nodes stay NotReady; and K3s's own policies fight with those of a plugin unless they are turned off.",
			Source: "K3s documentation, Custom CNI",
			Bad:    Example{Profile: "kubernetes:\n  server: {flannel-backend: none}\n"},
			Good:   Example{Profile: "kubernetes:\n  server: {flannel-backend: none, disable-network-policy: true}\n  manifests:\n    - {path: my-cni.yaml}\n"},
			node:   noNetwork,
		},
		{
			ID: "D10", Level: document.Warning, Title: "flannel is not set up where it does not run",
			Why:    "The settings are ignored.",
			Source: "k3s pkg/agent/flannel",
			Bad:    Example{Profile: "kubernetes:\n  customCNI: calico\n  config: {flannel-iface: eth0}\n"},
			Good:   Example{Profile: "kubernetes:\n  config: {flannel-iface: eth0}\n"},
			node:   flannelWithoutEffect,
		},
		{
			ID: "D12", Title: "only one pod network runs",
			Why:    "Two would make the same devices flannel.1 and flannel-wg, and use the same ports 8472, 51820 and 51821.",
			Source: "flannel pkg/backend; netd's devices have flannel's names",
			Bad:    Example{Profile: "network:\n  backend: {type: vxlan}\nkubernetes:\n  server: {flannel-backend: vxlan}\n"},
			Good:   Example{Profile: "network:\n  backend: {type: vxlan}\nkubernetes:\n  server: {flannel-backend: none}\n"},
			node:   twoNetworks,
		},
	}
}

// k3sBackends are the backends of K3s, with the version each is gone in.
var k3sBackends = []struct{ name, until string }{
	{"none", ""}, {"vxlan", ""}, {"host-gw", ""}, {"wireguard-native", ""}, {"ipsec", "1.27"}, {"wireguard", "1.26"},
}

func flannelBackend(n *Node) document.Problems {
	if !n.server() || !n.said("flannel-backend") {
		return nil
	}
	s := n.Config["flannel-backend"]
	have := n.Config.Text("flannel-backend")
	var names []string
	for _, b := range k3sBackends {
		gone := b.until != "" && !n.Release.Before(b.until)
		switch {
		case b.name == have && gone:
			return one(s.Problem(fmt.Sprintf("backend %s is gone since Kubernetes %s", have, b.until)).
				WithNote(fmt.Sprintf("the profile is for %s", n.Release)).
				WithFix("use wireguard-native on all servers, and restart all nodes, servers first"))
		case b.name == have && have == "wireguard-native" && n.Release.BeforeLine("1.21.11", "1.22.8", "1.23.6"):
			return one(s.Problem(fmt.Sprintf("backend wireguard-native is not in %s yet", n.Release)).
				WithFix("use Kubernetes 1.23.6 or newer"))
		case b.name == have:
			return nil
		case !gone:
			names = append(names, b.name)
		}
	}
	fix := document.DidYouMean(have, names)
	if have == "tailscale" {
		fix = "use vpn-auth, which brings tailscale"
	}
	return one(s.Problem(fmt.Sprintf("there is no flannel backend %q", have)).WithFix(fix))
}

// has tells whether a program is in the image, and whether that is known.
func (n *Node) has(program string) (there, known bool) {
	for _, p := range n.Profile.Kubernetes.Payload {
		if payloadName(p) == program {
			return true, true
		}
	}
	return slices.Contains(n.Facts.Programs, program), n.Facts.Programs != nil
}

// payloadName is what a payload is called on the node.
func payloadName(p profiles.Payload) string {
	if p.Name != "" {
		return p.Name
	}
	from := p.Path
	if from == "" {
		from, _, _ = strings.Cut(p.URL, "?")
	}
	return from[strings.LastIndexByte(from, '/')+1:]
}

func strongSwan(n *Node) document.Problems {
	backend, on := n.flannel()
	if !on || backend != "ipsec" || !n.server() || n.Release.BeforeLine("1.23.15", "1.24.9", "1.25.5", "1.26.0") {
		return nil
	}
	var found document.Problems
	for _, program := range []string{"charon", "swanctl"} {
		there, known := n.has(program)
		if there {
			continue
		}
		p := n.at("flannel-backend", fmt.Sprintf("backend ipsec needs %s, which K3s %s does not bring", program, n.Release)).
			WithFix("add strongSwan's programs to kubernetes.payload, or use wireguard-native")
		if !known {
			p = warning(p)
		}
		found = append(found, p)
	}
	return found[:min(len(found), 1)]
}

func wireguardTools(n *Node) document.Problems {
	if backend, on := n.flannel(); !on || backend != "wireguard" || !n.server() {
		return nil
	}
	if there, _ := n.has("wg"); there {
		return nil
	}
	return one(n.at("flannel-backend", "the legacy backend wireguard needs the program wg").
		WithFix("add wg to kubernetes.payload, or use wireguard-native"))
}

// backendNeeds are the kernel symbols of each backend.
var backendNeeds = map[string][]string{
	"vxlan":            {"CONFIG_VXLAN", "CONFIG_NET_UDP_TUNNEL"},
	"wireguard-native": {"CONFIG_WIREGUARD", "CONFIG_NET_UDP_TUNNEL"},
	"wireguard":        {"CONFIG_WIREGUARD"},
	"ipsec":            {"CONFIG_XFRM_USER", "CONFIG_INET_ESP"},
}

// Symbols lists the configuration symbols that rules ask a kernel for, sorted:
// those that [Facts.Lacks] may name.
func Symbols() []string {
	var all []string
	for _, symbols := range backendNeeds {
		all = append(all, symbols...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func kernelForBackend(n *Node) document.Problems {
	backend, on := n.flannel()
	paths := []string{"kubernetes.distribution"}
	if !on {
		backend = n.Network.Backend.Type
		if n.rke2() && n.plugin() == "canal" {
			backend = canalBackend(n)
			paths = []string{"kubernetes.charts.rke2-canal.flannel.backend", "kubernetes.cni", "kubernetes.distribution"}
		} else {
			paths = []string{"network.backend.type"}
		}
	}
	if backend == "wireguard" && !n.k3s() {
		backend = "wireguard-native"
	}
	for _, symbol := range backendNeeds[backend] {
		if slices.Contains(n.Facts.Lacks, symbol) {
			key := ""
			if on {
				key = "flannel-backend"
			}
			return one(n.at(key, fmt.Sprintf("backend %s needs %s, which kernel %s lacks", backend, symbol, orUnknown(n.Facts.Kernel)), paths...).
				WithFix("use another backend, such as host-gw, or a kernel package with it"))
		}
	}
	return nil
}

func orUnknown(s string) string {
	if s == "" {
		return "of this board"
	}
	return s
}

// canalBackend is the flannel backend of RKE2's Canal.
func canalBackend(n *Node) string {
	if flannel, ok := n.Profile.Kubernetes.Charts["rke2-canal"]["flannel"].(map[string]any); ok {
		if b, ok := flannel["backend"].(string); ok {
			return b
		}
	}
	return "vxlan"
}

func externalAddresses(n *Node) document.Problems {
	backend, on := n.flannel()
	if !on || !n.server() && !n.agent() {
		return nil
	}
	external := n.Config.Bool("flannel-external-ip")
	if !external && !n.Servers.Bool("flannel-external-ip") {
		return nil
	}
	var found document.Problems
	if n.Entry != nil && !n.Config.Has("node-external-ip") {
		found = append(found, n.inCluster("externalAddresses", fmt.Sprintf("%s has no external address", n.label())).
			WithNote("flannel would use its internal one").
			WithFix("give its externalAddresses, or turn flannel-external-ip off"))
	}
	if n.server() && (backend == "vxlan" || backend == "host-gw") {
		found = append(found, warning(n.Config["flannel-external-ip"].Problem(fmt.Sprintf("backend %s sends pod traffic in the clear between external addresses", backend)).
			WithFix("use flannel-backend: wireguard-native")))
	}
	return found
}

func masqueradeWithoutEffect(n *Node) document.Problems {
	if !n.server() || !n.k3s() || !n.Config.Bool("flannel-ipv6-masq") || !n.said("flannel-ipv6-masq") {
		return nil
	}
	s := n.Config["flannel-ipv6-masq"]
	if !n.Network.HasIPv6() {
		return one(s.Problem("pods have no IPv6 addresses to masquerade").WithFix("remove it, or add an IPv6 range to network.pods"))
	}
	if _, on := n.flannel(); !on {
		return one(s.Problem("flannel does not run, so it masquerades nothing").WithFix("remove it, and set up masquerading in the network plugin"))
	}
	return nil
}

func noNetwork(n *Node) document.Problems {
	k := n.Profile.Kubernetes
	none := n.k3s() && n.Config.Text("flannel-backend") == "none" || n.rke2() && n.plugin() == "none"
	if !n.server() || !none || n.Profile.NetdOn() || k.CustomCNI != "" {
		return nil
	}
	key := "flannel-backend"
	if n.rke2() {
		key = "cni"
	}
	var found document.Problems
	if len(k.Manifests) == 0 {
		found = append(found, n.at(key, "there is no pod network: the nodes stay NotReady").
			WithFix("add the manifest of a network plugin to kubernetes.manifests, set kubernetes.customCNI, or let netd be the network"))
	} else if n.k3s() && !n.Config.Has("disable-network-policy") {
		found = append(found, n.at(key, "K3s's own network policies run beside those of the plugin").
			WithFix("set kubernetes.networkPolicy: false, or true if it is meant"))
	}
	return found
}

func flannelWithoutEffect(n *Node) document.Problems {
	if !n.k3s() {
		return nil
	}
	if n.Servers.Text("flannel-backend") != "none" {
		return nil
	}
	var found document.Problems
	for _, g := range n.given() {
		if strings.HasPrefix(g.name, "flannel-") && g.name != "flannel-backend" && g.name != "flannel-ipv6-masq" {
			found = append(found, keyProblem(g.Setting, fmt.Sprintf("%s has no effect without flannel", g.name)).WithFix("remove it"))
		}
	}
	return found
}

func twoNetworks(n *Node) document.Problems {
	if !n.server() || !n.Profile.NetdOn() || n.Profile.Network.Backend.Type == "" {
		return nil
	}
	const fix = "remove it, and network.backend stays; or remove network.backend"
	if backend, on := n.flannel(); on {
		return one(n.at("flannel-backend", fmt.Sprintf("K3s's flannel (%s) and netd (%s) would both be the pod network", backend, n.Profile.Network.Backend.Type)).
			WithFix(fix))
	}
	if n.k3s() && n.Profile.Kubernetes.CustomCNI != "" {
		return one(n.Doc.Problem("kubernetes.customCNI", fmt.Sprintf("%s and netd would both be the pod network", n.plugin())).WithFix(fix))
	}
	if n.rke2() && n.plugin() != "none" {
		return one(n.at("cni", fmt.Sprintf("RKE2's %s and netd would both be the pod network", n.plugin()), "network.backend.type").WithFix(fix))
	}
	return nil
}
