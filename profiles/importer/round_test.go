package importer

import (
	"path"
	"slices"
	"strings"
	"testing"

	"weft/profiles"
	"weft/profiles/draft"
	"weft/profiles/rancher"
)

// rendered are the files of a node as sources. What weft adds at boot and no
// distribution reads as its configuration is left out.
func rendered(p profiles.Profile, n profiles.Node) []Source {
	var all []Source
	for _, f := range rancher.Render(p, n) {
		inManifests := path.Base(path.Dir(f.Path)) == "manifests"
		if f.Data != nil && strings.HasSuffix(f.Path, ".yaml") && (strings.HasPrefix(f.Path, "/etc/rancher/") || inManifests) {
			all = append(all, Source{f.Path, f.Data})
		}
	}
	return all
}

// texts are sources by name, for messages.
func texts(all []Source) string {
	var b strings.Builder
	for _, s := range all {
		b.WriteString("# " + s.Name + "\n" + string(s.Text))
	}
	return b.String()
}

// withoutComments is a rendered text without the comments, which name the profile.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "# P") && !strings.HasPrefix(line, "# T") && !strings.HasPrefix(line, "# V") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestWhatIsRenderedComesBack imports what every shipped profile renders, and
// wants the same rendered again; and what was imported once comes back as the
// same profile.
func TestWhatIsRenderedComesBack(t *testing.T) {
	for _, name := range profiles.Names() {
		p, _, problems, err := profiles.Find(name)
		if err != nil || problems.Errors() != nil {
			t.Fatal(err, problems)
		}
		// netd leaves no trace in what K3s and RKE2 read, and a legacy backend
		// becomes another.
		if !p.Kubernetes.On() || p.NetdOn() || p.Kubernetes.Server["flannel-backend"] == "ipsec" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			o := Options{Name: name, Distribution: p.Kubernetes.Distribution, Version: p.Kubernetes.Version, Role: "server"}
			first := rendered(p, profiles.Node{})
			r := Import(first, o)
			if err := r.Problems.Errors(); err != nil {
				t.Fatalf("%v\n%s", err, texts(first))
			}
			second := rendered(r.Profile, profiles.Node{})
			if a, b := withoutComments(texts(first)), withoutComments(texts(second)); a != b {
				t.Errorf("rendered\n%s\nand after an import\n%s", a, b)
			}
			again := Import(second, o)
			if err := again.Problems.Errors(); err != nil {
				t.Fatal(err)
			}
			if a, b := plain(r.Profile), plain(again.Profile); a != b {
				t.Errorf("imported\n%s\nand again\n%s", a, b)
			}
		})
	}
}

func TestNodesThatAreRenderedComeBack(t *testing.T) {
	r := sound(t, Options{Name: "home"}, "a/config.yaml", three, "b/k3s.service", unit)
	files, err := r.Cluster.NodeFiles(r.Profile)
	if err != nil {
		t.Fatal(err)
	}
	var all []Source
	for i, n := range files {
		n.Kubernetes.Role, n.Kubernetes.Token = r.Cluster.Nodes[i].Role, "K10secret"
		n.Kubernetes.Labels, n.Kubernetes.Taints, n.Kubernetes.Config = r.Cluster.Nodes[i].Labels, r.Cluster.Nodes[i].Taints, r.Cluster.Nodes[i].Config
		if i > 0 {
			n.Kubernetes.Join = "https://192.168.1.11:6443"
		}
		for _, s := range rendered(r.Profile, n) {
			if strings.HasPrefix(s.Name, "/etc/") {
				s.Name = n.Hostname + s.Name
				all = append(all, s)
			}
		}
	}
	again := Import(all, Options{Name: "home"})
	if err := again.Problems.Errors(); err != nil {
		t.Fatalf("%v\n%s", err, texts(all))
	}
	if a, b := plain(r.Profile), plain(again.Profile); a != b {
		t.Errorf("imported\n%s\nand again\n%s", a, b)
	}
	a, _ := draft.Text(r.Cluster, draft.Comments{})
	b, _ := draft.Text(again.Cluster, draft.Comments{})
	if !slices.Equal(a, b) {
		t.Errorf("imported\n%s\nand again\n%s", a, b)
	}
}
