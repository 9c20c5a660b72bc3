package rancher

import (
	"encoding/json"

	"weft/profiles"
)

// pluginFiles are the files that a network plugin needs on every node and does
// not bring itself.
func pluginFiles(p profiles.Profile, node string) []File {
	k := p.Kubernetes
	switch {
	case k.Distribution == profiles.K3s && k.CustomCNI == "canal":
		return []File{{Path: "/etc/cni/net.d/05-" + Own + "canal.conflist", Mode: 0o600, Data: canalList(p, node)}}
	case k.Distribution == profiles.K3s && p.NetdOn():
		return bundledPlugins()
	}
	return nil
}

// Unpacked is where K3s finds the programs it brings, from its first start on
// (k3s cmd/k3s/main.go, extract).
const Unpacked = "/var/lib/rancher/k3s/data/current/bin"

// bundledPlugins make the CNI plugins inside K3s ones that netd's list finds:
// with K3s's own flannel off, its containerd looks in /opt/cni/bin. The folder
// they point into is there as soon as K3s has unpacked itself, before it
// starts containerd (k3s cmd/k3s/main.go).
func bundledPlugins() []File {
	var files []File
	for _, name := range []string{"bandwidth", "bridge", "host-local", "loopback", "portmap"} {
		files = append(files, File{Path: "/opt/cni/bin/" + name, Mode: 0o777, Link: Unpacked + "/" + name})
	}
	return files
}

// canalList is Canal's CNI list with forwarding in containers allowed, which
// K3s's load balancer for services needs and the chart has no value for. Its
// name comes before that of the list that Canal installs, 10-canal.conflist,
// so it is the one that counts.
func canalList(p profiles.Profile, node string) []byte {
	type plugin map[string]any
	calico := plugin{
		"type": "calico", "log_level": "info", "datastore_type": "kubernetes",
		"mtu":                canalMTU(p),
		"ipam":               ranges(p.Network),
		"container_settings": map[string]any{"allow_ip_forwarding": true},
		"policy":             map[string]any{"type": "k8s"},
		// Canal's installer writes it when it first runs on the node.
		"kubernetes": map[string]any{"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"},
	}
	if node != "" {
		calico["nodename"] = node
	}
	list := map[string]any{
		"name": "k8s-pod-network", "cniVersion": "0.3.1",
		"plugins": []plugin{calico,
			{"type": "portmap", "snat": true, "capabilities": map[string]any{"portMappings": true}},
			{"type": "bandwidth", "capabilities": map[string]any{"bandwidth": true}}},
	}
	// Maps of texts, numbers and truths always have a JSON form.
	data, _ := json.MarshalIndent(list, "", "  ")
	return append(data, '\n')
}

// ranges asks for addresses out of the node's own ranges. host-local takes
// one range in the short form, and a list for two families.
func ranges(n profiles.Network) map[string]any {
	if len(n.Pods) < 2 && n.HasIPv4() {
		return map[string]any{"type": "host-local", "subnet": "usePodCidr"}
	}
	var list []any
	for _, pods := range n.Pods {
		subnet := "usePodCidr"
		if pods.Addr().Is6() {
			subnet = "usePodCidrIPv6"
		}
		list = append(list, []any{map[string]any{"subnet": subnet}})
	}
	return map[string]any{"type": "host-local", "ranges": list}
}

// canalMTU is what is left for pods on a link of 1500 bytes: less 50 for VXLAN
// over IPv4 and 70 over IPv6, 60 and 80 for WireGuard (flannel
// pkg/backend/vxlan, wireguard).
func canalMTU(p profiles.Profile) int {
	values := p.Kubernetes.Charts["canal"]
	if calico, ok := values["calico"].(map[string]any); ok {
		if mtu, said := calico["vethuMTU"].(int); said {
			return mtu
		}
	}
	overhead := map[string]int{"": 50, profiles.BackendVXLAN: 50, profiles.BackendWireGuard: 60}[text(values, "flannel.backend")]
	if overhead > 0 && p.Network.HasIPv6() {
		overhead += 20
	}
	return 1500 - overhead
}
