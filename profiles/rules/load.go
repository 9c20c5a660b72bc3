package rules

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"weft/boards"
	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/kube"
)

// A loaded profile, as a cluster has it.
type loaded struct {
	profile profiles.Profile
	doc     *document.Document
}

// A loader finds the profiles that a cluster names, each once.
type loader struct {
	from     *document.Document
	cluster  cluster.Cluster
	profiles map[string]*loaded
	boards   map[string]string
	problems document.Problems
}

// profile is the profile of a name, or the cluster's own when it is empty; nil
// when there is none.
func (l *loader) profile(name, path string) *loaded {
	if name == "" {
		name, path = l.cluster.Profile, "profile"
	}
	if p, done := l.profiles[name]; done {
		return p
	}
	l.profiles[name] = nil
	missing := func(message, fix string) *loaded {
		l.problems = append(l.problems, l.from.Problem(path, message).WithRule(ruleReference).WithFix(fix))
		return nil
	}
	if name == "" {
		return missing("the cluster names no profile", "write profile: and the name of one; see weft plan --help")
	}
	p, d, problems, err := profiles.FindFrom(name, l.from.File())
	var unknown *document.UnknownError
	switch {
	case errors.As(err, &unknown):
		return missing(fmt.Sprintf("there is no profile %q", name), document.DidYouMean(name, unknown.Known))
	case errors.Is(err, fs.ErrNotExist):
		return missing(fmt.Sprintf("there is no file %s", name), "give a path that begins at this file's folder")
	case err != nil:
		return missing(err.Error(), "")
	}
	if !d.Parsed() {
		l.problems = append(l.problems, problems...)
		return nil
	}
	if v := l.cluster.KubernetesVersion; v != "" && p.Kubernetes.On() {
		// The problems of the profile by the version it names itself do not
		// count here.
		problems = slices.DeleteFunc(problems, func(q document.Problem) bool { return q.Rule == "B7" })
		p.Kubernetes.Version = v
		for _, q := range profiles.Check(p, d) {
			if q.Rule == "B7" {
				problems = append(problems, q)
			}
		}
	}
	l.problems = append(l.problems, problems...)
	l.profiles[name] = &loaded{p, d}
	return l.profiles[name]
}

// ruleReference is the rule that what a file refers to is there.
const ruleReference = profiles.RuleExtends

// node puts together node i of the cluster.
func (l *loader) node(s *Subject, i int, p *loaded, j joins, o Options) *Node {
	entry := &l.cluster.Nodes[i]
	path := document.Index("nodes", i)
	place := &kube.Place{
		Doc: l.from, Path: path, Name: entry.Name, Addresses: entry.Addresses, External: entry.ExternalAddresses,
		Labels: entry.Labels, Taints: entry.Taints, Config: entry.Config, Others: j.servers > 1,
	}
	if l.cluster.Secrets != "" {
		place.TokenFile = "/etc/rancher/token"
	}
	if i != j.first && j.url != "" {
		place.Join = j.url
	}
	n := newNode(s, p.profile, p.doc, roleOf(*entry, p.profile), place, l.facts(entry, path, o))
	n.Entry, n.Path = entry, path
	return n
}

// roleOf is what a node does.
func roleOf(n cluster.Node, p profiles.Profile) kube.Role {
	switch {
	case !p.Kubernetes.On() || n.Role == cluster.Plain:
		return 0
	case n.Role == cluster.Server:
		return kube.Server
	}
	return kube.Agent
}

// joins say where nodes join.
type joins struct {
	servers, first int
	url            string
}

// join works out which node begins the cluster and where the others join.
func join(c cluster.Cluster, in *loader) joins {
	j := joins{first: -1}
	only := -1
	for i, n := range c.Nodes {
		if n.Role != cluster.Server {
			continue
		}
		j.servers++
		only = i
		if n.Bootstrap && j.first < 0 {
			j.first = i
		}
	}
	if j.servers == 1 {
		j.first = only
	}
	host := c.Address
	if host == "" && j.first >= 0 && len(c.Nodes[j.first].Addresses) > 0 {
		host = c.Nodes[j.first].Addresses[0].String()
	}
	if p := in.profile("", "profile"); host != "" && p != nil {
		j.url = kube.JoinURL(p.profile.Kubernetes.Distribution, strings.Trim(host, "[]"))
	}
	return j
}

// facts gathers what is known of a node's hardware: from the caller, from its
// board, and from the cluster file, which counts most.
func (l *loader) facts(n *cluster.Node, path string, o Options) Facts {
	board, at := n.Board, path+".board"
	if board == "" {
		board, at = l.cluster.Board, "board"
	}
	var f Facts
	if o.Facts != nil {
		f = o.Facts(board)
	}
	if arch := l.arch(board, at); f.Arch == "" {
		f.Arch = arch
	}
	if n.Memory != 0 {
		f.Memory = n.Memory
	}
	if n.Storage != "" {
		f.Storage = n.Storage
	}
	return f
}

// arch is the architecture of a board; "" when none is named. A board that is
// not there is a problem, once.
func (l *loader) arch(board, at string) string {
	if board == "" {
		return ""
	}
	if arch, done := l.boards[board]; done {
		return arch
	}
	l.boards[board] = ""
	name := board
	if (strings.Contains(board, "/") || strings.HasSuffix(board, ".yaml")) && !filepath.IsAbs(board) {
		name = "./" + filepath.Join(filepath.Dir(l.from.File()), board)
		if filepath.IsAbs(l.from.File()) {
			name = filepath.Join(filepath.Dir(l.from.File()), board)
		}
	}
	b, _, problems, err := boards.Find(name)
	if err != nil {
		fix := "give a path that begins at this file's folder"
		if unknown := (*document.UnknownError)(nil); errors.As(err, &unknown) {
			fix = document.DidYouMean(board, unknown.Known)
		}
		l.problems = append(l.problems, l.from.Problem(at, fmt.Sprintf("there is no board %q", board)).WithRule(ruleReference).WithFix(fix))
		return ""
	}
	l.problems = append(l.problems, problems...)
	l.boards[board] = b.Arch
	return b.Arch
}
