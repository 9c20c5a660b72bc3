package main

import (
	"os"
	"strings"
	"testing"

	"weft/document"
	"weft/profiles/rules"
)

const (
	goodCluster = "weft: cluster/v1\nname: home\nprofile: ./p.yaml\nsecrets: s.yaml\nnodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11]}\n"
	k3sProfile  = "weft: profile/v1\nname: p\nnetwork:\n  pods: [10.42.0.0/16]\n  services: [10.43.0.0/16]\nkubernetes:\n  distribution: k3s\n"
)

func TestCheckReadsClustersWithTheirProfiles(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "home.yaml", goodCluster)
	write(t, dir, "p.yaml", k3sProfile)
	if err := os.Chmod(write(t, dir, "s.yaml", "token: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	weft(t, "check", file).want(t, exitOK, "home.yaml: good")
	write(t, dir, "p.yaml", k3sProfile+"  server: {flannel-backend: vxlna}\n")
	o := weft(t, "check", file)
	o.want(t, exitInput)
	if !strings.Contains(o.err, `p.yaml:8:29: there is no flannel backend "vxlna"   [D1]`) {
		t.Errorf("got %s", o.err)
	}
	write(t, dir, "p.yaml", strings.Replace(k3sProfile, "10.42.0.0/16", "10.44.0.0/16", 1))
	write(t, dir, "home.lock", "weft: cluster-lock/v1\nid: \"\"\npods: [10.42.0.0/16]\nservices: [10.43.0.0/16]\n")
	if o := weft(t, "check", file); !strings.Contains(o.err, "[B12]") {
		t.Errorf("another range for a running cluster: %s", o.err)
	}
}

func TestEveryRuleCanBeExplainedWithinATerminal(t *testing.T) {
	list := weft(t, "check", "--rules")
	list.want(t, exitOK)
	for _, id := range rules.IDs() {
		if !strings.Contains(list.out, "\n"+id+" ") && !strings.HasPrefix(list.out, id+" ") {
			t.Errorf("%s is not listed", id)
		}
		o := weft(t, "check", "--explain", strings.ToLower(id))
		o.want(t, exitOK, id+": ", "severity:", "why:", "source:")
		// Examples are files, and stay as they are.
		text, _, _ := strings.Cut(o.out, "breaks it:")
		for line := range strings.Lines(text) {
			if n := document.Columns(strings.TrimSuffix(line, "\n")); n > lineWidth {
				t.Errorf("%s: %d columns: %s", id, n, line)
			}
		}
	}
	for line := range strings.Lines(list.out) {
		if len(line) > lineWidth+1 {
			t.Errorf("%s", line)
		}
	}
	if o := parse[[]explained](t, weft(t, "check", "--rules", "--json")); len(o) != len(rules.IDs()) {
		t.Errorf("%d rules in JSON", len(o))
	}
	weft(t, "check", "--explain", "B77").want(t, exitInput)
	weft(t, "check", "--explain", "B7", "file.yaml").want(t, exitInput)
}
