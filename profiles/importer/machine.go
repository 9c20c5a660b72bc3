package importer

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles/cluster"
	"weft/profiles/kube"
)

// A machine is one node as its files set it up.
type machine struct {
	place document.Problem
	role  kube.Role
	// settings are what counts in the end, by key, and order the keys as they
	// were met.
	settings map[string]setting
	order    []string
	version  setting
}

// get returns a setting and takes it out: somebody carries it.
func (m *machine) get(key string) (setting, bool) {
	s, said := m.settings[key]
	if said {
		m.drop(key)
	}
	return s, said
}

func (m *machine) drop(key string) {
	delete(m.settings, key)
	m.order = slices.DeleteFunc(m.order, func(k string) bool { return k == key })
}

// words are those of a setting, without taking it out.
func (m *machine) words(key string) []string { return kube.Words(m.settings[key].value) }

func (m *machine) text(key string) string { return strings.Join(m.words(key), ",") }

// machines puts together what belongs to one node: a config.yaml with its
// drop-ins, and the command in the same folder. One config.yaml and one
// command belong together wherever they are, unless they cannot.
func (im *importer) machines() []*machine {
	type group struct {
		configs  []config
		commands []command
	}
	var groups []*group
	byFile := map[string]*group{}
	byFolder := map[string][]*group{}
	slices.SortStableFunc(im.configs, func(a, b config) int {
		if a.dropIn != b.dropIn {
			if b.dropIn {
				return -1
			}
			return 1
		}
		if a.dropIn {
			// K3s reads drop-ins in the order of their names.
			return cmp.Compare(filepath.Base(a.name), filepath.Base(b.name))
		}
		return 0
	})
	for _, c := range im.configs {
		id := c.folder + "\x00" + c.stem
		g := byFile[id]
		if g == nil || !c.dropIn {
			g = &group{}
			byFile[id] = g
			groups = append(groups, g)
			byFolder[c.folder] = append(byFolder[c.folder], g)
		}
		g.configs = append(g.configs, c)
	}
	perFolder := map[string]int{}
	for _, c := range im.commands {
		perFolder[c.folder]++
	}
	together := len(groups) == 1 && len(im.commands) == 1 && !im.apart(groups[0].configs, im.commands[0])
	for _, c := range im.commands {
		beside := byFolder[c.folder]
		switch {
		case together:
			groups[0].commands = append(groups[0].commands, c)
		case len(beside) == 1 && perFolder[c.folder] == 1:
			beside[0].commands = append(beside[0].commands, c)
		default:
			groups = append(groups, &group{commands: []command{c}})
		}
	}
	if len(groups) > cluster.MaxNodes {
		im.say(document.Problem{Message: fmt.Sprintf("%d nodes are too many", len(groups))}.WithFix(fmt.Sprintf("import at most %d at once", cluster.MaxNodes)))
		return nil
	}
	var all []*machine
	for _, g := range groups {
		m := &machine{settings: map[string]setting{}}
		for _, c := range g.commands {
			m.place, m.role = c.place, c.role
			im.layer(m, c.env, false)
		}
		for _, c := range g.configs {
			if m.place.File == "" {
				m.place = c.place
			}
			im.layer(m, c.settings, false)
		}
		for _, c := range g.commands {
			im.layer(m, c.flags, true)
		}
		im.roleOf(m, len(g.commands) > 0)
		im.sound(m)
		all = append(all, m)
	}
	return all
}

// apart tells whether a config.yaml and a command cannot be of one node: one
// is an agent's and the other has settings of servers, or both say something
// else of the node itself.
func (im *importer) apart(configs []config, c command) bool {
	if len(configs) > 0 && configs[0].folder == c.folder {
		return false
	}
	keys := kube.Keys(im.dist)
	for _, s := range slices.Concat(configsOf(configs)...) {
		if key, known := kube.Find(keys, s.key); known && key.Roles == kube.Server && c.role == kube.Agent {
			return true
		}
		for _, o := range slices.Concat(c.env, c.flags) {
			if o.key == s.key && slices.Contains(ownKeys, s.key) && !slices.Equal(kube.Words(o.value), kube.Words(s.value)) {
				return true
			}
		}
	}
	return false
}

// configsOf are the settings of configs.
func configsOf(configs []config) [][]setting {
	var all [][]setting
	for _, c := range configs {
		all = append(all, c.settings)
	}
	return all
}

// renames are keys of older versions, with what they are called now.
var renames = map[string]string{"no-deploy": "disable", "cluster-secret": "token", "no-flannel": "flannel-backend"}

// layer lays settings over those of a machine. Flags that come several times
// make a list.
func (im *importer) layer(m *machine, settings []setting, flags bool) {
	seen := map[string]bool{}
	for _, s := range settings {
		switch s.key {
		case keyVersion:
			m.version = s
			continue
		case keyRole:
			m.role = map[bool]kube.Role{true: kube.Agent, false: kube.Server}[s.value == "agent"]
			continue
		case keyExec:
			continue
		}
		if s.value == "" {
			// A flag without text is one that is not there.
			continue
		}
		if to, old := renames[s.key]; old {
			im.tell(at(s.keyAt, fmt.Sprintf("%s is called %s now", s.key, to)).WithRule("A1").WithFix("nothing is to do: the profile has the new name"))
			if s.key == "no-flannel" {
				s.value = map[bool]any{true: "none", false: "vxlan"}[fmt.Sprint(s.value) == "true"]
			}
			s.key = to
		}
		im.shape(&s)
		if old, said := m.settings[s.key]; said && (s.add || flags && seen[s.key] && isList(s.key, im.dist)) {
			s = joined(old, s)
		}
		if _, said := m.settings[s.key]; !said {
			m.order = append(m.order, s.key)
		}
		m.settings[s.key] = s
		seen[s.key] = true
	}
}

// isList tells whether a key takes several values.
func isList(key, dist string) bool {
	k, known := kube.Find(kube.Keys(dist), key)
	return known && (k.Kind == kube.List || k.Kind == kube.Args)
}

// joined is the value of a setting behind that of another.
func joined(a, b setting) setting {
	first, _ := a.value.([]any)
	second, _ := b.value.([]any)
	places := func(s setting, n int) []document.Problem {
		var all []document.Problem
		for i := range n {
			all = append(all, s.word(i))
		}
		return all
	}
	b.words = slices.Concat(places(a, len(first)), places(b, len(second)))
	b.value = slices.Concat(first, second)
	return b
}

// roleOf finds out what a machine does in the cluster.
func (im *importer) roleOf(m *machine, command bool) {
	if m.role != 0 {
		return
	}
	switch im.options.Role {
	case cluster.Server:
		m.role = kube.Server
		return
	case cluster.Agent:
		m.role = kube.Agent
		return
	}
	for _, key := range m.order {
		if k, known := kube.Find(kube.Keys(im.dist), key); known && k.Roles == kube.Server {
			m.role = kube.Server
			return
		}
	}
	m.role = kube.Server
	if s, joins := m.settings["server"]; joins {
		m.role = kube.Agent
		if !command {
			im.tell(s.problem("this node joins another and has no setting of servers: it is taken for an agent").WithRule("H1").
				WithFix("if it is a server, import it with --role server"))
		}
	}
}
