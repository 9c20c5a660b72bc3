package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"weft/profiles/draft"
)

func TestNewWritesWhatCheckAccepts(t *testing.T) {
	for _, dist := range draft.Distributions() {
		for _, backend := range draft.Backends(dist) {
			for _, family := range []string{"", "--dual-stack", "--ipv6-only"} {
				dir := t.TempDir()
				args := []string{"new", "lab", "--distribution", dist, "--backend", backend, "--nodes", "4", "--out", dir}
				if family != "" {
					args = append(args, family)
				}
				weft(t, args...).want(t, exitOK, "lab.yaml: written", "next: edit them")
				weft(t, "check", filepath.Join(dir, "lab.yaml"), filepath.Join(dir, "lab-cluster.yaml")).want(t, exitOK)
			}
		}
	}
}

func TestNewFilesAreExplained(t *testing.T) {
	dir := t.TempDir()
	o := weft(t, "new", "home", "--distribution", "k3s", "--backend", "wireguard", "--dual-stack", "--nodes", "3", "--servers", "3", "--board", "x86-64", "--out", dir)
	o.want(t, exitOK)
	text := ""
	for _, name := range []string{"home.yaml", "home-cluster.yaml", "home-secrets.yaml"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		text += "==> " + name + "\n" + string(data)
	}
	narrow(t, text)
	// What is drawn at random is another each time.
	text = regexp.MustCompile(`fd[0-9a-f:]+:([0-9a-f]{1,4})::`).ReplaceAllString(text, "fdXX:XXXX:XXXX:$1::")
	text = regexp.MustCompile(`id: [0-9a-f-]{36}`).ReplaceAllString(text, "id: UUID")
	text = regexp.MustCompile(`token: [A-Z2-7]{52}`).ReplaceAllString(text, "token: RANDOM")
	golden(t, "new.txt", text)
	if info, err := os.Stat(filepath.Join(dir, "home-secrets.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secrets: %v %v", info, err)
	}
	weft(t, "new", "home", "--nodes", "1", "--out", dir).want(t, exitInput, "home.yaml is there already; use another name, --out, or --force")
	weft(t, "new", "home", "--nodes", "1", "--out", dir, "--force").want(t, exitOK)
}

func TestNewRefusesWhatCannotBe(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"new a b", "weft new takes one name, not 2"},
		{"new --distribution k4s", "--distribution k4s: did you mean k3s?"},
		{"new --distribution rke2 --backend host-gw", "--backend host-gw: "},
		{"new --dual-stack --ipv6-only", "use one of them"},
		{"new --nodes 251", "--nodes 251: use 1 to 250"},
		{"new --nodes -1", "--nodes -1"},
		{"new --nodes 2 --servers 3", "--servers 3: use 1 to 2"},
		{"new Home --nodes 1", "the name \"Home\": use lower-case letters"},
		{"new ../x --nodes 1", "the name \"../x\""},
		{"new --first 300.1.1.1", "--first 300.1.1.1: use an address"},
		{"new --first fd00::1", "--first fd00::1: use an address such as 192.168.1.11"},
		{"new --first6 ff02::1", "--first6 ff02::1"},
		{"new --version one", "--version one: write it like v1.33.1"},
		{"new --board x86_64", `did you mean x86-64?`},
	} {
		weft(t, append(strings.Fields(c.args), "--out", filepath.Join(t.TempDir(), "no"))...).want(t, exitInput, c.want)
	}
}

// A typist answers line by line, and a terminal echoes what is typed.
type typist struct {
	answers []string
	out     io.Writer
}

func (y *typist) Read(p []byte) (int, error) {
	if len(y.answers) == 0 {
		return 0, io.EOF
	}
	line := y.answers[0]
	y.answers = y.answers[1:]
	_, err := io.WriteString(y.out, line)
	return copy(p, line), err
}

func TestQuestionsHaveDefaultsAndAreAskedAgain(t *testing.T) {
	var out bytes.Buffer
	w, err := ask(&typist{answers: strings.SplitAfter("\nk4s\nk3s\nwireguard-native\ndual-stack\nmany\n3\n4\n3\n\n\n\n", "\n"), out: &out}, &out, draft.Wish{})
	if err != nil {
		t.Fatal(err)
	}
	w = w.Filled()
	if w.Name != "home" || w.Distribution != "k3s" || w.Backend != "wireguard-native" || w.Families != draft.DualStack || w.Nodes != 3 || w.Servers != 3 || w.Board == "" {
		t.Errorf("got %+v", w)
	}
	golden(t, "questions.txt", out.String())
	narrow(t, out.String())
	var input inputError
	for name, answers := range map[string]string{
		"none at all": "", "too long": strings.Repeat("x", 500) + "\n", "always wrong": strings.Repeat("UPPER\n", 9),
	} {
		if _, err := ask(strings.NewReader(answers), &out, draft.Wish{}); !errors.As(err, &input) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
