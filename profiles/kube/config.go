package kube

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weft/document"
	"weft/profiles"
)

// A Setting is one value of a node's config.yaml and where it was said.
type Setting struct {
	// Value is text, true or false, a number, a list or a mapping.
	Value any
	// Doc and Path are the place; Doc is nil when nothing was read from a
	// file. For a derived setting it is the key it is derived from.
	Doc  *document.Document
	Path string
	// Derived says that no file gives this key itself.
	Derived bool
}

// A Config is what the config.yaml of one node says, by key.
type Config map[string]Setting

// A Place is what a cluster file says of one node, for [ConfigFor].
type Place struct {
	// Doc and Path are the node's entry, such as nodes[2].
	Doc  *document.Document
	Path string
	// Name, Addresses, External, Labels and Taints are the node's.
	Name                string
	Addresses, External []netip.Addr
	Labels              map[string]string
	Taints              []string
	// Config are the node's own settings.
	Config map[string]any
	// Join is the URL of the server it joins; empty for the one that begins
	// the cluster. Others says that there are further servers.
	Join   string
	Others bool
	// TokenFile is the file with the cluster's token; empty for none.
	TokenFile string
}

// ConfigFor works out what the config.yaml of a node says: what the profile
// sets for every node, then for its role, then what the cluster file sets for
// the node itself; and for keys that none of them sets, what follows from the
// network, the switches and the node's place. Keys for servers that the
// profile sets for every node are left out on agents.
//
// p is the profile as it was read from d, without defaults; place is nil for a
// node that no cluster file knows.
func ConfigFor(p profiles.Profile, d *document.Document, role Role, place *Place) Config {
	k := p.Kubernetes
	known := Keys(k.Distribution)
	c := Config{}
	put := func(from map[string]any, d *document.Document, path string, shared bool) {
		for name, v := range from {
			if key, ok := Find(known, name); shared && ok && key.Roles&role == 0 {
				continue
			}
			c[name] = Setting{Value: v, Doc: d, Path: document.Join(path, name)}
		}
	}
	put(k.Config, d, "kubernetes.config", true)
	if role == Server {
		put(k.Server, d, "kubernetes.server", false)
	} else {
		put(k.Agent, d, "kubernetes.agent", false)
	}
	if place != nil {
		put(place.Config, place.Doc, place.Path+".config", false)
	}
	derive := deriver{c, d, p}
	if role == Server {
		derive.switches()
		derive.network()
	}
	if place != nil {
		derive.place(role, *place)
	}
	return c
}

// A deriver adds to a config what follows from the rest of the profile.
type deriver struct {
	config  Config
	doc     *document.Document
	profile profiles.Profile
}

// set gives a key a value unless a file gave it one.
func (d deriver) set(key string, value any, path string) {
	if _, said := d.config[key]; !said {
		d.config[key] = Setting{Value: value, Doc: d.doc, Path: path, Derived: true}
	}
}

// add puts a word to the end of a list, whoever began it.
func (d deriver) add(key, word, path string) {
	s, said := d.config[key]
	if !said {
		s = Setting{Doc: d.doc, Path: path, Derived: true}
	}
	list := Words(s.Value)
	if !slices.Contains(list, word) {
		list = append(list, word)
	}
	s.Value = anyList(list)
	d.config[key] = s
}

// network derives the keys that repeat the network section.
func (d deriver) network() {
	n := d.profile.Network
	if len(n.Pods) > 0 {
		d.set("cluster-cidr", texts(n.Pods), "network.pods")
	}
	if len(n.Services) > 0 {
		d.set("service-cidr", texts(n.Services), "network.services")
	}
	d.masks(n)
	if d.profile.NetdOn() {
		// netd is the network, so the distribution brings none.
		if d.profile.Kubernetes.Distribution == profiles.K3s {
			d.set("flannel-backend", "none", "network.backend.type")
		} else {
			d.set("cni", []any{"none"}, "network.backend.type")
		}
		return
	}
	if d.profile.Kubernetes.Distribution != profiles.K3s || d.profile.Kubernetes.CustomCNI != "" {
		return
	}
	if m := n.Masquerade.IPv6; m != nil && *m {
		d.set("flannel-ipv6-masq", true, "network.masquerade.ipv6")
	}
	if n.ExternalIP {
		d.set("flannel-external-ip", true, "network.externalIP")
	}
}

// masks derives the length of a node's pod range, when the profile says it.
func (d deriver) masks(n profiles.Network) {
	const key = "kube-controller-manager-arg"
	for _, s := range Words(d.config[key].Value) {
		if strings.HasPrefix(s, "node-cidr-mask-size") {
			return
		}
	}
	four, six := n.SubnetLength.IPv4, n.SubnetLength.IPv6
	// With one family, Kubernetes takes only the name without it.
	suffix4, suffix6 := "", ""
	if n.HasIPv4() && n.HasIPv6() {
		suffix4, suffix6 = "-ipv4", "-ipv6"
	}
	if four != 0 && n.HasIPv4() {
		d.add(key, fmt.Sprintf("node-cidr-mask-size%s=%d", suffix4, four), "network.subnetLength.ipv4")
	}
	if six != 0 && n.HasIPv6() {
		d.add(key, fmt.Sprintf("node-cidr-mask-size%s=%d", suffix6, six), "network.subnetLength.ipv6")
	}
}

// switches derives the keys of the typed switches.
func (d deriver) switches() {
	k := d.profile.Kubernetes
	k3s := k.Distribution == profiles.K3s
	off := func(b *bool) bool { return b != nil && !*b }
	if off(k.CoreDNS.Enabled) {
		name := "rke2-coredns"
		if k3s {
			name = "coredns"
		}
		d.add("disable", name, "kubernetes.coreDNS.enabled")
	}
	if len(k.CoreDNS.Addresses) > 0 {
		d.set("cluster-dns", anyList(k.CoreDNS.Addresses), "kubernetes.coreDNS.addresses")
	}
	if k.CoreDNS.Domain != "" {
		d.set("cluster-domain", k.CoreDNS.Domain, "kubernetes.coreDNS.domain")
	}
	switch {
	case k3s && off(k.Traefik):
		d.add("disable", "traefik", "kubernetes.traefik")
	case !k3s && k.Traefik != nil && *k.Traefik:
		d.set("ingress-controller", "traefik", "kubernetes.traefik")
	case !k3s && off(k.Traefik):
		d.set("ingress-controller", "none", "kubernetes.traefik")
	}
	switch {
	case k3s && off(k.ServiceLB):
		d.add("disable", "servicelb", "kubernetes.serviceLB")
	case !k3s && k.ServiceLB != nil:
		d.set("enable-servicelb", *k.ServiceLB, "kubernetes.serviceLB")
	}
	if k3s && off(k.NetworkPolicy) {
		d.set("disable-network-policy", true, "kubernetes.networkPolicy")
	}
	if off(k.KubeProxy) {
		d.set("disable-kube-proxy", true, "kubernetes.kubeProxy")
	}
	if !k3s && len(k.CNI) > 0 {
		d.set("cni", anyList(k.CNI), "kubernetes.cni")
	}
	if k3s && k.CustomCNI != "" {
		d.set("flannel-backend", "none", "kubernetes.customCNI")
		// Canal, Calico and Cilium enforce policies themselves.
		d.set("disable-network-policy", true, "kubernetes.customCNI")
	}
}

// place derives what follows from the node's entry in a cluster file.
func (d deriver) place(role Role, p Place) {
	d.doc = p.Doc
	d.set("node-name", p.Name, p.Path+".name")
	if len(p.Addresses) > 0 {
		d.set("node-ip", texts(p.Addresses), p.Path+".addresses")
	}
	if len(p.External) > 0 {
		d.set("node-external-ip", texts(p.External), p.Path+".externalAddresses")
	}
	for _, name := range slices.Sorted(maps.Keys(p.Labels)) {
		d.add("node-label", name+"="+p.Labels[name], p.Path+".labels")
	}
	for _, t := range p.Taints {
		d.add("node-taint", t, p.Path+".taints")
	}
	_, external := d.config["datastore-endpoint"]
	switch {
	case p.Join != "":
		d.set("server", p.Join, p.Path)
	case role == Server && p.Others && !external && d.profile.Kubernetes.Distribution == profiles.K3s:
		// Without it the first server keeps its state in sqlite, and no
		// other can join.
		d.set("cluster-init", true, p.Path)
	}
	if _, said := d.config["token"]; !said && p.TokenFile != "" {
		d.set("token-file", p.TokenFile, p.Path)
	}
}

// JoinURL is where the nodes of a distribution join a server.
func JoinURL(distribution, host string) string {
	return "https://" + net.JoinHostPort(host, strconv.Itoa(JoinPort(distribution)))
}

// Text is a setting as one text: "" when there is none, the words with commas
// for a list.
func (c Config) Text(key string) string {
	return strings.Join(Words(c[key].Value), ",")
}

// Bool tells whether a setting is true.
func (c Config) Bool(key string) bool {
	v, _ := c[key].Value.(bool)
	return v || c.Text(key) == "true"
}

// Has tells whether a key has a value.
func (c Config) Has(key string) bool { _, ok := c[key]; return ok }

// Words takes a value apart: the elements of a list, or the parts of a text
// between commas. Mappings have none.
func Words(v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, fmt.Sprint(e))
		}
		return all
	case map[string]any:
		return nil
	case string:
		var all []string
		for word := range strings.SplitSeq(v, ",") {
			if word = strings.TrimSpace(word); word != "" {
				all = append(all, word)
			}
		}
		return all
	}
	return []string{fmt.Sprint(v)}
}

// Arg returns the value of an argument in a list such as kubelet-arg, and its
// place.
func (c Config) Arg(key, name string) (value string, at Setting, found bool) {
	s := c[key]
	list, ok := s.Value.([]any)
	if !ok {
		// Arguments have commas of their own, so a text is one argument.
		if s.Value == nil {
			return "", s, false
		}
		list = []any{s.Value}
	}
	for i, e := range list {
		text := strings.TrimPrefix(fmt.Sprint(e), "--")
		if n, v, _ := strings.Cut(text, "="); n == name {
			at := s
			if _, isList := s.Value.([]any); isList && !s.Derived {
				at.Path = document.Index(s.Path, i)
			}
			return v, at, true
		}
	}
	return "", s, false
}

// Problem is a problem at a setting.
func (s Setting) Problem(message string) document.Problem {
	return s.Doc.Problem(s.Path, message)
}

// Element is the i-th word of a setting, for problems that point at it.
func (s Setting) Element(i int) Setting {
	if _, list := s.Value.([]any); list {
		s.Path = document.Index(s.Path, i)
	}
	return s
}

// texts writes prefixes or addresses as a list.
func texts[T fmt.Stringer](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v.String()
	}
	return all
}

// anyList is a list of texts as a value of a setting.
func anyList(words []string) []any {
	all := make([]any, len(words))
	for i, w := range words {
		all[i] = w
	}
	return all
}
