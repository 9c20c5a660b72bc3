package importer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/document"
	"weft/profiles"
)

// FuzzImport reads any bytes as each kind of file: nothing may panic, problems
// have places that are there, and what is accepted comes with a profile that
// can be read.
func FuzzImport(f *testing.F) {
	pages, err := filepath.Glob("testdata/pages/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range pages {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Ext(name), text)
	}
	for _, text := range []string{unit, install, three, "mirrors: {a: {endpoint: [x]}}\nconfigs: {a: {auth: {password: p}}}\n"} {
		f.Add(".service", []byte(text))
		f.Add(".yaml", []byte(text))
		f.Add("", []byte(text))
	}
	f.Fuzz(func(t *testing.T, ext string, text []byte) {
		if len(text) > 1<<14 || len(ext) > 16 {
			return
		}
		r := Import([]Source{{"f" + ext, text}}, Options{Distribution: profiles.K3s})
		lines := strings.Count(string(text), "\n") + strings.Count(string(text), "\r") + 2
		for _, p := range r.Problems {
			if strings.Contains(p.Message, "read back") {
				t.Errorf("%v\n%s", p, text)
			}
			if p.File == "f"+ext && p.Line > lines {
				t.Errorf("line %d of %d: %v", p.Line, lines, p)
			}
		}
		if r.Problems.Errors() != nil {
			if len(r.Files) > 0 {
				t.Error("files in spite of errors")
			}
			return
		}
		for i, f := range r.Files {
			if i == 0 {
				if _, _, problems := profiles.Load(f.Name, f.Text); problems.Errors() != nil {
					t.Errorf("%v\n%s", problems, f.Text)
				}
			}
		}
	})
}

func TestHostileFilesAreBounded(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"a large file":        {"c.yaml", strings.Repeat("#\n", document.MaxSize), "larger than"},
		"many words":          {"c.sh", strings.Repeat("a ", maxWords+2), "more than 20000 words"},
		"many documents":      {"c.yaml", strings.Repeat("---\na: b\n", maxDocuments+2), "too many"},
		"an anchor":           {"c.yaml", "a: &x [b]\n", "[A10]"},
		"deep nesting":        {"c.yaml", "a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "[A10]"},
		"deep chart":          {"c.yaml", "kind: HelmChartConfig\nmetadata: {name: rke2-canal, namespace: kube-system}\nspec:\n  valuesContent: |-\n    a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n", "[G6]"},
		"control characters":  {"c.sh", "k3s server --node-name=\x1b[2J", "this is no text"},
		"many nodes":          {"c.sh", strings.Repeat("k3s server\n", 300), "300 nodes are too many"},
		"a broken word in it": {"c.sh", "INSTALL_K3S_EXEC=\"--x='\" sh -\n", "never ends"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Import(of(c.file, c.text), Options{Distribution: profiles.RKE2})
			if r.Problems.Errors() == nil || !strings.Contains(r.Problems.Error(), c.want) {
				t.Errorf("want %s, got\n%.2000v", c.want, r.Problems)
			}
		})
	}
}
