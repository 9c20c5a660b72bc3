package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// weft new lab writes the profile to lab.yaml, so that is what people give to
// verbs that want lab-cluster.yaml.
func TestAFileOfAnotherKindIsSaidToBeThat(t *testing.T) {
	dir := t.TempDir()
	weft(t, "new", "lab", "--out", dir).want(t, exitOK)
	profile, nodes := filepath.Join(dir, "lab.yaml"), filepath.Join(dir, "lab-cluster.yaml")
	board := write(t, dir, "b.yaml", "weft: board/v1\nname: mine\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"build", profile}, profile + ": this is a profile, not a cluster file\nfix: name the cluster file; an image of this alone: weft build --profile " + profile},
		{[]string{"run", profile}, "this is a profile, not a cluster file"},
		{[]string{"plan", profile, "--node", "lab-1"}, "this is a profile, not a cluster file"},
		{[]string{"lock", profile}, "this is a profile, not a cluster file"},
		{[]string{"cluster", "keys", profile}, "this is a profile, not a cluster file"},
		{[]string{"node-file", profile, "--node", "lab-1"}, "this is a profile, not a cluster file"},
		{[]string{"flash", "--batch", profile}, "this is a profile, not a cluster file"},
		{[]string{"build", board}, "this is a board, not a cluster file\nfix: name the cluster file; an image of this alone: weft build --board " + board},
		{[]string{"contract", nodes}, nodes + ": this is a cluster file, not a profile\nfix: name a profile, which says weft: profile/v1; the image of a cluster: weft build " + nodes},
		{[]string{"plan", "--profile", board}, "this is a board, not a profile\nfix: name a profile, which says weft: profile/v1"},
		{[]string{"plan", "--board", profile}, "this is a profile, not a board"},
	} {
		o := weft(t, c.args...)
		o.want(t, exitInput, c.want)
		if strings.Count(o.err, "\n") != 2 {
			t.Errorf("%s: more is printed than the message:\n%s", c.args, o.err)
		}
	}
}

// What cannot be read, or says nothing of its kind, is for the reader to judge.
func TestAFileOfNoKindIsLeftToItsReader(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"", "nodes: []\n", "weft: clutser/v1\n", "weft: 7\n", "weft: \"cluster/v1\" # mine\n"} {
		if err := ofKind(write(t, dir, "x.yaml", text), "cluster"); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := ofKind(filepath.Join(dir, "none.yaml"), "cluster"); err != nil {
		t.Error(err)
	}
}
