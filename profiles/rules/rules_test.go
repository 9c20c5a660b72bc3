package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
)

// base is the profile that examples change, and baseNodes the nodes of
// clusters that name none.
const base = `weft: profile/v1
name: base
description: what the examples change
network:
  pods: [10.42.0.0/16]
  services: [10.43.0.0/16]
kubernetes:
  distribution: k3s
`

const baseNodes = `nodes:
  - {name: node-1, role: server, addresses: [192.168.1.11]}
  - {name: node-2, role: agent, addresses: [192.168.1.12]}
`

// place writes the files of an example and returns the one to check.
func place(t *testing.T, e Example) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// with puts a key before a text that does not have it.
	with := func(text, key, value string) string {
		if strings.HasPrefix(text, key+":") || strings.Contains(text, "\n"+key+":") {
			return text
		}
		return key + ": " + value + "\n" + text
	}
	write("base.yaml", base)
	profile := with(with(with(e.Profile, "extends", "./base.yaml"), "name", "example"), "weft", "profile/v1")
	file := write("profile.yaml", profile)
	if e.Cluster == "" {
		return file
	}
	text := with(with(with(e.Cluster, "profile", "./profile.yaml"), "name", "example"), "weft", "cluster/v1")
	if !strings.Contains(text, "\nnodes:") {
		text += baseNodes
	}
	if e.Lock != "" {
		write("cluster.lock", "weft: cluster-lock/v1\nid: \"\"\n"+e.Lock)
	}
	return write("cluster.yaml", text+"secrets: secrets.yaml\n")
}

// check checks a file as weft check does.
func check(t *testing.T, file string, facts Facts) document.Problems {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Facts: func(string) Facts { return facts }}
	if strings.HasPrefix(string(data), "weft: cluster/") || strings.Contains(string(data), "\nweft: cluster/") {
		c, d, problems := cluster.Read(file, data)
		return Cluster(c, d, problems, o)
	}
	p, d, problems := profiles.Load(file, data)
	return Profile(p, d, problems, o)
}

func (e Example) none() bool { return e.Profile == "" && e.Cluster == "" }

func TestEveryRuleIsBrokenByItsBadExampleAndNotByItsGoodOne(t *testing.T) {
	for _, r := range All() {
		t.Run(r.ID, func(t *testing.T) {
			if r.Title == "" || r.Why == "" || r.Source == "" {
				t.Errorf("rule %s does not say what, why and from where", r.ID)
			}
			if r.Bad.none() || r.Good.none() {
				if r.node != nil || r.whole != nil || !strings.HasPrefix(r.ID, "HW") && !strings.HasPrefix(r.ID, "N") && !strings.HasPrefix(r.ID, "A") {
					t.Fatalf("rule %s has no pair of examples", r.ID)
				}
				return
			}
			bad := check(t, place(t, r.Bad), r.Bad.Facts)
			if !slices.ContainsFunc(bad, func(p document.Problem) bool { return p.Rule == r.ID }) {
				t.Errorf("the bad example does not break %s:\n%v", r.ID, bad)
			}
			for _, p := range bad {
				if p.Line == 0 || p.Message == "" || p.Fix == "" {
					t.Errorf("a problem without place, message or fix: %v", p)
				}
				if p.Rule != r.ID {
					t.Errorf("the bad example breaks %s too:\n%v", p.Rule, p)
				}
			}
			for _, p := range check(t, place(t, r.Good), r.Good.Facts) {
				t.Errorf("the good example has a problem:\n%v", p)
			}
		})
	}
}

// TestTableIsWhole wants the rules of every letter to be there to the last.
func TestTableIsWhole(t *testing.T) {
	for letter, last := range map[string]int{"A": 14, "B": 15, "C": 5, "D": 12, "E": 5, "F": 4, "G": 12, "H": 8, "I": 3} {
		for i := 1; i <= last; i++ {
			if id := fmt.Sprint(letter, i); !slices.Contains(IDs(), id) {
				t.Errorf("there is no rule %s", id)
			}
		}
	}
}

func TestEveryRuleOfProfilesIsExplained(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range All() {
		if seen[r.ID] {
			t.Errorf("rule %s is there twice", r.ID)
		}
		seen[r.ID] = true
	}
	for _, r := range profiles.Rules() {
		if !seen[r.ID] {
			t.Errorf("rule %s is not explained", r.ID)
		}
	}
}

// checkText checks a profile that stands in no file.
func checkText(text string) document.Problems {
	p, d, problems := profiles.Load("profile.yaml", []byte(text))
	return Profile(p, d, problems, Options{Facts: func(string) Facts {
		return Facts{Arch: "amd64", Kernel: "5.4.0", Lacks: []string{"CONFIG_VXLAN"}, Programs: []string{"ip"}, Users: []string{"root"}, Hosts: "x", Storage: "sd", Memory: 1}
	}})
}

// checkClusterText checks a cluster that stands in no file.
func checkClusterText(text string) document.Problems {
	c, d, problems := cluster.Read("/nonexistent/cluster.yaml", []byte(text))
	return Cluster(c, d, problems, Options{Lock: &cluster.Lock{}})
}
