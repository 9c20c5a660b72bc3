package importer

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/kube"
)

// An origin is where a value of the files that are made comes from.
type origin struct {
	place, key document.Problem
}

// origins are those of one file, by path.
type origins map[string]origin

// from notes that the value of a path is what a setting says.
func (o origins) from(path string, s setting) {
	o[path] = origin{s.at, s.keyAt}
	if list, is := s.value.([]any); is {
		for i := range list {
			o[document.Index(path, i)] = origin{s.word(i), s.keyAt}
		}
	}
}

// A translator says as a profile what machines say as config.yaml.
type translator struct {
	*importer
	profile profiles.Profile
	// where are the places of the profile's values, in those of the cluster's.
	where, in origins
	machines  []*machine
	servers   []*machine
}

// common takes a setting that counts for the whole cluster from its servers.
// What servers say differently is refused: K3s compares such settings, and a
// server whose differ never joins.
func (t *translator) common(key string) (setting, bool) {
	if len(t.servers) == 0 {
		return setting{}, false
	}
	want, given := t.servers[0].settings[key]
	one := t.servers[0].text(key)
	for _, m := range t.servers {
		s, said := m.get(key)
		if two := strings.Join(kube.Words(s.value), ","); two != one {
			if !said {
				s = want
			}
			t.say(s.problem(fmt.Sprintf("%s is %s on one server and %s on another", key, orNothing(one), orNothing(two))).
				WithRule("A4").WithFix("set it once for all servers; the profile has one place for it"))
		}
	}
	return want, given
}

// same tells whether two servers say the same of a key.
func (t *translator) same(key string, a, b *machine) bool {
	return a == b || a.text(key) == b.text(key)
}

func orNothing(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}

// network carries the ranges, and what belongs to them.
func (t *translator) network() {
	n := &t.profile.Network
	pods, podsSaid := t.common("cluster-cidr")
	services, servicesSaid := t.common("service-cidr")
	if podsSaid {
		n.Pods = t.prefixes(pods)
		t.where.from("network.pods", pods)
	}
	if servicesSaid {
		n.Services = t.prefixes(services)
		t.where.from("network.services", services)
	}
	if len(t.servers) == 0 {
		return
	}
	// What one of the two says alone, the distribution fills up with its own
	// default (k3s pkg/cli/server/server.go); both are written down, because
	// they cannot change any more.
	switch only6 := len(n.Pods) == 1 && n.Pods[0].Addr().Is6() || len(n.Services) == 1 && n.Services[0].Addr().Is6(); {
	case !podsSaid && !servicesSaid, !podsSaid && !only6:
		n.Pods = []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}
	case !podsSaid:
		n.Pods = []netip.Prefix{netip.MustParsePrefix("fd00:42::/56")}
	}
	if !servicesSaid && len(n.Pods) > 0 {
		n.Services = []netip.Prefix{netip.MustParsePrefix("10.43.0.0/16")}
		if n.Pods[0].Addr().Is6() && len(n.Pods) == 1 {
			n.Services = []netip.Prefix{netip.MustParsePrefix("fd00:43::/112")}
		}
		t.where["network.services"] = origin{pods.at, pods.keyAt}
	}
	t.masks()
	t.usual()
	if t.dist != profiles.K3s {
		return
	}
	if s, said := t.common("flannel-ipv6-masq"); said && s.value == true {
		n.Masquerade.IPv6 = &yes
		t.where.from("network.masquerade.ipv6", s)
	} else if said && s.value != false {
		t.profile.Kubernetes.Server["flannel-ipv6-masq"] = s.value
		t.where.from("kubernetes.server.flannel-ipv6-masq", s)
	}
	if s, said := t.common("flannel-external-ip"); said && s.value == true {
		n.ExternalIP = true
		t.where.from("network.externalIP", s)
	} else if said && s.value != false {
		t.profile.Kubernetes.Server["flannel-external-ip"] = s.value
		t.where.from("kubernetes.server.flannel-external-ip", s)
	}
	t.backend()
}

var yes, no = true, false

// masks carries the length of a node's pod range, which stands among the
// arguments of the controller manager.
func (t *translator) masks() {
	const key = "kube-controller-manager-arg"
	for _, m := range t.servers {
		s, said := m.settings[key]
		list, _ := s.value.([]any)
		if !said || !slices.ContainsFunc(list, isMask) {
			continue
		}
		var rest []any
		var words []document.Problem
		for i, e := range list {
			if !isMask(e) || !t.mask(fmt.Sprint(e), s.word(i)) {
				rest, words = append(rest, e), append(words, s.word(i))
			}
		}
		s.value, s.words = rest, words
		m.settings[key] = s
		if len(rest) == 0 {
			m.drop(key)
		}
	}
}

// usual leaves out lengths that count anyway.
func (t *translator) usual() {
	n := &t.profile.Network
	without := t.profile
	without.Network.SubnetLength = profiles.SubnetLength{}
	usual := without.WithDefaults().Network.SubnetLength
	if n.SubnetLength.IPv4 == usual.IPv4 {
		n.SubnetLength.IPv4 = 0
	}
	if n.SubnetLength.IPv6 == usual.IPv6 {
		n.SubnetLength.IPv6 = 0
	}
}

func isMask(e any) bool {
	return strings.HasPrefix(strings.TrimPrefix(fmt.Sprint(e), "--"), "node-cidr-mask-size")
}

// mask carries one argument; false when it stays where it is, for the rules.
func (t *translator) mask(arg string, place document.Problem) bool {
	name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
	bits, err := strconv.Atoi(value)
	n := &t.profile.Network
	four, six := n.HasIPv4(), n.HasIPv6()
	if err != nil || four && six && name == "node-cidr-mask-size" {
		return false
	}
	if name != "node-cidr-mask-size" && four != six {
		t.tell(at(place, fmt.Sprintf("%s is refused by Kubernetes where there is one family", name)).WithRule("C5").
			WithFix("nothing is to do: the profile says network.subnetLength, and weft writes node-cidr-mask-size"))
	}
	to, path := &n.SubnetLength.IPv4, "network.subnetLength.ipv4"
	if name == "node-cidr-mask-size-ipv6" || name == "node-cidr-mask-size" && !four {
		to, path = &n.SubnetLength.IPv6, "network.subnetLength.ipv6"
	}
	if *to != 0 && *to != bits {
		t.say(at(place, fmt.Sprintf("%s is %d on another server", name, *to)).WithRule("A4").WithFix("give all servers the same"))
		return true
	}
	*to = bits
	t.where[path] = origin{place, place}
	return true
}

// backend carries K3s's flannel backend; a legacy one becomes the one that
// took its place.
func (t *translator) backend() {
	s, said := t.common("flannel-backend")
	if !said {
		return
	}
	text, is := s.value.(string)
	if name, options, more := strings.Cut(text, "="); is && more {
		t.say(s.problem(fmt.Sprintf("the options of backend %s are gone since Kubernetes 1.26", name)).WithRule("D1").
			WithNote(options).WithFix("put them into a flannel-conf file, or leave them out"))
		text = name
	}
	release := t.profile.Kubernetes.Release()
	if (text == "ipsec" || text == "wireguard") && !release.BeforeLine("1.21.11", "1.22.8", "1.23.6") {
		t.legacy = text
		t.tell(s.problem(fmt.Sprintf("backend %s is legacy and becomes wireguard-native", text)).WithRule("D1").
			WithNote(fmt.Sprintf("K3s dropped it in %s", map[string]string{"ipsec": "1.27", "wireguard": "1.26"}[text])).
			WithFix("follow the steps printed with the profile; pods cannot reach each other while nodes differ"))
		text = "wireguard-native"
	}
	if is {
		s.value = text
	}
	t.profile.Kubernetes.Server["flannel-backend"] = s.value
	t.where.from("kubernetes.server.flannel-backend", s)
}

// switches carries what the profile has a switch for.
func (t *translator) switches() {
	k := &t.profile.Kubernetes
	if s, said := t.common("cluster-dns"); said {
		k.CoreDNS.Addresses = kube.Words(s.value)
		t.where.from("kubernetes.coreDNS.addresses", s)
	}
	if s, said := t.common("cluster-domain"); said {
		k.CoreDNS.Domain = fmt.Sprint(s.value)
		t.where.from("kubernetes.coreDNS.domain", s)
	}
	t.off("disable-kube-proxy", "kubernetes.kubeProxy", &k.KubeProxy)
	if t.dist == profiles.K3s {
		t.off("disable-network-policy", "kubernetes.networkPolicy", &k.NetworkPolicy)
	} else {
		t.rke2()
	}
	t.disabled()
}

// off carries a key that turns something off.
func (t *translator) off(key, path string, to **bool) {
	s, said := t.common(key)
	switch {
	case !said || s.value == false:
	case s.value == true:
		*to = &no
		t.where.from(path, s)
	default:
		t.profile.Kubernetes.Server[key] = s.value
		t.where.from("kubernetes.server."+key, s)
	}
}

// rke2 carries the keys of RKE2 that the profile has a place for.
func (t *translator) rke2() {
	k := &t.profile.Kubernetes
	if s, said := t.common("cni"); said {
		k.CNI = kube.Words(s.value)
		t.where.from("kubernetes.cni", s)
	}
	if s, said := t.common("ingress-controller"); said {
		switch words := kube.Words(s.value); {
		case slices.Equal(words, []string{"none"}):
			k.Traefik = &no
			t.where.from("kubernetes.traefik", s)
		case slices.Equal(words, []string{"traefik"}):
			k.Traefik = &yes
			t.where.from("kubernetes.traefik", s)
		default:
			k.Server["ingress-controller"] = s.value
			t.where.from("kubernetes.server.ingress-controller", s)
		}
	}
	if s, said := t.common("enable-servicelb"); said {
		if b, is := s.value.(bool); is {
			k.ServiceLB = &b
			t.where.from("kubernetes.serviceLB", s)
		} else {
			k.Server["enable-servicelb"] = s.value
			t.where.from("kubernetes.server.enable-servicelb", s)
		}
	}
}

// disabled carries the components that all servers leave out. Where servers
// differ, each keeps its list.
func (t *translator) disabled() {
	if len(t.servers) == 0 || slices.ContainsFunc(t.servers, func(m *machine) bool { return !t.same("disable", t.servers[0], m) }) {
		return
	}
	s, said := t.common("disable")
	if !said {
		return
	}
	k := &t.profile.Kubernetes
	list, is := s.value.([]any)
	var rest []any
	var words []document.Problem
	for i, e := range list {
		one := setting{value: e, at: s.word(i), keyAt: s.keyAt}
		switch {
		case e == "coredns" && t.dist == profiles.K3s, e == "rke2-coredns" && t.dist == profiles.RKE2:
			k.CoreDNS.Enabled = &no
			t.where.from("kubernetes.coreDNS.enabled", one)
		case e == "traefik" && t.dist == profiles.K3s:
			k.Traefik = &no
			t.where.from("kubernetes.traefik", one)
		case e == "servicelb" && t.dist == profiles.K3s:
			k.ServiceLB = &no
			t.where.from("kubernetes.serviceLB", one)
		default:
			rest, words = append(rest, e), append(words, s.word(i))
		}
	}
	if is && len(rest) == 0 {
		return
	}
	if is {
		s.value, s.words = rest, words
	}
	k.Server["disable"] = s.value
	t.where.from("kubernetes.server.disable", s)
}

// manifests carries the values of charts. Without any config.yaml or command,
// the chart of a network plugin tells which plugin is meant.
func (t *translator) manifests(alone bool) {
	k := &t.profile.Kubernetes
	for _, c := range t.charts {
		if _, twice := k.Charts[c.name]; twice {
			t.say(at(c.place, fmt.Sprintf("there are two HelmChartConfigs for %s", c.name)).WithRule("G6").WithFix("put their values into one"))
			continue
		}
		if c.custom {
			k.CustomCNI = c.name
			t.where["kubernetes.customCNI"] = origin{c.place, c.place}
			t.implied()
		}
		if len(c.values) > 0 {
			k.Charts[c.name] = c.values
		}
		path := document.Join("kubernetes.charts", c.name)
		t.where[path] = origin{c.place, c.place}
		t.inside(c, c.values, path, "")
		plugin, is := strings.CutPrefix(c.name, "rke2-")
		if alone && is && len(k.CNI) == 0 && slices.Contains([]string{"calico", "cilium", "flannel", "multus"}, plugin) {
			k.CNI = []string{plugin}
			if plugin == "multus" {
				k.CNI = []string{plugin, "canal"}
			}
			t.where["kubernetes.cni"] = origin{c.place, c.place}
			t.where[document.Index("kubernetes.cni", 0)] = origin{c.place, c.place}
			t.tell(at(c.place, fmt.Sprintf("no config.yaml is given: %s is taken for the network plugin", plugin)).WithRule("G6").
				WithFix("import config.yaml too, or start from cni: " + plugin))
		}
	}
}

// implied leaves out what a network plugin on K3s implies.
func (t *translator) implied() {
	k := &t.profile.Kubernetes
	if k.Server["flannel-backend"] == "none" {
		delete(k.Server, "flannel-backend")
	}
	if k.NetworkPolicy != nil && !*k.NetworkPolicy {
		k.NetworkPolicy = nil
	}
}

// inside notes the places of the values of a chart.
func (t *translator) inside(c chart, v any, path, own string) {
	if own != "" {
		t.where[path] = origin{c.doc.Problem(own, ""), c.doc.KeyProblem(own, "")}
	}
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			t.inside(c, e, document.Join(path, key), document.Join(own, key))
		}
	case []any:
		for i, e := range v {
			t.inside(c, e, document.Index(path, i), document.Index(own, i))
		}
	}
}
