package rules

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/document"
)

// checked checks a profile over the base of examples, and returns what is
// wrong as rule ids.
func checked(t *testing.T, profile string) (ids string, problems document.Problems) {
	t.Helper()
	problems = check(t, place(t, Example{Profile: profile}), Facts{})
	var list []string
	for _, p := range problems {
		list = append(list, p.Rule)
	}
	return strings.Join(list, " "), problems
}

func TestOverridesSilenceWhatTheyName(t *testing.T) {
	const broken = "kubernetes:\n  server: {flannel-backend: none, egress-selector-mode: foo}\n"
	for _, c := range []struct{ name, overrides, want string }{
		{"none", "", "D9 E1"},
		{"a warning", "overrides:\n  - {rule: D9, reason: GitOps installs it}\n", "E1"},
		{"an error", "overrides:\n  - {rule: E1, reason: a build of my own}\n", "D9"},
		{"both", "overrides:\n  - {rule: E1, reason: a build of my own}\n  - {rule: D9, reason: GitOps}\n", ""},
		{"a reason of spaces", "overrides:\n  - {rule: E1, reason: \"  \"}\n", "D9 E1 A13"},
		{"no reason", "overrides:\n  - {rule: E1}\n", "D9 E1 A13"},
		{"one that nothing breaks", "overrides:\n  - {rule: E2, reason: x}\n", "D9 E1 A13"},
		{"one that only a cluster can break", "overrides:\n  - {rule: H3, reason: x}\n", "D9 E1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, problems := checked(t, broken+c.overrides); got != c.want {
				t.Errorf("got %q, want %q\n%v", got, c.want, problems)
			}
		})
	}
}

func TestWarningsOfReadingCanBeOverridden(t *testing.T) {
	const ula = "network:\n  pods: [\"fd42:42::/56\"]\n  services: [\"fd42:43::/112\"]\n"
	if got, _ := checked(t, ula); got != "B14" {
		t.Errorf("got %q", got)
	}
	if got, problems := checked(t, ula+"overrides:\n  - {rule: B14, reason: a NAT64 does it}\n"); got != "" {
		t.Errorf("got %q\n%v", got, problems)
	}
}

func TestClusterOverridesItsProfiles(t *testing.T) {
	e := Example{
		Profile: "kubernetes:\n  server: {flannel-backend: none}\n",
		Cluster: "overrides:\n  - {rule: D9, reason: GitOps}\n",
	}
	if problems := check(t, place(t, e), Facts{}); len(problems) > 0 {
		t.Errorf("%v", problems)
	}
}

func TestWhatWeftItselfWouldRefuseCannotBeOverridden(t *testing.T) {
	for name, e := range map[string]Example{
		"B1":  {Profile: "network: {pods: [10.42.1.0/16], services: [10.43.0.0/16]}\noverrides:\n  - {rule: B1, reason: x}\n"},
		"N31": {Cluster: "overrides:\n  - {rule: N31, reason: x}\nnodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11], storage: tape}\n"},
	} {
		var ids []string
		for _, p := range check(t, place(t, e), Facts{}) {
			ids = append(ids, p.Rule)
		}
		slices.Sort(ids)
		if want := []string{"A13", name}; !slices.Equal(ids, want) {
			t.Errorf("%s: got %q, want %q", name, ids, want)
		}
	}
}

func TestVersionOfAClusterCountsOverThatOfItsProfile(t *testing.T) {
	e := Example{
		Profile: "kubernetes:\n  version: v1.33.1+k3s1\n  server: {flannel-backend: wireguard}\n",
		Cluster: "kubernetesVersion: v1.25.4+k3s1\n",
	}
	problems := check(t, place(t, e), Facts{})
	if len(problems) != 1 || problems[0].Rule != "D3" {
		t.Errorf("%v", problems)
	}
}

func TestNodesCanHaveProfilesOfTheirOwn(t *testing.T) {
	file := place(t, Example{Profile: "", Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11]}\n" +
		"  - {name: node-2, role: agent, profile: ./other.yaml, addresses: [192.168.1.12]}\n"})
	other := "weft: profile/v1\nname: other\nextends: ./base.yaml\nkubernetes:\n  agent: {flannel-backend: vxlan}\n"
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "other.yaml"), []byte(other), 0o644); err != nil {
		t.Fatal(err)
	}
	problems := check(t, file, Facts{})
	if len(problems) != 1 || problems[0].Rule != "A3" || filepath.Base(problems[0].File) != "other.yaml" {
		t.Errorf("%v", problems)
	}
}

func FuzzProfile(f *testing.F) {
	f.Add(base)
	files, err := filepath.Glob("../testdata/bad/profiles/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "extends") {
			return // files of the machine are not for fuzzing
		}
		for _, p := range checkText(text) {
			if p.Message == "" || p.Rule == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}

func FuzzCluster(f *testing.F) {
	f.Add("weft: cluster/v1\nname: x\nprofile: vxlan\nnodes:\n  - {name: a, role: node, addresses: [10.0.0.1]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "/") && !strings.Contains(text, "profile: vxlan\n") {
			return
		}
		checkClusterText(text)
	})
}
