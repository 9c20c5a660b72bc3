// Package fleet turns a cluster file into what is built and booted: the images
// that its nodes share, and the node file of each node, with its keys.
//
// It decides and reads files; it builds no image (package builder), puts no
// node file anywhere and starts nothing (package guest).
package fleet

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"weft/boards"
	"weft/builder"
	"weft/builder/plan"
	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/rules"
)

// A Fleet is a cluster file with all that it names.
type Fleet struct {
	// Cluster is what the file says.
	Cluster cluster.Cluster
	// Bases are the images that nodes share, in the order of the first node
	// of each.
	Bases []Base
	// Warnings are problems that stop nothing.
	Warnings document.Problems

	file *document.Document
	// base is the place in Bases of each node's image, by place of the node.
	base []int
	// identity is [Finder.Identity].
	identity string
}

// A Base is an image that nodes share.
type Base struct {
	// Plan is what is built.
	Plan plan.Plan
	// Dir is the folder that paths of the board file begin at.
	Dir string

	profile profiles.Profile
}

// A Member is a node of a cluster, ready to be put onto a disk.
type Member struct {
	// Name is the node's, and Base the place of its image in [Fleet.Bases].
	Name string
	Base int
	// Node is its node file. It may hold secrets.
	Node profiles.Node
}

// A Finder names the place of boards and profiles that a cluster file leaves
// open.
type Finder struct {
	// Version is the weft that builds; see [plan.Plan.Version].
	Version string
	// Board is the board of nodes that name none, when the cluster names none
	// either.
	Board string
	// NewSecrets reads a cluster whose secrets file is still to be made.
	NewSecrets bool
	// Identity is the file with the key that opens sealed secrets; empty for
	// none.
	Identity string
}

// Read reads a cluster file, checks it by all rules, and finds the boards and
// profiles of its nodes. What is wrong with any of them is a
// [document.Problems].
func (f Finder) Read(file string) (*Fleet, error) {
	data, err := document.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, d, found := cluster.Read(file, data)
	problems := rules.Cluster(c, d, found, rules.Options{})
	if !f.NewSecrets {
		problems = append(problems, builder.CheckSecrets(c, d)...)
	}
	if problems.Errors() != nil {
		return nil, problems
	}
	fleet := &Fleet{Cluster: c, Warnings: problems, file: d, identity: f.Identity}
	seen := map[[2]string]int{}
	for i, n := range c.Nodes {
		key := [2]string{orElse(n.Board, c.Board, f.Board), orElse(n.Profile, c.Profile)}
		at, done := seen[key]
		if !done {
			base, err := f.base(key[0], key[1], c, file)
			if err != nil {
				return nil, err
			}
			at = len(fleet.Bases)
			for _, other := range fleet.Bases {
				if other.Plan.Name() == base.Plan.Name() {
					return nil, document.Problems{d.Problem(document.Index("nodes", i), fmt.Sprintf("two different images would be called %s", base.Plan.Name())).
						WithNote("their boards and profiles have the same names").WithFix("give one of them another name")}
				}
			}
			fleet.Bases = append(fleet.Bases, base)
			seen[key] = at
		}
		fleet.base = append(fleet.base, at)
	}
	return fleet, nil
}

// orElse is the first text that is not empty.
func orElse(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// base finds a board and a profile, which the rules have looked at before.
func (f Finder) base(board, profile string, c cluster.Cluster, file string) (Base, error) {
	path := beside(board, file)
	b, boardFile, problems, err := boards.Find(path)
	if err != nil {
		return Base{}, err
	}
	p, profileFile, more, err := profiles.FindFrom(profile, file)
	if err != nil {
		return Base{}, err
	}
	if c.KubernetesVersion != "" && p.Kubernetes.On() {
		p.Kubernetes.Version = c.KubernetesVersion
		// What it says of its own version does not count here, and the rules
		// have looked at it with this one.
		more = nil
	}
	if problems = append(problems, more...); problems.Errors() != nil {
		return Base{}, problems
	}
	return Base{plan.New(f.Version, b, boardFile, p, profileFile), filepath.Dir(path), p}, nil
}

// beside is a path of a cluster file seen from here; the name of something
// that weft ships stays as it is.
func beside(nameOrPath, file string) string {
	if !strings.Contains(nameOrPath, "/") && !strings.HasSuffix(nameOrPath, ".yaml") || filepath.IsAbs(nameOrPath) {
		return nameOrPath
	}
	path := filepath.Join(filepath.Dir(file), nameOrPath)
	if !filepath.IsAbs(path) {
		path = "./" + path
	}
	return path
}

// Lock writes down what must stay the same in the cluster from now on; see
// [builder.LockCluster]. A cluster without an id has no lock.
func (f *Fleet) Lock() error {
	if f.Cluster.ID == "" || len(f.Bases) == 0 {
		return nil
	}
	return builder.LockCluster(f.file.File(), f.Cluster, f.Bases[0].profile)
}

// File is the path of the cluster file.
func (f *Fleet) File() string { return f.file.File() }

// Plans are what is built for all nodes, an image each; they share a lock.
func (f *Fleet) Plans() (list []plan.Plan) {
	for _, b := range f.Bases {
		list = append(list, b.Plan)
	}
	return list
}

// Members works out the node files, in the order of the cluster file. s are
// the cluster's secrets; the zero value when it has none.
func (f *Fleet) Members(s Secrets) ([]Member, error) {
	c := f.Cluster
	c.Nodes = append([]cluster.Node(nil), c.Nodes...)
	if err := f.placed(); err != nil {
		return nil, err
	}
	if err := f.publish(&c, s); err != nil {
		return nil, err
	}
	members := make([]Member, len(c.Nodes))
	for at, base := range f.Bases {
		nodes, err := c.NodeFiles(base.profile)
		if err != nil {
			return nil, f.problem("nodes", err.Error(), "choose a larger range for network.pods")
		}
		for i, node := range nodes {
			if f.base[i] != at {
				continue
			}
			if err := f.endow(&node, base.profile, s, i); err != nil {
				return nil, err
			}
			if err := f.sound(node, i); err != nil {
				return nil, err
			}
			members[i] = Member{node.Hostname, at, node}
		}
	}
	return members, nil
}

// placed wants every node that is in lists of peers to have an address.
func (f *Fleet) placed() error {
	var problems document.Problems
	for i, n := range f.Cluster.Nodes {
		p := f.Bases[f.base[i]].profile
		if len(n.Addresses) == 0 && p.NetdOn() && p.WithDefaults().Network.Store.Type == profiles.StoreStatic {
			problems = append(problems, f.file.Problem(document.Index("nodes", i), fmt.Sprintf("the peers of %s do not know where it is", n.Name)).
				WithNote("only weft run gives addresses to nodes that have none").WithFix("write addresses: [...], where the other nodes reach it"))
		}
	}
	return problems.Errors()
}

// sound checks a node file as init will.
func (f *Fleet) sound(node profiles.Node, i int) error {
	_, err := profiles.NetdFor(f.Bases[f.base[i]].profile, node, node.Hostname, "00000000-0000-4000-8000-000000000000")
	if !f.Bases[f.base[i]].profile.NetdOn() {
		err = nil
	}
	// A key that is shown would be one in a log.
	node.WireGuardKey, node.PSK, node.Kubernetes.Token = "", "", ""
	text, bad := node.YAML()
	if bad != nil {
		return bad
	}
	_, _, problems := profiles.ReadNode(profiles.NodeFile, text)
	var own document.Problems
	if errors.As(err, &own) {
		problems = append(own, problems...)
	} else if err != nil {
		return err
	}
	if problems.Errors() == nil {
		return nil
	}
	for _, p := range problems {
		if p.Level == document.Error {
			return document.Problems{f.file.Problem(document.Index("nodes", i), fmt.Sprintf("the node file of %s would be refused: %s", node.Hostname, p.Message)).
				WithRule(p.Rule).WithNote(p.Note).WithFix(p.Fix)}
		}
	}
	return problems
}

// Values lists what node i is, each value with its origin: what the cluster
// file says of it, and what follows from the rest, as m has it. Secrets are not
// shown.
func (f *Fleet) Values(i int, m Member) []plan.Value {
	at := func(key, otherwise string) string {
		if path := document.Index("nodes", i) + "." + key; f.file.Has(path) {
			return f.file.Position(path).String()
		}
		if otherwise != "" && f.file.Has(otherwise) {
			return f.file.Position(otherwise).String()
		}
		return "default"
	}
	base := f.Bases[m.Base]
	list := []plan.Value{
		{Path: "node.board", Value: base.Plan.Board.Name, Origin: at("board", "board")},
		{Path: "node.profile", Value: base.Plan.Profile.Name, Origin: at("profile", "profile")},
	}
	shown := m.Node
	// Where a value is that no line of the cluster file gives.
	fallback := map[string]string{"hostname": "name"}
	for _, secret := range []*string{&shown.WireGuardKey, &shown.PSK, &shown.Kubernetes.Token} {
		if *secret != "" {
			*secret = "(not shown)"
		}
	}
	for _, v := range plan.Settings("node", shown) {
		key := strings.TrimPrefix(v.Path, "node.")
		if name, ok := fallback[key]; ok {
			key = name
		}
		key = strings.TrimPrefix(key, "kubernetes.")
		v.Origin = at(key, "")
		switch {
		case v.Value == "(not shown)":
			v.Origin = f.SecretsFile()
		case v.Origin == "default":
			v.Origin = "derived"
		}
		list = append(list, v)
	}
	return list
}

// problem is one that points at a key of the cluster file.
func (f *Fleet) problem(path, message, fix string) error {
	return document.Problems{f.file.Problem(path, message).WithFix(fix)}
}
