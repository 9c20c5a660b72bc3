package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/kube"
)

// pluginRules are the rules about network plugins and their charts.
func pluginRules() []Rule {
	return []Rule{
		{
			ID: "G1", Title: "RKE2's plugins are ones it has, multus first",
			Why:    "RKE2 exits: \"multus must be used alongside another primary cni selection\", \"may only provide multiple values if multus is the first value\".",
			Source: "rke2 pkg/cli/cmds/server.go (validateCNI)",
			Bad:    Example{Profile: "kubernetes:\n  distribution: rke2\n  cni: [canal, multus]\n"},
			Good:   Example{Profile: "kubernetes:\n  distribution: rke2\n  cni: [multus, canal]\n"},
			node:   cniOrder,
		},
		{
			ID: "G2", Title: "Cilium replaces kube-proxy exactly where kube-proxy is off", Severity: "error without kube-proxy; warning where both run",
			Why:    "Without either, no service works; and without kube-proxy Cilium needs the API server's address, since it cannot use the service.",
			Source: "RKE2 documentation, Basic network options (Cilium)",
			Bad:    Example{Profile: "kubernetes:\n  distribution: rke2\n  cni: [cilium]\n  kubeProxy: false\n"},
			Good:   Example{Profile: "kubernetes:\n  distribution: rke2\n  cni: [cilium]\n  kubeProxy: false\n  charts:\n    rke2-cilium: {kubeProxyReplacement: true, k8sServiceHost: localhost, k8sServicePort: 6443}\n"},
			node:   kubeProxy,
		},
		{
			ID: "G3", Title: "Cilium's kernel is new enough",
			Why:    "It needs 4.9.17, and 5.8 to replace kube-proxy.",
			Source: "RKE2 documentation, Basic network options (Cilium)",
			Bad:    Example{Profile: "kubernetes:\n  distribution: rke2\n  cni: [cilium]\n  kubeProxy: false\n  charts:\n    rke2-cilium: {kubeProxyReplacement: true, k8sServiceHost: localhost, k8sServicePort: 6443}\n", Facts: Facts{Kernel: "5.4.0"}},
			Good:   Example{Profile: "kubernetes:\n  distribution: rke2\n  cni: [cilium]\n  kubeProxy: false\n  charts:\n    rke2-cilium: {kubeProxyReplacement: true, k8sServiceHost: localhost, k8sServicePort: 6443}\n", Facts: Facts{Kernel: "5.8.0"}},
			node:   ciliumKernel,
		},
		{
			ID: "G6", Title: "chart values are for a chart of the selected plugin, and are a mapping",
			Why:    "A HelmChartConfig for a chart that is not installed waits for ever, without a word.",
			Source: "RKE2 documentation; rke2-charts",
			Bad:    Example{Profile: "kubernetes:\n  distribution: rke2\n  cni: [cilium]\n  charts:\n    rke2-canal: {flannel: {iface: eth1}}\n"},
			Good:   Example{Profile: "kubernetes:\n  distribution: rke2\n  cni: [canal]\n  charts:\n    rke2-canal: {flannel: {iface: eth1}}\n"},
			node:   strayCharts,
		},
		{
			ID: "G8", Level: document.Warning, Title: "Cilium with IPv6 alone has routes between the nodes",
			Why:    "It does not tunnel there: nodes need a common link with autoDirectNodeRoutes, or a network that knows the pod ranges.",
			Source: "RKE2 documentation, Basic network options",
			Bad:    Example{Profile: "network:\n  pods: [\"fd42:42::/56\"]\n  services: [\"fd42:43::/112\"]\n  masquerade: {ipv6: true}\nkubernetes:\n  distribution: rke2\n  cni: [cilium]\n"},
			Good:   Example{Profile: "network:\n  pods: [\"fd42:42::/56\"]\n  services: [\"fd42:43::/112\"]\n  masquerade: {ipv6: true}\nkubernetes:\n  distribution: rke2\n  cni: [cilium]\n  charts:\n    rke2-cilium: {autoDirectNodeRoutes: true}\n"},
			node:   ciliumOnly6,
		},
		{
			ID: "G9", Level: document.Warning, Title: "Calico with both families has BGP between the nodes",
			Why:    "It uses BGP instead of VXLAN then: TCP port 179 must be open between the nodes, and they need one link or a router that takes part.",
			Source: "RKE2 documentation, Basic network options",
			Bad:    Example{Profile: dual + "kubernetes:\n  distribution: rke2\n  cni: [calico]\n"},
			Good:   Example{Profile: dual + "kubernetes:\n  distribution: rke2\n  cni: [calico]\n  charts:\n    rke2-calico: {installation: {calicoNetwork: {bgp: Enabled}}}\n"},
			node:   calicoBGP,
		},
		{
			ID: "G12", Level: document.Warning, Title: "Canal and Calico on K3s let containers forward packets",
			Why:    "K3s's load balancer for services forwards packets in a container; Calico turns that off by default.",
			Source: "K3s documentation, Custom CNI (allow_ip_forwarding)",
			Bad:    Example{Profile: "kubernetes:\n  server: {flannel-backend: none, disable-network-policy: true}\n  manifests:\n    - {path: calico.yaml}\n"},
			Good:   Example{Profile: "kubernetes:\n  customCNI: calico\n"},
			node:   ipForwarding,
		},
	}
}

// plugins are the values of RKE2's key cni.
var plugins = []string{"canal", "calico", "cilium", "flannel", "none"}

func cniOrder(n *Node) document.Problems {
	if custom := n.Profile.Kubernetes.CustomCNI; custom != "" {
		known := []string{"canal", "calico", "cilium"}
		switch {
		case n.rke2():
			return one(n.Doc.Problem("kubernetes.customCNI", "customCNI is for K3s").WithFix("write cni: [" + custom + "]"))
		case !slices.Contains(known, custom):
			return one(n.Doc.Problem("kubernetes.customCNI", fmt.Sprintf("there is no custom plugin %q", custom)).
				WithFix(document.DidYouMean(custom, known)))
		}
	}
	if n.k3s() && len(n.Profile.Kubernetes.CNI) > 0 {
		return one(n.Doc.KeyProblem("kubernetes.cni", "cni is for RKE2").WithFix("set flannel-backend, or customCNI"))
	}
	s, said := n.Config["cni"]
	if !n.server() || !n.rke2() || !said {
		return nil
	}
	words := kube.Words(s.Value)
	at := func(i int) document.Problem {
		if s.Path == "kubernetes.cni" {
			return n.Doc.Problem(document.Index(s.Path, i), "")
		}
		return s.Element(i).Problem("")
	}
	say := func(i int, message, fix string) document.Problems {
		p := at(i)
		p.Message, p.Fix = message, fix
		return one(p)
	}
	for i, w := range words {
		if w != "multus" && !slices.Contains(plugins, w) {
			return say(i, fmt.Sprintf("there is no plugin %q", w), document.DidYouMean(w, append([]string{"multus"}, plugins...)))
		}
		if w == "flannel" && n.Release.BeforeLine("1.26.14", "1.27.11", "1.28.7", "1.29.2") {
			return say(i, fmt.Sprintf("plugin flannel is not in RKE2 %s", n.Release), "use canal, or RKE2 1.29.2 or newer")
		}
	}
	switch multus := slices.Index(words, "multus"); {
	case len(words) == 1 && multus == 0:
		return say(0, "multus needs another plugin beside it", "write [multus, canal]")
	case len(words) > 2:
		return say(2, "there are at most two plugins", "write [multus, canal], or one plugin alone")
	case len(words) == 2 && multus == 1:
		return say(1, "multus must come first", fmt.Sprintf("write [multus, %s]", words[0]))
	case len(words) == 2 && multus != 0:
		return say(1, "two plugins would both be the pod network", "keep one of them; only multus goes before another")
	}
	return nil
}

// cilium are the values of Cilium's chart, and where they stand.
func cilium(n *Node) (values map[string]any, path string) {
	name := "rke2-cilium"
	if n.k3s() {
		name = "cilium"
	}
	return n.Profile.Kubernetes.Charts[name], document.Join("kubernetes.charts", name)
}

// replaces tells whether Cilium does the work of kube-proxy. Older charts
// wrote strict for true.
func replaces(values map[string]any) bool {
	switch v := values["kubeProxyReplacement"].(type) {
	case bool:
		return v
	case string:
		return v == "true" || v == "strict"
	}
	return false
}

func kubeProxy(n *Node) document.Problems {
	if !n.server() {
		return nil
	}
	off := n.Config.Bool("disable-kube-proxy")
	plugin := n.plugin()
	if plugin != "cilium" {
		if off && !eBPF(n) && (n.rke2() || plugin != "" || flannelOn(n)) {
			return one(n.at("disable-kube-proxy", "nothing does kube-proxy's work: no service would be reached").
				WithFix("leave kube-proxy on, or use Cilium with kubeProxyReplacement"))
		}
		return nil
	}
	values, path := cilium(n)
	switch {
	case off && !replaces(values):
		return one(n.at("disable-kube-proxy", "nothing does kube-proxy's work: no service would be reached").
			WithFix("set kubeProxyReplacement: true with k8sServiceHost and k8sServicePort in kubernetes.charts, or leave kube-proxy on"))
	case off && (values["k8sServiceHost"] == nil || values["k8sServicePort"] == nil):
		return one(n.Doc.Problem(path+".kubeProxyReplacement", "Cilium cannot find the API server without kube-proxy").
			WithFix("set k8sServiceHost: localhost and k8sServicePort: 6443"))
	case !off && replaces(values):
		return one(warning(n.Doc.Problem(path+".kubeProxyReplacement", "kube-proxy runs beside Cilium's replacement").
			WithFix("set kubernetes.kubeProxy: false")))
	}
	return nil
}

func flannelOn(n *Node) bool { _, on := n.flannel(); return on }

// eBPF tells whether Calico does the work of kube-proxy.
func eBPF(n *Node) bool {
	inst, _ := n.Profile.Kubernetes.Charts["rke2-calico"]["installation"].(map[string]any)
	net, _ := inst["calicoNetwork"].(map[string]any)
	return net["linuxDataplane"] == "BPF"
}

func ciliumKernel(n *Node) document.Problems {
	if n.plugin() != "cilium" || n.Facts.Kernel == "" || !n.server() && !n.agent() {
		return nil
	}
	kernel, err := profiles.ParseRelease(n.Facts.Kernel)
	if err != nil {
		return nil
	}
	values, path := cilium(n)
	if replaces(values) && kernel.Before("5.8") {
		return one(n.Doc.Problem(path+".kubeProxyReplacement", fmt.Sprintf("kernel %s is too old for Cilium to replace kube-proxy", n.Facts.Kernel)).
			WithNote("5.8 is the least").WithFix("use a newer kernel, or leave kube-proxy on"))
	}
	if kernel.Before("4.9.17") {
		return one(n.at("cni", fmt.Sprintf("kernel %s is too old for Cilium", n.Facts.Kernel), "kubernetes.customCNI").
			WithNote("4.9.17 is the least").WithFix("use a newer kernel, or another plugin"))
	}
	return nil
}

// charts are those RKE2 and K3s bring besides the plugins'.
var charts = map[string][]string{
	profiles.RKE2: {"rke2-coredns", "rke2-metrics-server", "rke2-ingress-nginx", "rke2-traefik", "rke2-traefik-crd",
		"rke2-snapshot-controller", "rke2-snapshot-controller-crd", "rke2-snapshot-validation-webhook", "rke2-runtimeclasses",
		"rke2-multus", "rancher-vsphere-cpi", "rancher-vsphere-csi", "harvester-cloud-provider", "harvester-csi-driver", "rke2-security-responder"},
	profiles.K3s: {"traefik", "traefik-crd"},
}

func strayCharts(n *Node) document.Problems {
	if !n.server() {
		return nil
	}
	var found document.Problems
	plugin := n.plugin()
	for _, name := range slices.Sorted(maps.Keys(n.Profile.Kubernetes.Charts)) {
		path := document.Join("kubernetes.charts", name)
		own, isPlugin := strings.CutPrefix(name, "rke2-")
		isPlugin = (isPlugin || n.k3s()) && slices.Contains(plugins, own)
		switch {
		case strings.ContainsAny(name, "_ ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
			found = append(found, n.Doc.KeyProblem(path, fmt.Sprintf("%q is no name of a chart", name)).
				WithFix("use lower-case letters, digits and hyphens"))
		case isPlugin && own != plugin:
			found = append(found, n.Doc.KeyProblem(path, fmt.Sprintf("chart %s is not installed: the plugin is %s", name, orNothing(plugin))).
				WithFix("select the plugin, or give the values to the chart that is installed"))
		case !isPlugin && n.rke2() && !slices.Contains(charts[profiles.RKE2], name):
			known := slices.Concat(charts[profiles.RKE2], []string{"rke2-" + plugin})
			found = append(found, warning(n.Doc.KeyProblem(path, fmt.Sprintf("RKE2 brings no chart %s", name)).
				WithFix(document.DidYouMean(name, known))))
		case n.k3s() && n.Config.Bool("disable-helm-controller"):
			found = append(found, n.Doc.KeyProblem(path, "nothing reads chart values without the Helm controller").
				WithFix("remove disable-helm-controller"))
		}
	}
	return found
}

func ciliumOnly6(n *Node) document.Problems {
	if !n.server() || n.plugin() != "cilium" || !n.only6() {
		return nil
	}
	values, _ := cilium(n)
	if values["autoDirectNodeRoutes"] == true || values["bgpControlPlane"] != nil {
		return nil
	}
	return one(n.at("cni", "Cilium does not tunnel where pods have IPv6 alone", "kubernetes.customCNI").
		WithFix("set autoDirectNodeRoutes: true for nodes on one link, or teach the routers the pod ranges"))
}

func calicoBGP(n *Node) document.Problems {
	if !n.server() || n.plugin() != "calico" || !n.dual() {
		return nil
	}
	inst, _ := n.Profile.Kubernetes.Charts["rke2-calico"]["installation"].(map[string]any)
	net, _ := inst["calicoNetwork"].(map[string]any)
	if net["bgp"] != nil {
		return nil
	}
	return one(n.at("cni", "Calico uses BGP where pods have both families", "kubernetes.customCNI").
		WithFix("open TCP port 179 between the nodes, and say bgp: Enabled in kubernetes.charts"))
}

func ipForwarding(n *Node) document.Problems {
	k := n.Profile.Kubernetes
	if !n.server() || !n.k3s() || k.CustomCNI != "" {
		return nil
	}
	for i, m := range k.Manifests {
		name := strings.ToLower(payloadName(m))
		if strings.Contains(name, "calico") || strings.Contains(name, "canal") {
			return one(n.Doc.KeyProblem(document.Index("kubernetes.manifests", i), fmt.Sprintf("%s must allow IP forwarding in containers", payloadName(m))).
				WithFix("use kubernetes.customCNI, or add container_settings: {allow_ip_forwarding: true} to it and override this rule"))
		}
	}
	return nil
}
