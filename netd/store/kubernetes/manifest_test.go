package kubernetes

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const manifest = "docs/manifests/netd-rbac.yaml"

// [k3s-rke2 finding 7]: the manifest grants what netd uses and no more, and is
// where errors say it is.
func TestTheManifestGrantsWhatIsUsed(t *testing.T) {
	data, err := os.ReadFile("../../../" + manifest)
	if err != nil {
		t.Fatal(err)
	}
	type rule struct {
		APIGroups []string `yaml:"apiGroups"`
		Resources []string
		Verbs     []string
	}
	got := map[string][]string{}
	name := ""
	for documents := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var d struct {
			Kind     string
			Metadata struct{ Name string }
			Rules    []rule
		}
		if err := documents.Decode(&d); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if d.Kind == "ClusterRole" {
			name = d.Metadata.Name
		}
		for _, r := range d.Rules {
			for _, resource := range r.Resources {
				got[strings.Join(r.APIGroups, ",")+"/"+resource] = r.Verbs
			}
		}
	}
	if len(got) != 2 || !slices.Equal(got["/nodes"], []string{"get", "list", "watch"}) || !slices.Equal(got["/nodes/status"], []string{"patch"}) {
		t.Errorf("rules are %v", got)
	}
	text := (&statusError{what: "list nodes", code: 403}).Error()
	for _, part := range []string{manifest, "ClusterRole " + name, "nodes: get, list, watch", "nodes/status: patch"} {
		if !strings.Contains(text, part) {
			t.Errorf("a 403 says %q, want %q in it", text, part)
		}
	}
}
