package rules

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/kube"
)

// keyRules are the rules about the keys of config.yaml.
func keyRules() []Rule {
	return []Rule{
		{
			ID: "A1", Title: "every key is known to the distribution, the role and the version",
			Why:    "K3s and RKE2 skip a key they do not know, with one line in the log: a misspelt cluster-cidr gives a cluster of one family, for ever.",
			Source: "k3s pkg/configfilearg/parser.go; run with a misspelt key: \"Unknown flag found in config.yaml, skipping\"",
			Bad:    Example{Profile: "kubernetes:\n  server:\n    flanel-backend: host-gw\n"},
			Good:   Example{Profile: "kubernetes:\n  server:\n    flannel-backend: host-gw\n"},
			node:   unknownKeys,
		},
		{
			ID: "A2", Title: "keys of K3s are not used with RKE2",
			Why:    "RKE2 drops K3s's flannel-*, cluster-init and other keys, so that with its config.yaml they are skipped.",
			Source: "rke2 pkg/cli/cmds/server.go (dropFlag)",
			Bad:    Example{Profile: "kubernetes:\n  distribution: rke2\n  server:\n    flannel-backend: wireguard-native\n"},
			Good:   Example{Profile: "kubernetes:\n  distribution: rke2\n  cni: [canal]\n  charts:\n    rke2-canal:\n      flannel: {backend: wireguard}\n"},
			node:   foreignKeys,
		},
		{
			ID: "A3", Title: "keys for servers are not given to agents, nor those for agents to servers",
			Why:    "A node skips keys that its role does not take; the network is what the servers say.",
			Source: "k3s pkg/configfilearg/parser.go; K3s documentation, Basic Network Options",
			Bad:    Example{Profile: "kubernetes:\n  agent:\n    flannel-backend: host-gw\n"},
			Good:   Example{Profile: "kubernetes:\n  agent:\n    flannel-iface: eth0\n"},
			node:   keysOfOtherRoles,
		},
		{
			ID: "A4", Title: "critical keys are the same on all servers",
			Why:    "A server whose network settings differ is refused: \"critical configuration value mismatch between servers\".",
			Source: "k3s pkg/cluster/bootstrap.go; pkg/daemons/config/types.go (CriticalControlArgs)",
			Bad:    Example{Cluster: threeServers("    config: {egress-selector-mode: cluster}\n")},
			Good:   Example{Cluster: threeServers("    config: {node-label: [\"disk=ssd\"]}\n")},
			whole:  differingServers,
		},
		{
			ID: "A5", Title: "every value has the type its key asks for", Severity: "error; warning for a component to disable that is not there",
			Why:    "K3s fails late in its start, or takes another meaning: \"disable: true\" disables a component called true.",
			Source: "k3s pkg/configfilearg/parser.go; pkg/cli/cmds",
			Bad:    Example{Profile: "kubernetes:\n  server:\n    disable: true\n"},
			Good:   Example{Profile: "kubernetes:\n  server:\n    disable: [traefik]\n"},
			node:   wrongTypes,
		},
		{
			ID: "A12", Title: "what the profile or the cluster says is not said again in config.yaml's keys",
			Why:    "Of two places that say one thing, one is out of date some day; the pod ranges also make the firewall and the routes.",
			Source: "weft's own format",
			Bad:    Example{Profile: "kubernetes:\n  server:\n    cluster-cidr: 10.50.0.0/16\n"},
			Good:   Example{Profile: "network:\n  pods: [10.50.0.0/16]\n  services: [10.43.0.0/16]\n"},
			node:   saidTwice,
		},
		{
			ID: ruleOverride, Title: "an override names a rule that is broken, and says why it does not hold",
			Severity: "error; warning when nothing breaks the rule",
			Why:      "An override without its reason, or one left behind, hides the next fault.",
			Source:   "weft's own format",
			Bad:      Example{Profile: "overrides:\n  - {rule: H99, reason: it is so}\n"},
			Good:     Example{Profile: "kubernetes:\n  server: {flannel-backend: none}\noverrides:\n  - {rule: D9, reason: the plugin is installed by GitOps}\n"},
		},
	}
}

// A givenKey is one that a file gives a node, and may.
type givenKey struct {
	name string
	kube.Setting
}

// given lists the keys that files give the node, sorted.
func (n *Node) given() []givenKey {
	var all []givenKey
	for _, name := range slices.Sorted(maps.Keys(n.Config)) {
		if n.said(name) {
			all = append(all, givenKey{name, n.Config[name]})
		}
	}
	return all
}

// keyProblem points at the key of a setting.
func keyProblem(s kube.Setting, message string) document.Problem {
	return s.Doc.KeyProblem(s.Path, message)
}

func unknownKeys(n *Node) document.Problems {
	var found document.Problems
	if !n.on() {
		return strayConfig(n)
	}
	dist := n.Profile.Kubernetes.Distribution
	if !slices.Contains([]string{profiles.K3s, profiles.RKE2}, dist) {
		p := n.Doc.Problem("kubernetes.distribution", fmt.Sprintf("there is no distribution %q", dist))
		return one(p.WithFix(document.DidYouMean(dist, []string{profiles.K3s, profiles.RKE2, profiles.NoKubernetes})))
	}
	if _, err := profiles.ParseRelease(n.Profile.Kubernetes.Version); err != nil {
		p := n.Doc.Problem("kubernetes.version", err.Error())
		if n.Subject.Cluster != nil && n.Subject.Cluster.KubernetesVersion != "" {
			p = n.Subject.Doc.Problem("kubernetesVersion", err.Error())
		}
		found = append(found, p.WithFix("write it like the release, such as v1.33.1+k3s1").WithRule("A5"))
	}
	for _, g := range n.given() {
		key, known := kube.Find(n.Keys, g.name)
		switch {
		case known && key.In(n.Release):
		case known && key.Since != "" && n.Release.Before(key.Since):
			found = append(found, keyProblem(g.Setting, fmt.Sprintf("%s is there from Kubernetes %s on, not in %s", g.name, key.Since, n.Release)).
				WithFix("remove it, or use a newer version"))
		case known:
			found = append(found, keyProblem(g.Setting, fmt.Sprintf("%s is gone since Kubernetes %s", g.name, key.Until)).
				WithFix("remove it"))
		case n.rke2() && inK3s(g.name):
			// Rule A2.
		default:
			found = append(found, misspelt(n, g))
		}
	}
	return found
}

// misspelt is a problem with a key that no distribution knows.
func misspelt(n *Node, g givenKey) document.Problem {
	p := keyProblem(g.Setting, fmt.Sprintf("unknown key %s; %s would skip it", g.name, distName(n)))
	if short, cut := strings.CutSuffix(g.name, "+"); cut {
		return p.WithFix("write " + short + ": the lists of the profile and of the node are put together here by hand")
	}
	names := kube.Names(n.Keys, kube.Every, n.Release)
	if near := document.Closest(strings.TrimLeft(g.name, "-"), names); near != "" {
		return p.WithFix("did you mean " + near + "?")
	}
	return p.WithFix("see the distribution's reference for what it takes")
}

// strayConfig refuses settings for a Kubernetes that is not there.
func strayConfig(n *Node) document.Problems {
	k := n.Profile.Kubernetes
	for _, at := range []struct {
		path string
		some bool
	}{
		{"kubernetes.config", len(k.Config) > 0}, {"kubernetes.server", len(k.Server) > 0},
		{"kubernetes.agent", len(k.Agent) > 0}, {"kubernetes.cni", len(k.CNI) > 0},
		{"kubernetes.charts", len(k.Charts) > 0}, {"kubernetes.customCNI", k.CustomCNI != ""},
	} {
		if at.some {
			return one(n.Doc.KeyProblem(at.path, "there is no Kubernetes that would read this").
				WithFix("write kubernetes.distribution: k3s or rke2, or remove it"))
		}
	}
	return nil
}

// distName is the distribution as people write it.
func distName(n *Node) string {
	if n.rke2() {
		return "RKE2"
	}
	return "K3s"
}

// inK3s tells whether K3s has a key.
func inK3s(name string) bool {
	_, known := kube.Find(kube.Keys(profiles.K3s), name)
	return known
}

func foreignKeys(n *Node) document.Problems {
	var found document.Problems
	if !n.rke2() {
		return nil
	}
	for _, g := range n.given() {
		if _, known := kube.Find(n.Keys, g.name); known || !inK3s(g.name) {
			continue
		}
		fix := "remove it"
		switch {
		case strings.HasPrefix(g.name, "flannel"):
			fix = "choose the plugin with kubernetes.cni and set it up with kubernetes.charts"
		case g.name == "cluster-init":
			fix = "remove it; RKE2 always has etcd"
		case g.name == "disable-network-policy":
			fix = "remove it; the network plugin enforces policies"
		}
		found = append(found, keyProblem(g.Setting, fmt.Sprintf("%s is a key of K3s; RKE2 would skip it", g.name)).WithFix(fix))
	}
	return found
}

func keysOfOtherRoles(n *Node) document.Problems {
	other, article, section := kube.Server, "an agent", "kubernetes.server"
	if n.server() {
		other, article, section = kube.Agent, "a server", "kubernetes.agent"
	}
	var found document.Problems
	for _, g := range n.given() {
		if key, known := kube.Find(n.Keys, g.name); known && key.Roles == other && n.on() {
			found = append(found, keyProblem(g.Setting, fmt.Sprintf("%s is for %ss; %s skips it", g.name, other, article)).
				WithFix("move it to "+section))
		}
	}
	return found
}

func differingServers(s *Subject) document.Problems {
	servers, first := s.servers()
	if s.Cluster == nil || len(servers) < 2 {
		return nil
	}
	if first == nil {
		first = servers[0]
	}
	var found document.Problems
	told := map[document.Position]bool{}
	for _, n := range servers {
		if n == first || n.Profile.Kubernetes.Distribution != first.Profile.Kubernetes.Distribution {
			continue
		}
		for _, key := range first.Keys {
			a, b := valueOf(first, key), valueOf(n, key)
			if !key.Critical && key.Name != "disable" || a == b {
				continue
			}
			p := n.inCluster("profile", differs(key, b, a, first))
			if n.Config.Has(key.Name) {
				p = n.Config[key.Name].Problem(p.Message)
			} else if first.Config.Has(key.Name) {
				p = first.Config[key.Name].Problem(differs(key, a, b, n))
			}
			if told[p.Position()] {
				continue
			}
			told[p.Position()] = true
			found = append(found, p.WithFix("set it once for all servers, in kubernetes.server of the profile"))
		}
	}
	return found
}

// differs says that a key has one value here and another there. Secrets are
// not shown.
func differs(key kube.Key, here, there string, on *Node) string {
	if key.Secret {
		return fmt.Sprintf("%s is another here than on %s", key.Name, on.label())
	}
	return fmt.Sprintf("%s is %s here and %s on %s", key.Name, orNothing(here), orNothing(there), on.label())
}

// valueOf is what counts for a key on a node.
func valueOf(n *Node, key kube.Key) string {
	if key.Name == "disable" {
		// Of the components, all servers need only agree on this one (K3s
		// documentation, Critical Configuration Values).
		if n.k3s() && slices.Contains(kube.Words(n.Config[key.Name].Value), "servicelb") {
			return "servicelb"
		}
		return ""
	}
	if n.Config.Has(key.Name) {
		return n.Config.Text(key.Name)
	}
	if key.Kind == kube.Bool && key.Default == "" {
		return "false"
	}
	return key.Default
}

func orNothing(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}

func wrongTypes(n *Node) document.Problems {
	var found document.Problems
	for _, g := range n.given() {
		key, known := kube.Find(n.Keys, g.name)
		if !known {
			continue
		}
		if fix, bad := badValue(key, g.Value); bad {
			at := g.Problem(fmt.Sprintf("%s must be %s", g.name, key.Kind))
			if key.Kind != kube.List && key.Kind != kube.Args {
				if _, list := g.Value.([]any); list {
					at = keyProblem(g.Setting, at.Message)
				}
			}
			found = append(found, at.WithFix(fix))
		} else if len(key.Values) > 0 && !slices.Contains(key.Values, fmt.Sprint(g.Value)) {
			found = append(found, g.Problem(fmt.Sprintf("%s takes no %v", g.name, g.Value)).
				WithFix(document.DidYouMean(fmt.Sprint(g.Value), key.Values)))
		} else {
			found = append(found, badWords(n, g)...)
		}
	}
	return found
}

// badValue tells whether a value is not of the kind of its key, and what to
// write.
func badValue(key kube.Key, v any) (fix string, bad bool) {
	switch v := v.(type) {
	case nil:
		return "give it a value, or remove it to have the default", true
	case map[string]any:
		return "its value is no mapping", true
	case []any:
		if key.Kind != kube.List && key.Kind != kube.Args {
			return "write one value, without - or brackets", true
		}
		for _, e := range v {
			switch e.(type) {
			case nil, bool, []any, map[string]any:
				return "each element is a text; put those that hold a colon in quotes", true
			}
		}
	case bool:
		if key.Kind != kube.Bool {
			return "write the names it is about, or remove it", true
		}
	case int:
		if key.Kind == kube.Bool {
			return "write true or false", true
		}
	case string:
		switch _, err := strconv.Atoi(v); {
		case key.Kind == kube.Bool && (v == "true" || v == "false"):
			return "write " + v + ", without quotes", true
		case key.Kind == kube.Bool:
			return "write true or false", true
		case key.Kind == kube.Int && err == nil:
			return "write " + v + ", without quotes", true
		case key.Kind == kube.Int:
			return "write a number", true
		}
	}
	return "", false
}

// elsewhere are keys whose place is in the profile or cluster file, with the
// place and what to write there.
var elsewhere = map[string]string{
	"cluster-cidr": "network.pods",
	"service-cidr": "network.services",
}

func saidTwice(n *Node) document.Problems {
	var found document.Problems
	for _, g := range n.given() {
		if place, there := elsewhere[g.name]; there && n.on() {
			found = append(found, keyProblem(g.Setting, fmt.Sprintf("%s is said in %s", g.name, place)).
				WithFix(fmt.Sprintf("write %s: [%s] there, and remove this", place[strings.LastIndexByte(place, '.')+1:], strings.Join(kube.Words(g.Value), ", "))))
		}
	}
	for _, s := range switchedKeys(n) {
		if n.said(s.key) && n.Doc.Has(s.path) && fmt.Sprint(n.Config[s.key].Value) != s.value {
			found = append(found, n.Config[s.key].Problem(fmt.Sprintf("%s and %s say different things", s.key, s.path)).
				WithFix("remove one of them"))
		}
	}
	return found
}

// A switchedKey is a key that a typed switch sets too.
type switchedKey struct{ key, path, value string }

// switchedKeys lists the keys of the switches that are set.
func switchedKeys(n *Node) []switchedKey {
	var all []switchedKey
	k := n.Profile.Kubernetes
	if !n.server() {
		return nil
	}
	if k.KubeProxy != nil {
		all = append(all, switchedKey{"disable-kube-proxy", "kubernetes.kubeProxy", fmt.Sprint(!*k.KubeProxy)})
	}
	if k.NetworkPolicy != nil && n.k3s() {
		all = append(all, switchedKey{"disable-network-policy", "kubernetes.networkPolicy", fmt.Sprint(!*k.NetworkPolicy)})
	}
	if k.CoreDNS.Domain != "" {
		all = append(all, switchedKey{"cluster-domain", "kubernetes.coreDNS.domain", k.CoreDNS.Domain})
	}
	return all
}

// threeServers is the example of a cluster with three servers, the last with
// something more.
func threeServers(more string) string {
	text := "nodes:\n"
	for i, boot := range []string{", bootstrap: true", "", ""} {
		text += fmt.Sprintf("  - name: node-%d\n    role: server\n    addresses: [192.168.1.1%d]\n", i+1, i+1)
		if boot != "" {
			text += "    bootstrap: true\n"
		}
	}
	return text + more
}
