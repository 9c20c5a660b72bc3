package docs

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/profiles"
	"weft/profiles/kube"
)

var update = flag.Bool("update", false, "rewrite the reference pages, the rules and the schemas")

// fresh compares a generated file with the one that is there, or writes it.
func fresh(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s does not say what the code says: run go test ./docs -update", name)
	}
}

func TestReferencePagesSayWhatTheTypesSay(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.file, func(t *testing.T) {
			types, err := structs(kind.folder)
			if err != nil {
				t.Fatal(err)
			}
			want, err := render(kind.title, kind.root, types)
			if err != nil {
				t.Fatal(err)
			}
			fresh(t, filepath.Join("reference", kind.file+".md"), want)
		})
	}
}

// String writes a type the way a person who edits YAML thinks of it.
func (t typ) String() string {
	switch t.kind {
	case "list":
		return "list of " + t.elem.String()
	case "map":
		return "map of string to " + t.elem.String()
	case "struct":
		name := short(t.name)
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	}
	return map[string]string{"text": "string", "bool": "true or false", "int": "number", "any": "value", "duration": "time"}[t.name] +
		map[string]string{"prefix": "prefix", "address": "address"}[t.name]
}

// short is the name of a type without its package.
func short(name string) string { return strings.TrimPrefix(name, "profiles.") }

// leadsTo is the struct that a type is made of; "" for none.
func (t typ) leadsTo() string {
	for t.elem != nil {
		t = *t.elem
	}
	if t.kind == "struct" {
		return t.name
	}
	return ""
}

// render writes the page of the type root and of all types it leads to.
func render(title, root string, types map[string]structType) ([]byte, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# %s\n\nWritten from the Go types by `go test ./docs -update`; do not edit.\n", title)
	seen := map[string]bool{}
	for queue := []string{root}; len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if seen[name] {
			continue
		}
		seen[name] = true
		s, ok := types[name]
		if !ok {
			return nil, fmt.Errorf("type %s is not declared", name)
		}
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", short(name), s.doc)
		for _, f := range s.fields {
			if f.doc == "" {
				return nil, fmt.Errorf("%s.%s has no doc comment", name, f.key)
			}
			if to := f.typ.leadsTo(); to != "" {
				queue = append(queue, to)
			}
			fmt.Fprintf(&out, "- **`%s`** (%s): %s\n", f.key, f.typ, f.doc)
		}
	}
	return out.Bytes(), nil
}

func TestKeyPageSaysWhatTheTablesSay(t *testing.T) {
	var out bytes.Buffer
	out.WriteString("# Keys of K3s and RKE2\n\nWritten from the key tables by `go test ./docs -update`; do not edit.\n\n" +
		"These are the keys of `kubernetes.config`, `kubernetes.server` and `kubernetes.agent` in a\n" +
		"profile, and of `config` of a node in a cluster file. Versions are Kubernetes'. A critical key must\n" +
		"be the same on all servers. `cluster-cidr` and `service-cidr` are said in `network.pods` and\n" +
		"`network.services`.\n")
	for _, d := range []struct{ title, name string }{{"K3s", profiles.K3s}, {"RKE2", profiles.RKE2}} {
		fmt.Fprintf(&out, "\n## %s\n\n| key | nodes | takes | default | versions | critical |\n|---|---|---|---|---|---|\n", d.title)
		for _, k := range kube.Keys(d.name) {
			nodes, critical := "all", ""
			if k.Roles == kube.Server {
				nodes = "servers"
			}
			if k.Critical {
				critical = "yes"
			}
			versions := ""
			if k.Since != "" {
				versions = "from " + k.Since
			}
			if k.Until != "" {
				versions = strings.TrimSpace(versions + " before " + k.Until)
			}
			takes := cmp.Or(strings.Join(k.Values, ", "), k.Kind.String())
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s | %s |\n", k.Name, nodes, takes, k.Default, versions, critical)
		}
	}
	fresh(t, "reference/kubernetes-keys.md", out.Bytes())
}
