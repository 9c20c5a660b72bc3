package rancher

import (
	"maps"
	"slices"
	"strings"

	"weft/profiles"
)

// An object is what K3s's and RKE2's Helm controller reads
// (github.com/k3s-io/helm-controller, pkg/apis/helm.cattle.io/v1).
type object struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   metadata `yaml:"metadata"`
	Spec       spec     `yaml:"spec"`
}

type metadata struct {
	Name      string `yaml:"name"`
	Namespace string `yaml:"namespace"`
}

type spec struct {
	Repo            string `yaml:"repo,omitempty"`
	Chart           string `yaml:"chart,omitempty"`
	TargetNamespace string `yaml:"targetNamespace,omitempty"`
	CreateNamespace bool   `yaml:"createNamespace,omitempty"`
	// Bootstrap installs the chart before there is a pod network.
	Bootstrap bool   `yaml:"bootstrap,omitempty"`
	Values    string `yaml:"valuesContent,omitempty"`
}

// sources are the charts of the network plugins that weft installs on K3s,
// which brings none of them.
var sources = map[string]spec{
	"canal":  {Repo: "https://rke2-charts.rancher.io", Chart: "rke2-canal", TargetNamespace: "kube-system", Bootstrap: true},
	"calico": {Repo: "https://docs.tigera.io/calico/charts", Chart: "tigera-operator", TargetNamespace: "tigera-operator", CreateNamespace: true, Bootstrap: true},
	"cilium": {Repo: "https://helm.cilium.io", Chart: "cilium", TargetNamespace: "kube-system", Bootstrap: true},
}

// chartFiles are the manifests with the values of charts, and on K3s the
// network plugin itself.
func chartFiles(p profiles.Profile) []File {
	k := p.Kubernetes
	all := map[string]map[string]any{}
	for name, values := range k.Charts {
		all[name] = values
	}
	for _, plugin := range k.Plugins() {
		name := k.Chart(plugin)
		if values := merge(pluginValues(p, plugin), all[name]); len(values) > 0 || k.CustomCNI == plugin {
			all[name] = values
		}
	}
	var files []File
	for _, name := range slices.Sorted(maps.Keys(all)) {
		o := object{
			APIVersion: "helm.cattle.io/v1", Kind: "HelmChartConfig",
			Metadata: metadata{name, "kube-system"},
		}
		if source, custom := sources[name]; custom && k.CustomCNI == name {
			o.Kind, o.Spec = "HelmChart", source
		}
		if len(all[name]) > 0 {
			o.Spec.Values = string(document("", all[name]))
		}
		files = append(files, File{
			Path: dataDir(k) + "/server/manifests/" + Own + name + ".yaml", Mode: 0o600,
			Data: document("# Values of a chart. Written anew at every boot: change the profile.\n", o),
		})
	}
	return files
}

// pluginValues are the values of a network plugin's chart that follow from
// the rest of the profile.
func pluginValues(p profiles.Profile, plugin string) map[string]any {
	k, n := p.Kubernetes, p.Network
	if k.Distribution == profiles.RKE2 {
		return rke2Values(p, plugin)
	}
	switch plugin {
	case "canal":
		global := map[string]any{}
		for _, pods := range n.Pods {
			if pods.Addr().Is4() {
				global["clusterCIDRv4"] = pods.String()
			} else {
				global["clusterCIDRv6"] = pods.String()
			}
		}
		values := map[string]any{"global": global}
		if n.HasIPv6() {
			values["calico"] = map[string]any{"felixIpv6Support": true}
		}
		return values
	case "calico":
		var pools []any
		for _, pods := range n.Pods {
			pools = append(pools, map[string]any{
				"cidr": pods.String(), "encapsulation": "VXLAN", "natOutgoing": "Enabled", "nodeSelector": "all()",
			})
		}
		return map[string]any{"installation": map[string]any{
			"cni": map[string]any{"type": "Calico"},
			"calicoNetwork": map[string]any{
				"bgp": "Disabled", "ipPools": pools,
				// What a manifest calls allow_ip_forwarding: K3s's load
				// balancer for services forwards in a container.
				"containerIPForwarding": "Enabled",
			},
		}}
	case "cilium":
		return map[string]any{
			// The nodes' own ranges, so that the cluster's range counts.
			"ipam":     map[string]any{"mode": "kubernetes"},
			"operator": map[string]any{"replicas": 1},
			"ipv4":     map[string]any{"enabled": n.HasIPv4()},
			"ipv6":     map[string]any{"enabled": n.HasIPv6()},
		}
	}
	return nil
}

// rke2Values are those that RKE2 does not set itself.
func rke2Values(p profiles.Profile, plugin string) map[string]any {
	k := p.Kubernetes
	switch {
	case plugin == "cilium" && slices.Contains(k.Plugins(), "multus") && k.Release().BeforeLine("1.31.14", "1.32.10", "1.33.6", "1.34.2"):
		// Cilium renames the lists of other plugins, multus's among them;
		// charts of November 2025 and later leave them (rke2 documentation,
		// Multus).
		return map[string]any{"cni": map[string]any{"exclusive": false}}
	case plugin == "calico" && k.ServiceLB != nil && *k.ServiceLB:
		return map[string]any{"installation": map[string]any{"calicoNetwork": map[string]any{"containerIPForwarding": "Enabled"}}}
	}
	return nil
}

// merge lays values over others, mapping by mapping.
func merge(under, over map[string]any) map[string]any {
	all := maps.Clone(under)
	if all == nil {
		all = map[string]any{}
	}
	for key, v := range over {
		below, isMap := all[key].(map[string]any)
		above, also := v.(map[string]any)
		if isMap && also {
			all[key] = merge(below, above)
		} else {
			all[key] = v
		}
	}
	return all
}

// text is a value of a chart by its path, as text; "" when it is not there.
func text(values map[string]any, path string) string {
	var v any = values
	for key := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[key]
	}
	s, _ := v.(string)
	return s
}
