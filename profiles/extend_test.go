package profiles

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// put writes files into a folder and returns the path of the first.
func put(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, files[0])
}

const extending = `weft: profile/v1
name: mine
extends: ./lower.yaml
network:
  pods: [10.50.0.0/16]
  backend: {port: 4789}
sysctls:
  vm.swappiness: 10
`

const lower = `weft: profile/v1
name: lower
description: what is below
network:
  pods: [10.244.0.0/16, "fd42::/48"]
  services: [10.96.0.0/16]
  backend: {type: vxlan, port: 8472}
sysctls:
  vm.swappiness: 60
  vm.max_map_count: 262144
modules: [wireguard]
`

func TestProfileIsLaidOverTheOneItExtends(t *testing.T) {
	file := put(t, "mine.yaml", extending, "lower.yaml", lower)
	p, d, problems, err := Find(file)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	if p.Name != "mine" || p.Description != "" || p.Extends != "" {
		t.Errorf("own keys: %q, %q, %q", p.Name, p.Description, p.Extends)
	}
	n := p.Network
	if len(n.Pods) != 1 || n.Pods[0].String() != "10.50.0.0/16" {
		t.Errorf("lists are replaced: %v", n.Pods)
	}
	if n.Backend.Type != BackendVXLAN || n.Backend.Port != 4789 || p.Sysctls["vm.swappiness"] != "10" || p.Sysctls["vm.max_map_count"] != "262144" {
		t.Errorf("mappings are merged: %+v, %v", n.Backend, p.Sysctls)
	}
	dir := filepath.Dir(file)
	for path, want := range map[string]string{
		"network.pods[0]":           file + ":5:10",
		"network.services[0]":       filepath.Join(dir, "lower.yaml") + ":6:14",
		"network.backend.type":      filepath.Join(dir, "lower.yaml") + ":7:19",
		"network.backend.port":      file + ":6:19",
		"sysctls[vm.max_map_count]": filepath.Join(dir, "lower.yaml") + ":10:21",
		"modules[0]":                filepath.Join(dir, "lower.yaml") + ":11:11",
		"description":               "default",
	} {
		if got := d.Position(path).String(); got != want {
			t.Errorf("%s is at %s, want %s", path, got, want)
		}
	}
}

func TestResolvedProfileIsWhole(t *testing.T) {
	p, _, _, err := Find(put(t, "mine.yaml", extending, "lower.yaml", lower))
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.WithDefaults().YAML()
	if err != nil {
		t.Fatal(err)
	}
	if again, _, problems := Read("profile.yaml", text); len(problems) > 0 || again.Network.Backend.Type != BackendVXLAN {
		t.Errorf("%v", problems)
	}
	if _, _, problems := Read("profile.yaml", []byte(extending)); problems.Errors() == nil {
		t.Error("init would take a profile with half of its values")
	}
}

func TestProblemsOfTheLowerProfilePointIntoIt(t *testing.T) {
	file := put(t, "mine.yaml", extending, "lower.yaml", strings.Replace(lower, "10.96.0.0/16", "10.96.0.1/16", 1))
	_, _, problems, err := Find(file)
	if err != nil || len(problems) != 1 || filepath.Base(problems[0].File) != "lower.yaml" || problems[0].Line != 6 ||
		!strings.Contains(problems[0].Source, "services: [10.96.0.1/16]") {
		t.Errorf("%v %v", err, problems)
	}
}

func TestProfilesExtendOneAnotherAndEnd(t *testing.T) {
	top := strings.Replace(extending, "./lower.yaml", "./mid.yaml", 1)
	mid := "weft: profile/v1\nname: mid\nextends: lower.yaml\nmodules: [dummy]\n"
	p, _, problems, err := Find(put(t, "top.yaml", top, "mid.yaml", mid, "lower.yaml", lower))
	if err != nil || len(problems) > 0 || len(p.Modules) != 1 || p.Modules[0] != "dummy" || p.Network.Backend.Type != BackendVXLAN {
		t.Errorf("three profiles: %v %v %+v", err, problems, p)
	}
	if p, _, problems, err := Find(put(t, "a.yaml", "weft: profile/v1\nname: a\nextends: dual-stack\n")); err != nil || len(problems) > 0 || !p.Network.HasIPv6() {
		t.Errorf("a shipped one: %v %v", err, problems)
	}
	_, _, problems, err = Find(put(t, "a.yaml", "weft: profile/v1\nname: a\nextends: ./b.yaml\n", "b.yaml", "weft: profile/v1\nname: b\nextends: ./a.yaml\n"))
	if err != nil || len(problems) != 1 || problems[0].Rule != RuleExtends {
		t.Errorf("a circle: %v %v", err, problems)
	}
}

func TestOlderFormatIsReadWithWarnings(t *testing.T) {
	p, d, problems := Load("old.yaml", []byte("weft: profile/v0\nname: old\nnetwork:\n  podCIDRs: [10.244.0.0/16]\n  serviceCIDRs: [10.96.0.0/16]\n  nodeMask: {ipv4: 25}\n  ipMasq: {ipv4: false}\n  backend: {type: vxlan}\n"))
	if problems.Errors() != nil || len(problems) != 5 {
		t.Fatal(problems)
	}
	for i, line := range []int{1, 4, 5, 6, 7} {
		if problems[i].Rule != RuleOld || problems[i].Level.String() != "warning" || problems[i].Line != line || problems[i].Fix == "" {
			t.Errorf("%v", problems[i])
		}
	}
	if p.Weft != Version || len(p.Network.Pods) != 1 || p.Network.SubnetLength.IPv4 != 25 || p.Network.Masquerade.IPv4 == nil {
		t.Errorf("%+v", p)
	}
	if got := d.Position("network.pods[0]").String(); got != "old.yaml:4:14" {
		t.Errorf("pods are at %s", got)
	}
	// Both names at once: the old one is unknown, as in every other file.
	_, _, problems = Load("old.yaml", []byte("weft: profile/v0\nname: old\nnetwork:\n  podCIDRs: [10.244.0.0/16]\n  pods: [10.245.0.0/16]\n  backend: {type: vxlan}\n"))
	if problems.Errors() == nil {
		t.Error("a key of both formats at once is taken")
	}
	_, _, problems = Load("new.yaml", []byte("weft: profile/v2\nname: new\nnetwork:\n  pods: [10.244.0.0/16]\n  backend: {type: vxlan}\n"))
	if problems.Errors() == nil {
		t.Error("a newer format is taken")
	}
}

func TestReleasesAreCompared(t *testing.T) {
	for _, c := range []struct {
		have, than string
		before     bool
	}{
		{"v1.33.1+k3s1", "1.34", true}, {"v1.34.0+k3s1", "1.34", false}, {"v1.9.0", "1.10", true},
		{"v1.23.14+k3s1", "1.23.15", true}, {"", "1.99", false}, {"6.12.43+deb13-arm64", "6.12.43", false}, {"2.0", "1.99", false},
	} {
		r, err := ParseRelease(c.have)
		if err != nil || r.Before(c.than) != c.before {
			t.Errorf("%q before %s: %v, %v", c.have, c.than, r.Before(c.than), err)
		}
	}
	for _, bad := range []string{"latest", "1", "1.x", "1.2.3.4", "v-1.2", "1.33.99999", "+"} {
		if _, err := ParseRelease(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	// strongSwan left the releases of December 2022, each in its own line.
	for have, before := range map[string]bool{"v1.26.0": false, "v1.25.4": true, "v1.25.5": false, "v1.24.8": true, "v1.22.1": true, "v1.27.0": false, "": false} {
		r, _ := ParseRelease(have)
		if got := r.BeforeLine("1.23.15", "1.24.9", "1.25.5", "1.26.0"); got != before {
			t.Errorf("%q: %v", have, got)
		}
	}
}

func FuzzParseRelease(f *testing.F) {
	f.Add("v1.33.1+k3s1")
	f.Add("6.12.43+deb13-arm64")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRelease(text)
		if err == nil && !r.Newest() && (r.Major < 0 || r.Minor > 9999) {
			t.Errorf("%q is %+v", text, r)
		}
	})
}

func TestSettingsOfKubernetesAreReadBack(t *testing.T) {
	const text = `weft: profile/v1
name: k
kubernetes:
  distribution: rke2
  config:
    token: "0123"
    kubelet-arg: [max-pods=250]
    selinux: true
    v: 4
  cni: [canal]
  charts:
    rke2-canal:
      flannel: {iface: eth1, mtu: 1400, empty: null, share: 0.5, version: "1.10"}
  registries:
    mirrors:
      docker.io: {endpoints: ["https://mirror.lan"]}
`
	p, _, problems := Read("k.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	flannel := p.Kubernetes.Charts["rke2-canal"]["flannel"]
	if want := map[string]any{"iface": "eth1", "mtu": 1400, "empty": nil, "share": 0.5, "version": "1.10"}; !reflect.DeepEqual(flannel, want) {
		t.Errorf("got %#v", flannel)
	}
	if want := map[string]any{"token": "0123", "kubelet-arg": []any{"max-pods=250"}, "selinux": true, "v": 4}; !reflect.DeepEqual(p.Kubernetes.Config, want) {
		t.Errorf("got %#v", p.Kubernetes.Config)
	}
	out, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, _, problems := Read("again.yaml", out)
	if len(problems) > 0 || !reflect.DeepEqual(again, p) {
		t.Errorf("%v\ngot  %+v\nwant %+v", problems, again, p)
	}
	if _, err := json.Marshal(p); err != nil {
		t.Error(err)
	}
}

func TestNetworkOfKubernetesHasItsDefaults(t *testing.T) {
	p, _, problems := Read("k.yaml", []byte("weft: profile/v1\nname: k\nkubernetes: {distribution: k3s}\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	n := p.WithDefaults().Network
	if len(n.Pods) != 1 || n.Pods[0].String() != "10.42.0.0/16" || n.Services[0].String() != "10.43.0.0/16" || n.Backend.Type != BackendNone || p.NetdOn() {
		t.Errorf("%+v", n)
	}
	out, err := p.WithDefaults().YAML()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, problems := Read("again.yaml", out); len(problems) > 0 {
		t.Error(problems)
	}
}
