package rules

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/kube"
)

// Options are what a caller knows beside the files.
type Options struct {
	// Facts tells what is known of a board and of the image for it; nil when
	// nothing is.
	Facts func(board string) Facts
	// Lock is what the cluster was begun with; nil to look for it beside the
	// cluster file.
	Lock *cluster.Lock
}

// Profile checks a profile that was read by [profiles.Load] or
// [profiles.Find], whose problems are found. It returns those and its own, less
// what the profile overrides.
func Profile(p profiles.Profile, d *document.Document, found document.Problems, o Options) document.Problems {
	if !d.Parsed() {
		return found
	}
	facts := Facts{}
	if o.Facts != nil {
		facts = o.Facts("")
	}
	s := &Subject{}
	roles := []kube.Role{0}
	if p.Kubernetes.On() {
		roles = []kube.Role{kube.Server, kube.Agent}
	}
	for _, role := range roles {
		s.Nodes = append(s.Nodes, newNode(s, p, d, role, nil, facts))
	}
	return overridden(found, apply(s, d), []overrides{{p.Overrides, d}}, s)
}

// newNode puts together what rules look at of one node.
func newNode(s *Subject, p profiles.Profile, d *document.Document, role kube.Role, place *kube.Place, facts Facts) *Node {
	return &Node{
		Subject: s, Role: role, Profile: p, Doc: d,
		Network: p.EffectiveNetwork(),
		Release: p.Kubernetes.Release(),
		Config:  kube.ConfigFor(p, d, role, place),
		Servers: kube.ConfigFor(p, d, kube.Server, nil),
		Keys:    kube.Keys(p.Kubernetes.Distribution),
		Facts:   facts,
	}
}

// apply applies all rules to a subject. docs are the files that were read.
func apply(s *Subject, docs ...*document.Document) document.Problems {
	var all document.Problems
	seen := map[document.Problem]bool{}
	// What rules say of a value of the wrong type misleads.
	wrong := map[document.Position]bool{}
	keep := func(r Rule, found document.Problems) {
		for _, p := range found {
			if p.Rule == "" {
				p.Rule = r.ID
			}
			p.Level = max(p.Level, r.Level)
			if p.Rule != document.RuleType && wrong[p.Position()] {
				continue
			}
			wrong[p.Position()] = wrong[p.Position()] || p.Rule == document.RuleType
			if !seen[p] && !slices.ContainsFunc(docs, func(d *document.Document) bool { return d.Faulty(p.Position()) }) {
				seen[p] = true
				all = append(all, p)
			}
		}
	}
	for _, r := range All() {
		if r.whole != nil {
			keep(r, r.whole(s))
		}
		if r.node == nil {
			continue
		}
		for _, n := range s.Nodes {
			if r.Since != "" && n.Release.Before(r.Since) || r.Until != "" && !n.Release.Before(r.Until) {
				continue
			}
			keep(r, r.node(n))
		}
	}
	return all
}

// overrides are those of one file.
type overrides struct {
	list []profiles.Override
	doc  *document.Document
}

// overridden leaves out what is overridden, and says what is wrong with the
// overrides themselves. Errors among the problems of reading are about the form
// of a file or what netd refuses too; they stay.
//
// Only the first of the files must use all of its own: what a profile silences
// may be broken by one cluster and not by another.
func overridden(reading, own document.Problems, files []overrides, s *Subject) document.Problems {
	var all []profiles.Override
	for _, f := range files {
		all = append(all, f.list...)
	}
	kept, silenced := profiles.Silence(reading, all, profiles.Firm)
	more, also := profiles.Silence(own, all, weftsOwn)
	kept, silenced = append(kept, more...), append(silenced, also...)
	firm := slices.Clone(kept)
	for i, f := range files {
		for j, o := range f.list {
			if p, bad := badOverride(o, f.doc, document.Index("overrides", j), firm, silenced, i == 0, s); bad {
				kept = append(kept, p)
			}
		}
	}
	kept.Sort()
	return concealed(kept, s)
}

// weftsOwn tells whether a problem is one that the files weft makes would have
// too, so that init or netd would refuse them.
func weftsOwn(p document.Problem) bool {
	return p.Level == document.Error && strings.HasPrefix(p.Rule, "N")
}

// ruleOverride is the rule about overrides.
const ruleOverride = "A13"

// badOverride says what is wrong with one override.
func badOverride(o profiles.Override, d *document.Document, path string, firm document.Problems, silenced []string, own bool, s *Subject) (document.Problem, bool) {
	rule, known := Find(o.Rule)
	still := slices.ContainsFunc(firm, func(p document.Problem) bool { return p.Rule == o.Rule && profiles.Firm(p) })
	var p document.Problem
	switch {
	case !known:
		p = d.Problem(path+".rule", fmt.Sprintf("there is no rule %q", o.Rule)).
			WithFix("see weft check --rules")
	case strings.TrimSpace(o.Reason) == "":
		p = d.Problem(path+".rule", fmt.Sprintf("the override of %s gives no reason", o.Rule)).
			WithFix("add reason: and say why the rule does not hold here")
	case still:
		p = d.Problem(path+".rule", fmt.Sprintf("%s cannot be overridden", o.Rule)).
			WithNote("weft itself would stumble over it").WithFix("correct what it names")
	case slices.Contains(silenced, o.Rule) || !own || s.Cluster == nil && needsCluster(rule) || s.needsFacts(rule):
		return p, false
	default:
		// In a profile alone, init reads the warnings that were left out in
		// reading; they are found again to see what an override is for.
		if s.Cluster == nil && slices.Contains(quiet(s), o.Rule) {
			return p, false
		}
		p = warning(d.Problem(path+".rule", fmt.Sprintf("%s is overridden, but nothing breaks it", o.Rule)).
			WithFix("remove the override"))
	}
	return p.WithRule(ruleOverride), true
}

// quiet lists the rules whose warnings were left out when the profile was
// read.
func quiet(s *Subject) []string {
	n := s.Nodes[0]
	p := n.Profile
	p.Overrides = nil
	var ids []string
	for _, found := range profiles.Check(p, n.Doc) {
		ids = append(ids, found.Rule)
	}
	return ids
}

// needsFacts tells whether a rule can only be broken by what is not known of
// the kernel and the image.
func (s *Subject) needsFacts(r Rule) bool {
	for _, n := range s.Nodes {
		f, bad := n.Facts, r.Bad.Facts
		if bad.Kernel != "" && f.Kernel == "" || bad.Lacks != nil && f.Kernel == "" || bad.Programs != nil && f.Programs == nil ||
			bad.Users != nil && f.Users == nil || bad.Hosts != "" && f.Hosts == "" || bad.Arch != "" && f.Arch == "" {
			return true
		}
	}
	return false
}

// needsCluster tells whether a rule can only be broken by a cluster.
func needsCluster(r Rule) bool { return r.Bad.Cluster != "" }

// Cluster checks a cluster that was read by [cluster.Read], whose problems are
// found, with the profiles and the lock it refers to. It returns those and its
// own, less what the files override.
func Cluster(c cluster.Cluster, d *document.Document, found document.Problems, o Options) document.Problems {
	if !d.Parsed() {
		return found
	}
	s := &Subject{Cluster: &c, Doc: d, Lock: o.Lock}
	var more document.Problems
	if s.Lock == nil {
		s.Lock, more = lockOf(d.File())
		found = append(found, more...)
	}
	in := &loader{from: d, cluster: c, profiles: map[string]*loaded{}, boards: map[string]string{}}
	files := []overrides{{c.Overrides, d}}
	docs := []*document.Document{d}
	joins := join(c, in)
	for i := range c.Nodes {
		p := in.profile(c.Nodes[i].Profile, document.Index("nodes", i)+".profile")
		if p == nil {
			continue
		}
		if !slices.Contains(docs, p.doc) {
			docs = append(docs, p.doc)
			files = append(files, overrides{p.profile.Overrides, p.doc})
		}
		s.Nodes = append(s.Nodes, in.node(s, i, p, joins, o))
	}
	return overridden(append(found, in.problems...), apply(s, docs...), files, s)
}

// lockOf reads the lock beside a cluster file; nil when there is none.
func lockOf(file string) (*cluster.Lock, document.Problems) {
	name := LockFile(file)
	data, err := document.ReadFile(name)
	if err != nil {
		return nil, nil
	}
	l, _, problems := cluster.ReadLock(name, data)
	return &l, problems
}

// LockFile is where the lock of a cluster file is kept: beside it, under its
// name.
func LockFile(file string) string {
	return strings.TrimSuffix(file, filepath.Ext(file)) + ".lock"
}
