package profiles

import (
	"fmt"
	"slices"
	"strings"
)

// setting is a value that the profile gives a key of K3s's or RKE2's
// config.yaml on servers; "" for none.
func (k Kubernetes) setting(key string) string {
	v, said := k.Server[key]
	if !said {
		v = k.Config[key]
	}
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		var words []string
		for _, w := range v {
			words = append(words, fmt.Sprint(w))
		}
		return strings.Join(words, ",")
	}
	return fmt.Sprint(v)
}

// policies tells whether K3s's own controller enforces network policies.
func (k Kubernetes) policies() bool {
	return k.Distribution == K3s && !isOff(k.NetworkPolicy) && k.CustomCNI == "" && k.setting("disable-network-policy") != "true"
}

// proxyMode is kube-proxy's mode; "" for the usual one.
func (k Kubernetes) proxyMode() string {
	for _, arg := range strings.Split(k.setting("kube-proxy-arg"), ",") {
		if mode, ok := strings.CutPrefix(strings.TrimPrefix(arg, "--"), "proxy-mode="); ok {
			return mode
		}
	}
	return ""
}

// FlannelBackend is the backend of the flannel inside K3s; "" when K3s has
// none.
func (p Profile) FlannelBackend() string {
	k := p.Kubernetes
	if k.Distribution != K3s || k.CustomCNI != "" || p.NetdOn() {
		return ""
	}
	switch backend := k.setting("flannel-backend"); backend {
	case "":
		return BackendVXLAN
	case BackendNone:
		return ""
	default:
		return backend
	}
}

// Plugins are the network plugins that run as pods, in the order they are
// installed; none for K3s's own flannel and for netd.
func (k Kubernetes) Plugins() []string {
	switch k.Distribution {
	case K3s:
		if k.CustomCNI != "" {
			return []string{k.CustomCNI}
		}
		return nil
	case RKE2:
	default:
		return nil
	}
	list := k.CNI
	if said := k.setting("cni"); len(list) == 0 && said != "" {
		list = strings.Split(said, ",")
	}
	if len(list) == 0 {
		list = []string{"canal"}
	}
	return slices.DeleteFunc(slices.Clone(list), func(name string) bool { return name == "none" })
}

// Plugin is the network plugin that carries the pods' packets, of those that
// run as pods; "" when there is none.
func (k Kubernetes) Plugin() string {
	for _, name := range k.Plugins() {
		if name != "multus" {
			return name
		}
	}
	return ""
}

// Chart is the name of the Helm chart that a network plugin comes in.
func (k Kubernetes) Chart(plugin string) string {
	if k.Distribution == RKE2 {
		return "rke2-" + plugin
	}
	return plugin
}

// chartValue is a value of a chart by its path; nil when it is not there.
func (k Kubernetes) chartValue(chart string, path ...string) any {
	var v any = k.Charts[chart]
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

// pluginNeeds adds what the pod network needs that is not netd's.
func pluginNeeds(p Profile, c *collector) {
	k := p.Kubernetes
	if backend := p.FlannelBackend(); backend != "" {
		path := "kubernetes.distribution"
		for _, at := range []struct {
			section string
			values  map[string]any
		}{{"kubernetes.config", k.Config}, {"kubernetes.server", k.Server}} {
			if _, said := at.values["flannel-backend"]; said {
				path = at.section + ".flannel-backend"
			}
		}
		flannelNeeds(backend, path, c)
	}
	chart := k.Chart(k.Plugin())
	path := "kubernetes.cni"
	if k.Distribution == K3s {
		path = "kubernetes.customCNI"
	} else if len(k.CNI) == 0 {
		path = "kubernetes.distribution"
	}
	switch k.Plugin() {
	case "canal":
		backend, _ := k.chartValue(chart, "flannel", "backend").(string)
		if backend == "" {
			backend = BackendVXLAN
		}
		flannelNeeds(backend, path, c)
		policyNeeds("Canal", path, c)
	case "flannel":
		flannelNeeds(BackendVXLAN, path, c)
	case "calico":
		c.add("vxlan", "CONFIG_VXLAN", path, "Calico's packets between nodes travel in VXLAN tunnels")
		c.perhaps("ipip", "CONFIG_NET_IPIP", path, "pools with ipipMode travel in IP-in-IP tunnels")
		if k.chartValue(chart, "installation", "calicoNetwork", "linuxDataplane") == "BPF" {
			bpfNeeds("Calico's eBPF data plane", path, c)
			break
		}
		policyNeeds("Calico", path, c)
	case "cilium":
		ciliumNeeds(k, chart, path, c)
	}
	if slices.Contains(k.Plugins(), "multus") {
		c.perhaps("macvlan", "CONFIG_MACVLAN", path, "further networks of pods are often macvlan devices")
		c.perhaps("ipvlan", "CONFIG_IPVLAN", path, "or ipvlan devices")
	}
}

// flannelNeeds adds what a backend of flannel needs.
func flannelNeeds(backend, path string, c *collector) {
	switch backend {
	case BackendVXLAN:
		c.add("vxlan", "CONFIG_VXLAN", path, "packets between nodes travel in VXLAN tunnels")
	case BackendWireGuard, BackendWireGuardNative:
		c.add("wireguard", "CONFIG_WIREGUARD", path, "packets between nodes are encrypted")
	case BackendIPsec:
		ipsecModules(Backend{}, c.add)
	}
}

// policyNeeds adds what Felix's rules need (projectcalico felix/rules).
func policyNeeds(name, path string, c *collector) {
	c.add("ip_set", "CONFIG_IP_SET", path, name+" keeps the pods of policies in sets")
	c.add("ip_set_hash_ip", "CONFIG_IP_SET_HASH_IP", path, "sets of addresses")
	c.add("ip_set_hash_net", "CONFIG_IP_SET_HASH_NET", path, "sets of prefixes")
	c.add("ip_set_hash_ipportnet", "CONFIG_IP_SET_HASH_IPPORTNET", path, "sets of named ports")
	c.add("xt_set", "CONFIG_NETFILTER_XT_SET", path, "rules look addresses up in sets")
	c.add("xt_mark", "CONFIG_NETFILTER_XT_MARK", path, "what policies accept bears a mark")
	c.perhaps("ip6t_rpfilter", "CONFIG_IP6_NF_MATCH_RPFILTER", path, "pods cannot send from addresses of others")
	c.perhaps("ipt_rpfilter", "CONFIG_IP_NF_MATCH_RPFILTER", path, "pods cannot send from addresses of others")
}

// bpfNeeds adds what programs in the kernel need (docs.cilium.io, System
// requirements; docs.tigera.io, eBPF).
func bpfNeeds(name, path string, c *collector) {
	c.symbol(path, name+" is made of BPF programs", "CONFIG_BPF_SYSCALL")
	c.symbol(path, "the programs run as machine code", "CONFIG_BPF_JIT")
	c.symbol(path, "the programs look at connections as they are opened", "CONFIG_CGROUP_BPF")
	c.symbol(path, "the programs are fitted to the kernel by its types", "CONFIG_DEBUG_INFO_BTF")
	c.add("cls_bpf", "CONFIG_NET_CLS_BPF", path, "the programs are attached to devices")
	c.add("sch_ingress", "CONFIG_NET_SCH_INGRESS", path, "packets pass them as they come in")
}

// ciliumNeeds adds what Cilium needs.
func ciliumNeeds(k Kubernetes, chart, path string, c *collector) {
	bpfNeeds("Cilium", path, c)
	c.symbol(path, "Cilium signs its programs' objects by AF_ALG", "CONFIG_CRYPTO_USER_API_HASH")
	tunnel, _ := k.chartValue(chart, "tunnelProtocol").(string)
	switch {
	case k.chartValue(chart, "routingMode") == "native" || k.chartValue(chart, "eni", "enabled") == true:
	case tunnel == "geneve":
		c.add("geneve", "CONFIG_GENEVE", path, "packets between nodes travel in Geneve tunnels")
	default:
		c.add("vxlan", "CONFIG_VXLAN", path, "packets between nodes travel in VXLAN tunnels")
	}
	if k.chartValue(chart, "encryption", "enabled") == true {
		if k.chartValue(chart, "encryption", "type") == "wireguard" {
			c.add("wireguard", "CONFIG_WIREGUARD", path, "packets between nodes are encrypted")
		} else {
			ipsecModules(Backend{}, c.add)
		}
	}
	for _, m := range [][3]string{
		{"xt_TPROXY", "CONFIG_NETFILTER_XT_TARGET_TPROXY", "policies of HTTP and DNS pass a proxy"},
		{"xt_CT", "CONFIG_NETFILTER_XT_TARGET_CT", "the proxy's packets are not tracked"},
		{"xt_mark", "CONFIG_NETFILTER_XT_MARK", "the proxy's packets bear a mark"},
		{"xt_socket", "CONFIG_NETFILTER_XT_MATCH_SOCKET", "answers find their way to the proxy"},
	} {
		c.add(m[0], m[1], path, m[2])
	}
	c.iptables(path, c.profile.Network.HasIPv4(), c.profile.Network.HasIPv6())
}
