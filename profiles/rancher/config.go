package rancher

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"weft/profiles"
	"weft/profiles/kube"
)

// configFiles are config.yaml, which is the same on all nodes of a role, and a
// drop-in with what is this node's own. K3s and RKE2 read the drop-ins after
// the file, and what they say replaces what it says (k3s pkg/configfilearg).
func configFiles(p profiles.Profile, n profiles.Node, role kube.Role, place *kube.Place, device string) []File {
	k := p.Kubernetes
	common := configOf(p, n, role, nil)
	node := configOf(p, n, role, place)
	atBoot(p, node, place, device)
	maps.DeleteFunc(node, func(key string, s kube.Setting) bool {
		same, there := common[key]
		return there && reflect.DeepEqual(same.Value, s.Value)
	})
	files := []File{{
		Path: confDir(k) + "/config.yaml", Mode: 0o600,
		Data: document(fmt.Sprintf("# Profile %s, %s. Written anew at every boot: change the profile.\n", p.Name, role), values(common)),
	}}
	if len(node) > 0 {
		files = append(files, File{
			Path: confDir(k) + "/config.yaml.d/50-node.yaml", Mode: 0o600,
			Data: document("# This node's own. Written anew at every boot: change the node file.\n", values(node)),
		})
	}
	return files
}

// configOf is what a node's config.yaml says; place is nil for what all nodes
// of the role have.
func configOf(p profiles.Profile, n profiles.Node, role kube.Role, place *kube.Place) kube.Config {
	c := kube.ConfigFor(p, nil, role, place)
	gate(p, role, c)
	return c
}

// gate fits what was derived to the version of Kubernetes.
func gate(p profiles.Profile, role kube.Role, c kube.Config) {
	k := p.Kubernetes
	at := k.Release()
	known := kube.Keys(k.Distribution)
	if s, ok := c["ingress-controller"]; ok && s.Derived && k.Distribution == profiles.RKE2 && at.Before("1.27") {
		// Before the key there was one ingress controller, on or off.
		if s.Value == "none" {
			extend(c, "disable", "rke2-ingress-nginx")
		}
	}
	maps.DeleteFunc(c, func(name string, s kube.Setting) bool {
		key, ok := kube.Find(known, name)
		return s.Derived && ok && !key.In(at)
	})
	n := p.Network
	_, _, told := c.Arg("kubelet-arg", "node-ip")
	elsewhere := !reflect.DeepEqual(n.Underlay, profiles.Underlay{}) || c.Has("flannel-iface")
	if k.Distribution == profiles.K3s && at.Before("1.27") && n.HasIPv4() && n.HasIPv6() && elsewhere && !told {
		// Kubelets forget the IPv6 address of a node whose cluster traffic
		// is not on the device of the default route, unless they are told
		// which family comes first (kubernetes#111695).
		first := "0.0.0.0"
		if n.Pods[0].Addr().Is6() {
			first = "::"
		}
		extend(c, "kubelet-arg", "node-ip="+first)
	}
}

// atBoot adds what follows from the addresses that a node has.
func atBoot(p profiles.Profile, c kube.Config, place *kube.Place, device string) {
	if len(place.Addresses) == 0 {
		return
	}
	dual := p.Network.HasIPv4() && p.Network.HasIPv6()
	if _, _, told := c.Arg("kubelet-arg", "node-ip"); dual && !told && cloudControllerOff(p) {
		// K3s hands both addresses to the kubelet only where its own cloud
		// controller runs (k3s pkg/daemons/agent/agent_linux.go).
		var texts []string
		for _, a := range place.Addresses {
			texts = append(texts, a.String())
		}
		extend(c, "kubelet-arg", "node-ip="+strings.Join(texts, ","))
	}
	if device != "" && p.FlannelBackend() != "" && !reflect.DeepEqual(p.Network.Underlay, profiles.Underlay{}) && !c.Has("flannel-iface") {
		c["flannel-iface"] = kube.Setting{Value: device, Path: "network.underlay", Derived: true}
	}
}

// cloudControllerOff tells whether the servers leave out the cloud controller.
func cloudControllerOff(p profiles.Profile) bool {
	return kube.ConfigFor(p, nil, kube.Server, nil).Bool("disable-cloud-controller")
}

// extend adds a word to a list of a config.
func extend(c kube.Config, key, word string) {
	s := c[key]
	var list []any
	switch v := s.Value.(type) {
	case nil:
	case []any:
		list = slices.Clone(v)
	default:
		list = []any{v}
	}
	s.Value, s.Derived = append(list, word), true
	c[key] = s
}

// values takes the values out of a config.
func values(c kube.Config) map[string]any {
	all := make(map[string]any, len(c))
	for key, s := range c {
		all[key] = s.Value
	}
	return all
}

// document writes a value as YAML under a comment; keys of maps are sorted.
func document(comment string, value any) []byte {
	var b strings.Builder
	b.WriteString(comment)
	if m, ok := value.(map[string]any); ok && len(m) == 0 {
		return []byte(b.String())
	}
	out := yaml.NewEncoder(&b)
	out.SetIndent(2)
	// Encoding fails for channels and the like, which no file can say, and a
	// strings.Builder takes everything.
	_ = out.Encode(value)
	_ = out.Close()
	return []byte(b.String())
}

// registriesFile is registries.yaml; nil when the profile says nothing of
// registries.
func registriesFile(k profiles.Kubernetes) []byte {
	r := k.Registries
	if len(r.Mirrors) == 0 && len(r.Configs) == 0 {
		return nil
	}
	type mirror struct {
		Endpoint []string          `yaml:"endpoint,omitempty"`
		Rewrite  map[string]string `yaml:"rewrite,omitempty"`
	}
	file := struct {
		Mirrors map[string]mirror         `yaml:"mirrors,omitempty"`
		Configs map[string]map[string]any `yaml:"configs,omitempty"`
	}{Configs: r.Configs}
	for name, m := range r.Mirrors {
		if file.Mirrors == nil {
			file.Mirrors = map[string]mirror{}
		}
		file.Mirrors[name] = mirror{m.Endpoints, m.Rewrite}
	}
	return document("# Where images are pulled from. Written anew at every boot: change the profile.\n", file)
}

// A HostEntry is a line of the hosts file.
type HostEntry struct {
	// Address is where the names lead.
	Address netip.Addr
	// Names are the names.
	Names []string
}

// Hosts are the lines that a node's hosts file needs: localhost of both
// families, for parts of RKE2 that reach one another there, and the node's own
// name at the addresses others know.
func Hosts(name string, addresses []netip.Addr) []HostEntry {
	all := []HostEntry{
		{netip.AddrFrom4([4]byte{127, 0, 0, 1}), []string{"localhost"}},
		{netip.IPv6Loopback(), []string{"localhost", "ip6-localhost", "ip6-loopback"}},
	}
	if name == "" {
		return all
	}
	names := []string{name}
	if short, _, dotted := strings.Cut(name, "."); dotted {
		names = append(names, short)
	}
	for _, a := range addresses {
		all = append(all, HostEntry{a, names})
	}
	return all
}
