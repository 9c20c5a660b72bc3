package importer

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/draft"
	"weft/profiles/kube"
	"weft/profiles/rules"
)

// build makes the files of what was read.
func (im *importer) build() Result {
	t := &translator{importer: im, where: origins{}, in: origins{}}
	t.machines = im.machines()
	alone := len(t.machines) == 0 && len(im.charts) > 0
	if len(t.machines) == 0 && len(im.charts) == 0 && im.registries == nil && len(im.sysctls) == 0 {
		return Result{}
	}
	t.servers = t.role(kube.Server)
	name := im.options.Name
	if name == "" {
		name = im.dist
	}
	p := &t.profile
	p.Weft, p.Name = profiles.Version, name
	p.Description = fmt.Sprintf("imported from %s", map[string]string{profiles.K3s: "K3s", profiles.RKE2: "RKE2"}[im.dist])
	p.Kubernetes = profiles.Kubernetes{
		Distribution: im.dist, Config: map[string]any{}, Server: map[string]any{}, Agent: map[string]any{},
		Charts: map[string]map[string]any{},
	}
	t.release()
	for _, m := range t.machines {
		t.withoutSecrets(m)
	}
	t.network()
	t.switches()
	t.manifests(alone)
	if im.registries != nil {
		p.Kubernetes.Registries = *im.registries
	}
	for _, s := range im.sysctls {
		if p.Sysctls == nil {
			p.Sysctls = map[string]string{}
		}
		p.Sysctls[s.key] = fmt.Sprint(s.value)
		t.where.from(document.Key("sysctls", s.key), s)
	}
	var c *cluster.Cluster
	if len(t.machines) > 1 || slices.ContainsFunc(t.machines, own) {
		c = t.nodes(name)
	}
	t.critical()
	t.rest(c)
	if c != nil && (t.tokenLeft || len(c.Nodes) > 1) && !slices.ContainsFunc(c.Nodes, hasToken) && !hasTokenFile(p.Kubernetes) {
		c.Secrets = "./" + draft.Secrets(name)
	}
	return t.result(c)
}

// hasTokenFile tells whether the profile says where the token is.
func hasTokenFile(k profiles.Kubernetes) bool {
	for _, m := range []map[string]any{k.Config, k.Server, k.Agent} {
		if m["token-file"] != nil {
			return true
		}
	}
	return false
}

func hasToken(n cluster.Node) bool { return n.Config["token-file"] != nil }

// release is the version: the one asked for, or the one the files tell.
func (t *translator) release() {
	k := &t.profile.Kubernetes
	for _, m := range t.machines {
		text, said := m.version.value.(string)
		if !said || t.options.Version != "" {
			continue
		}
		if k.Version != "" && k.Version != text {
			t.tell(m.version.problem(fmt.Sprintf("another node has version %s", k.Version)).WithRule("A4").
				WithFix("nothing is to do: the profile keeps the first; all nodes get one version"))
			continue
		}
		k.Version = text
		t.where.from("kubernetes.version", m.version)
	}
	if t.options.Version != "" {
		k.Version = t.options.Version
	}
}

// critical compares what K3s compares between servers and no switch has taken.
func (t *translator) critical() {
	if len(t.servers) < 2 {
		return
	}
	for _, key := range kube.Keys(t.dist) {
		if !key.Critical || !slices.ContainsFunc(t.servers, func(m *machine) bool { _, said := m.settings[key.Name]; return said }) {
			continue
		}
		if s, said := t.common(key.Name); said {
			t.profile.Kubernetes.Server[key.Name] = s.value
			t.where.from("kubernetes.server."+key.Name, s)
		}
	}
}

// result writes the files, and checks them as weft check does.
func (t *translator) result(c *cluster.Cluster) Result {
	r := Result{Profile: t.profile, Cluster: c}
	if t.problems.Errors() != nil {
		return r
	}
	text, err := draft.Text(t.profile, t.profileComments())
	if err != nil {
		r.Problems = document.Problems{{Message: err.Error()}}
		return r
	}
	r.Files = []File{{Name: draft.Profile(t.profile.Name), Text: text}}
	if c != nil {
		if text, err = draft.Text(*c, t.clusterComments(*c)); err != nil {
			r.Problems = document.Problems{{Message: err.Error()}}
			return r
		}
		r.Files = append(r.Files, File{Name: draft.Cluster(t.profile.Name), Text: text})
		if c.Secrets != "" {
			r.Files = append(r.Files, File{draft.Secrets(t.profile.Name), draft.SecretsText(""), true})
		}
	}
	r.Problems = t.check(r)
	r.Steps = t.steps(c)
	return r
}

// check checks the files in a folder of their own, and says of each problem
// where in the sources it comes from.
func (t *translator) check(r Result) document.Problems {
	folder, err := os.MkdirTemp("", "weft-import-")
	if err != nil {
		return document.Problems{{Message: err.Error()}}
	}
	defer os.RemoveAll(folder)
	for _, f := range r.Files {
		if err := os.WriteFile(filepath.Join(folder, f.Name), f.Text, 0o600); err != nil {
			return document.Problems{{Message: err.Error()}}
		}
	}
	file := filepath.Join(folder, r.Files[0].Name)
	p, d, found := profiles.Load(file, r.Files[0].Text)
	if found.Errors() == nil && !reflect.DeepEqual(plain(p), plain(r.Profile)) {
		found = append(found, document.Problem{File: file, Message: "the profile does not read back as it was written"})
	}
	all := t.traced(rules.Profile(p, d, found, rules.Options{}), d, t.where, folder)
	if r.Cluster == nil {
		return all
	}
	// The cluster knows the nodes, so what is only doubtful without them does
	// not count.
	all = slices.DeleteFunc(all, func(p document.Problem) bool { return p.Level == document.Warning })
	file = filepath.Join(folder, r.Files[1].Name)
	c, cd, found := cluster.Read(file, r.Files[1].Text)
	found = rules.Cluster(c, cd, found, rules.Options{})
	both := t.traced(t.traced(found, cd, t.in, folder), d, t.where, folder)
	return append(all, both...)
}

// otherLine is a note about another place of the same file.
var otherLine = regexp.MustCompile(`\bline \d`)

// plain is a profile in which nothing at all and an empty map are the same.
func plain(p profiles.Profile) string {
	text, err := draft.Text(p, draft.Comments{})
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// traced says of problems with a file that was made where its values come from.
func (t *translator) traced(all document.Problems, d *document.Document, where origins, folder string) document.Problems {
	byPlace := map[document.Position]document.Problem{}
	for _, path := range sorted(where) {
		o := where[path]
		if !d.Has(path) {
			continue
		}
		byPlace[d.KeyProblem(path, "").Position()] = o.key
		byPlace[d.Problem(path, "").Position()] = o.place
	}
	for i, p := range all {
		if p.File != d.File() {
			continue
		}
		if o, known := byPlace[p.Position()]; known && o.File != "" {
			p.File, p.Line, p.Column, p.Width, p.Source = o.File, o.Line, o.Column, o.Width, o.Source
			if otherLine.MatchString(p.Note) {
				// It speaks of a line of the file that was made.
				p.Note = ""
			}
		}
		p.File = strings.TrimPrefix(p.File, folder+string(filepath.Separator))
		p.Message = strings.ReplaceAll(p.Message, folder+string(filepath.Separator), "")
		all[i] = p
	}
	return all
}
