package builder_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"weft/boards"
	"weft/builder"
	"weft/builder/buildtest"
	"weft/builder/plan"
	"weft/document"
	"weft/profiles"
)

// TestTheImageIsCheckedForWhatRulesAskOfIt takes from a sound plan what an
// image has, bit by bit.
func TestTheImageIsCheckedForWhatRulesAskOfIt(t *testing.T) {
	board, boardFile, problems, err := boards.Find("x86-64-cloud")
	if err != nil || problems.Errors() != nil {
		t.Fatal(err, problems)
	}
	const rke2 = "weft: profile/v1\nname: p\nnetwork:\n  pods: [10.42.0.0/16]\n  services: [10.43.0.0/16]\nkubernetes:\n  distribution: rke2\n  config: {profile: cis}\n"
	check := func(change func(*plan.Plan)) document.Problems {
		t.Helper()
		profile, file, problems := profiles.Load("p.yaml", []byte(rke2))
		if problems.Errors() != nil {
			t.Fatal(problems)
		}
		p := plan.New("test", board, boardFile, profile, file)
		change(&p)
		o := buildtest.Options(t, p, buildtest.CacheDir(t), t.TempDir())
		o.LockFile = ""
		found, err := builder.Check(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	has := func(found document.Problems, rule, place string) bool {
		return slices.ContainsFunc(found, func(p document.Problem) bool {
			return p.Rule == rule && strings.HasPrefix(fmt.Sprintf("%s:%d:%d:", p.File, p.Line, p.Column), place) && p.Fix != ""
		})
	}
	if found := check(func(*plan.Plan) {}); len(found) != 0 {
		t.Errorf("a sound image: %v", found)
	}
	if found := check(func(p *plan.Plan) { p.Userland = nil }); !has(found, "G4", "p.yaml:7:17:") {
		t.Errorf("an image without iptables: %v", found)
	}
	if found := check(func(p *plan.Plan) { p.Profile.Kubernetes.Config = nil }); !has(found, "G10", "p.yaml:8:") {
		t.Errorf("an image without the user etcd: %v", found)
	}
}
