package importer

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"weft/document"
	"weft/profiles/cluster"
	"weft/profiles/kube"
	"weft/profiles/rancher"
)

// ownKeys are what only one node says: where several nodes are, they go to the
// cluster file.
var ownKeys = []string{"node-name", "node-ip", "node-external-ip", "node-label", "node-taint", "server"}

// own tells whether a machine says something that is its own.
func own(m *machine) bool {
	return slices.ContainsFunc(ownKeys, func(key string) bool { _, said := m.settings[key]; return said })
}

// withoutSecrets leaves out what is a secret.
func (t *translator) withoutSecrets(m *machine) {
	keys := kube.Keys(t.dist)
	for _, name := range slices.Clone(m.order) {
		key, _ := kube.Find(keys, name)
		s := m.settings[name]
		switch {
		case name == "token-file" && m.text(name) == rancher.TokenFile:
			// Where weft puts the token itself.
			t.tokenLeft = true
			m.drop(name)
		case !key.Secret:
		case name == "datastore-endpoint":
			u, err := url.Parse(m.text(name))
			if _, password := u.User.Password(); err == nil && !password && !strings.Contains(m.text(name), "@tcp(") {
				continue
			}
			t.say(at(s.keyAt, "the datastore's URL has a password, which is a secret and is not copied").WithRule("H7").
				WithFix("leave the password out of it; use datastore-certfile and datastore-keyfile"))
			m.drop(name)
		default:
			t.tokenLeft = t.tokenLeft || name == "token"
			t.tell(at(s.keyAt, fmt.Sprintf("the %s is a secret and is not copied", name)).WithRule("H7").
				WithFix("put it into the cluster's secrets file; it is handed over at first boot"))
			m.drop(name)
		}
	}
}

// nodes makes the cluster file.
func (t *translator) nodes(name string) *cluster.Cluster {
	c := &cluster.Cluster{Weft: cluster.Version, Name: name, Profile: "./" + name + ".yaml"}
	counts := map[kube.Role]int{}
	for i, m := range t.machines {
		counts[m.role]++
		n := cluster.Node{Role: m.role.String(), Config: map[string]any{}}
		path := document.Index("nodes", i)
		t.in[path] = origin{m.place, m.place}
		t.in[path+".role"] = t.in[path]
		n.Name = fmt.Sprintf("%s-%d", n.Role, counts[m.role])
		if s, said := m.get("node-name"); said {
			n.Name = t.hostname(s)
			t.in.from(path+".name", s)
		}
		n.Addresses = t.reached(m, "node-ip", path+".addresses")
		n.ExternalAddresses = t.reached(m, "node-external-ip", path+".externalAddresses")
		t.labels(m, &n, path)
		if s, said := m.settings["node-taint"]; said {
			n.Taints = m.words("node-taint")
			t.in.from(path+".taints", s)
			m.drop("node-taint")
		}
		c.Nodes = append(c.Nodes, n)
	}
	t.joins(c)
	return c
}

// hostname is a node's name; K3s writes it in lower case (k3s
// pkg/agent/config/config.go), and so does weft.
func (t *translator) hostname(s setting) string {
	name := fmt.Sprint(s.value)
	lower := strings.ToLower(name)
	if lower != name {
		t.tell(s.problem("names of nodes are in lower case").WithRule("F1").WithFix("nothing is to do: the cluster file says " + lower))
	}
	return lower
}

// reached carries addresses of a node; what are none stay where they are, for
// the rules.
func (t *translator) reached(m *machine, key, path string) []netip.Addr {
	all, good := addresses(m.words(key))
	if !good {
		return nil
	}
	s, _ := m.get(key)
	t.in.from(path, s)
	return all
}

// labels carries the labels of a node.
func (t *translator) labels(m *machine, n *cluster.Node, path string) {
	s, said := m.settings["node-label"]
	if !said {
		return
	}
	all := map[string]string{}
	list, is := s.value.([]any)
	for _, e := range list {
		name, value, both := strings.Cut(fmt.Sprint(e), "=")
		if !both || name == "" || strings.Contains(value, ",") {
			return
		}
		all[name] = value
	}
	if is {
		m.drop("node-label")
		n.Labels = all
		t.in.from(path+".labels", s)
	}
}

// joins works out which server begins the cluster, and where the others join.
func (t *translator) joins(c *cluster.Cluster) {
	var begin []int
	for i, m := range t.machines {
		if _, joins := m.settings["server"]; m.role == kube.Server && !joins {
			begin = append(begin, i)
		}
	}
	if len(begin) > 1 {
		// One of them says so itself; or they share a datastore, and any may.
		first := slices.IndexFunc(begin, func(i int) bool { return t.machines[i].text("cluster-init") == "true" })
		last := -1
		for k, i := range begin {
			if t.machines[i].text("cluster-init") == "true" {
				last = k
			}
		}
		switch {
		case first >= 0 && first == last:
			begin = []int{begin[first]}
		case !slices.ContainsFunc(begin, func(i int) bool { return t.machines[i].text("datastore-endpoint") == "" }):
			begin = begin[:1]
		}
	}
	for _, i := range begin {
		c.Nodes[i].Bootstrap = len(t.servers) > 1
		t.in[document.Index("nodes", i)+".bootstrap"] = origin{t.machines[i].place, t.machines[i].place}
		if len(t.servers) > 1 && t.machines[i].text("cluster-init") == "true" {
			t.machines[i].drop("cluster-init")
		}
	}
	for i, m := range t.machines {
		if s, said := m.settings["server"]; said && t.join(c, begin, s, i) {
			m.drop("server")
		}
	}
}

// join carries the URL that a node joins at; false when it stays with the
// node, for the rules.
func (t *translator) join(c *cluster.Cluster, begin []int, s setting, i int) bool {
	u, err := url.Parse(fmt.Sprint(s.value))
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() != strconv.Itoa(kube.JoinPort(t.dist)) || strings.Count(u.Host, ":") > 1 && !strings.HasPrefix(u.Host, "[") {
		return false
	}
	host := u.Hostname()
	for k, n := range c.Nodes {
		if n.Role != cluster.Server || k == i {
			continue
		}
		a, _ := netip.ParseAddr(host)
		if n.Name == host || slices.Contains(n.Addresses, a) || slices.Contains(n.ExternalAddresses, a) {
			// Any server will do; weft uses the one that begins the cluster,
			// at its first address.
			if len(begin) == 1 && (k != begin[0] || len(n.Addresses) > 0) {
				return true
			}
		}
	}
	if c.Address == "" || c.Address == host {
		c.Address = host
		t.in["address"] = origin{s.at, s.keyAt}
		return true
	}
	return false
}

// rest carries all other keys: what all nodes that take it say alike goes to
// the profile, the rest to the nodes.
func (t *translator) rest(c *cluster.Cluster) {
	keys := kube.Keys(t.dist)
	k := &t.profile.Kubernetes
	for i, m := range t.machines {
		for _, name := range slices.Clone(m.order) {
			s, said := m.settings[name]
			if !said {
				continue
			}
			key, _ := kube.Find(keys, name)
			to, path := k.Server, "kubernetes.server"
			group := t.role(m.role)
			switch {
			case key.Roles == kube.Every && t.alike(name, s, t.machines):
				group, to, path = t.machines, k.Config, "kubernetes.config"
			case t.alike(name, s, group):
				if m.role == kube.Agent {
					to, path = k.Agent, "kubernetes.agent"
				}
			case c != nil:
				group, to, path = []*machine{m}, c.Nodes[i].Config, document.Index("nodes", i)+".config"
				t.in.from(document.Join(path, name), s)
			}
			to[name] = s.value
			if c == nil || !strings.HasPrefix(path, "nodes[") {
				t.where.from(document.Join(path, name), s)
			}
			for _, other := range group {
				other.drop(name)
			}
		}
	}
}

// role are the machines of a role.
func (t *translator) role(r kube.Role) []*machine {
	var all []*machine
	for _, m := range t.machines {
		if m.role == r {
			all = append(all, m)
		}
	}
	return all
}

// alike tells whether all machines say the same of a key.
func (t *translator) alike(name string, s setting, all []*machine) bool {
	if slices.Contains(ownKeys, name) && len(all) > 1 {
		return false
	}
	return !slices.ContainsFunc(all, func(m *machine) bool {
		other, said := m.settings[name]
		return !said || !reflect.DeepEqual(other.value, s.value)
	})
}

// sorted are the keys of a map, in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
