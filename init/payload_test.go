package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/init/service"
	"weft/profiles"
	"weft/profiles/rancher"
)

func TestOwnServices(t *testing.T) {
	base := func(change func(*service.Spec)) service.Spec {
		s := service.Spec{
			Name: "web", Path: "/usr/local/bin/web",
			Env:   []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"},
			After: []string{"data", "network", "netd"}, WaitWithin: networkWithin,
			Grace: graceOwn, ReadyWithin: lateOwn, StopWithin: stopWithinOwn,
			Restart: service.Restart{Burst: burst, Window: burstWindow},
		}
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		given profiles.Service
		want  service.Spec
	}{
		"as it comes": {profiles.Service{}, base(func(*service.Spec) {})},
		"its own environment, sorted": {profiles.Service{Env: map[string]string{"B": "2", "A": "1"}},
			base(func(s *service.Spec) { s.Env = append(s.Env, "A=1", "B=2") })},
		"after something":  {profiles.Service{After: []string{"clock"}}, base(func(s *service.Spec) { s.After = []string{"data", "clock"} })},
		"with needs":       {profiles.Service{Requires: []string{"db"}}, base(func(s *service.Spec) { s.After, s.Requires = []string{"data"}, []string{"db"} })},
		"that says when":   {profiles.Service{Notify: true}, base(func(s *service.Spec) { s.Grace = 0 })},
		"with a watchdog":  {profiles.Service{Watchdog: 20}, base(func(s *service.Spec) { s.Watchdog = 20 * time.Second })},
		"bounded":          {profiles.Service{Memory: 64}, base(func(s *service.Spec) { s.Limits = service.Limits{MemoryMax: 64 << 20, Together: true} })},
		"on failure":       {profiles.Service{Restart: "on-failure"}, base(func(s *service.Spec) { s.Restart.Policy = service.OnFailure })},
		"once":             {profiles.Service{Restart: "never"}, base(func(s *service.Spec) { s.Restart.Policy, s.Grace, s.ReadyWithin = service.Never, 0, 0 })},
		"without any":      {profiles.Service{Capabilities: []string{"none"}}, base(func(s *service.Spec) { s.Capabilities = []string{} })},
		"with capability":  {profiles.Service{Capabilities: []string{"CAP_BPF"}}, base(func(s *service.Spec) { s.Capabilities = []string{"CAP_BPF"} })},
		"in another place": {profiles.Service{Directory: "/data", OOMScore: 5, Args: []string{"-v"}}, base(func(s *service.Spec) { s.Dir, s.OOMScore, s.Args = "/data", 5, []string{"-v"} })},
	} {
		c.given.Name = "web"
		got := ownServices([]profiles.Service{c.given})
		if len(got) != 1 || !reflect.DeepEqual(got[0], c.want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, got, c.want)
		}
		if _, err := service.Order(append([]service.Spec{netdSpec, {Name: "db"}}, got...), []string{stageNetwork, stageClock, stageData, stageKubernetes}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKubernetesIsRunAsItsRulesSay(t *testing.T) {
	p := profiles.Profile{Kubernetes: profiles.Kubernetes{Distribution: profiles.K3s}}
	k, on := rancher.ServiceFor(p, profiles.Node{})
	if !on {
		t.Fatal("it is not on")
	}
	s := kubernetesSpec(k, profiles.StoreEtcd)
	if slices.ContainsFunc(s.Env, func(v string) bool { return strings.HasPrefix(v, "INVOCATION_ID") }) {
		t.Errorf("environment %q", s.Env)
	}
	if !s.Alone || s.Capabilities != nil || s.Restart.Burst != 0 || s.Restart.Policy != service.Always ||
		s.Restart.First != 5*time.Second || s.Restart.Longest != time.Minute || s.Grace != 0 || s.Watchdog != 0 {
		t.Errorf("%+v", s)
	}
	for _, need := range []string{stageNetwork, stageClock, stageData, itemNetd} {
		if !slices.Contains(s.After, need) {
			t.Errorf("it does not come after %s", need)
		}
	}
	if !slices.Contains(s.Requires, stageKubernetes) {
		t.Error("it is started without its files")
	}
}

// netd whose store is Kubernetes waits for what K3s brings about: the API, the
// node's object, its pod subnet. K3s that waits for netd is two minutes late on
// its first boot.
func TestKubernetesDoesNotWaitForANetdThatWaitsForIt(t *testing.T) {
	k, _ := rancher.ServiceFor(profiles.Profile{Kubernetes: profiles.Kubernetes{Distribution: profiles.K3s}}, profiles.Node{})
	s := kubernetesSpec(k, profiles.StoreKubernetes)
	if slices.Contains(s.After, itemNetd) || slices.Contains(s.Requires, itemNetd) || !slices.Contains(s.After, stageNetwork) {
		t.Errorf("it comes after %q and requires %q", s.After, s.Requires)
	}
}

func TestKubernetesFilesAreWrittenOnceAndOldOnesRemoved(t *testing.T) {
	root := t.TempDir()
	folders := []rancher.File{{Path: "/etc/rancher/k3s", Mode: 0o755}, {Path: "/var/lib/rancher/k3s/server/manifests", Mode: 0o700}}
	seed := filepath.Join(root, "seed")
	if err := os.WriteFile(seed, []byte("from the image"), 0o644); err != nil {
		t.Fatal(err)
	}
	const manifests = "/var/lib/rancher/k3s/server/manifests/"
	files := []rancher.File{
		{Path: "/etc/rancher/k3s/config.yaml", Mode: 0o600, Data: []byte("a: b\n")},
		{Path: manifests + "weft-a.yaml", Mode: 0o600, From: "/seed"},
		{Path: "/var/lib/rancher/k3s/agent/images/x.tar", Mode: 0o777, Link: "/usr/share/weft/images/x.tar"},
	}
	for _, name := range []string{"weft-old.yaml", "theirs.yaml"} {
		if err := os.MkdirAll(filepath.Join(root, manifests), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, manifests, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeKubernetesFiles(root, folders, files); err != nil {
		t.Fatal(err)
	}
	stamp := func() time.Time {
		info, err := os.Stat(filepath.Join(root, "/etc/rancher/k3s/config.yaml"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v %v", info, err)
		}
		return info.ModTime()
	}
	first := stamp()
	if err := writeKubernetesFiles(root, folders, files); err != nil {
		t.Fatal(err)
	}
	if !stamp().Equal(first) {
		t.Error("what was as wanted has been written again")
	}
	got, err := filepath.Glob(filepath.Join(root, manifests, "*"))
	if err != nil || len(got) != 2 || filepath.Base(got[0]) != "theirs.yaml" || filepath.Base(got[1]) != "weft-a.yaml" {
		t.Errorf("manifests %q %v", got, err)
	}
	if data, err := os.ReadFile(filepath.Join(root, manifests, "weft-a.yaml")); err != nil || string(data) != "from the image" {
		t.Errorf("%q %v", data, err)
	}
	if target, err := os.Readlink(filepath.Join(root, "/var/lib/rancher/k3s/agent/images/x.tar")); err != nil || target != "/usr/share/weft/images/x.tar" {
		t.Errorf("%q %v", target, err)
	}
	files[1].From = "/none"
	if err := writeKubernetesFiles(root, folders, files); err == nil {
		t.Error("no error for a seed that is not there")
	}
}

func TestSummaryOfAnEnd(t *testing.T) {
	for text, want := range map[string]string{
		"exit code 1; starting again in 1s":               "exit code 1; starting again in 1s",
		"exit code 1\n| a; b\n| c; starting again in 1s":  "exit code 1; starting again in 1s",
		"exit code 1\n| last line without a next attempt": "exit code 1",
	} {
		if got := summary(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
