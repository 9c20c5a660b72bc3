package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const homeCluster = `weft: cluster/v1
name: home
board: ./mine.yaml
profile: wireguard
nodes:
  - {name: pi-1, addresses: [192.168.1.11]}
  - {name: pi-2, addresses: [192.168.1.12]}
`

func TestKeysOfAClusterAreMadeOnceAndNeverShown(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "home.yaml", strings.Replace(homeCluster, "./mine.yaml", "x86-64-cloud", 1))
	secrets := filepath.Join(dir, "home.secrets")
	for _, verb := range []string{"build", "run"} {
		weft(t, verb, file, "--out", filepath.Join(dir, "out")).want(t, exitInput,
			"home.secrets has no WireGuard key for pi-1, pi-2", "fix: run: weft cluster keys "+file)
	}
	o := weft(t, "cluster", "keys", file)
	o.want(t, exitOK, "made a WireGuard key for pi-1\nmade a WireGuard key for pi-2\n", "in "+secrets)
	first, err := os.ReadFile(secrets)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(secrets)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for line := range strings.Lines(string(first)) {
		if _, key, ok := strings.Cut(line, "pi-1: "); ok && strings.Contains(o.out+o.err, strings.TrimSpace(key)) {
			t.Error("the key is shown")
		}
	}
	weft(t, "cluster", "keys", file).want(t, exitOK, "needs no keys that it does not have")
	if again, _ := os.ReadFile(secrets); !bytes.Equal(first, again) {
		t.Error("the keys were changed")
	}
	weft(t, "cluster", "keys", file, "--rotate", "pi-2").want(t, exitOK, "made a new WireGuard key for pi-2")
	weft(t, "cluster", "keys", file, "--rotate", "pi-9").want(t, exitInput, `there is no node "pi-9"`)
	if err := os.Chmod(secrets, 0o644); err != nil {
		t.Fatal(err)
	}
	weft(t, "build", file, "--out", dir).want(t, exitInput, "others can read the cluster's secrets", "fix: chmod 600 ")
}

// images are the images of a folder, by name.
func images(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.img"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, path := range found {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = data
	}
	return all
}

func TestImagesOfAClusterAreTheSameEachTime(t *testing.T) {
	kit := newKernelKit(t)
	dir := t.TempDir()
	kit.boardFile(dir, "deb: "+kit.deb())
	lock := filepath.Join(dir, "weft.lock")
	file := write(t, dir, "home.yaml", homeCluster)
	weft(t, "cluster", "keys", file).want(t, exitOK)
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	weft(t, "build", file, "--lock", lock, "--out", one).want(t, exitOK,
		"mine-wireguard.img", "home-pi-1.img  node pi-1, in ", "home-pi-2.img  node pi-2, in ", "boot them: weft run "+file)
	built := parse[[]builtNode](t, weft(t, "build", file, "--lock", lock, "--out", two, "--node", "pi-2", "--json"))
	if len(built) != 1 || built[0].Node != "pi-2" {
		t.Errorf("built %+v", built)
	}
	all, again := images(t, one), images(t, two)
	if len(all) != 3 || len(again) != 2 {
		t.Errorf("%d and %d images", len(all), len(again))
	}
	for name, data := range again {
		if !bytes.Equal(all[name], data) {
			t.Errorf("%s differs", name)
		}
	}
	if bytes.Equal(all["home-pi-1.img"], all["home-pi-2.img"]) {
		t.Error("the nodes have one image")
	}
	for name := range all {
		info, err := os.Stat(filepath.Join(one, name))
		if err != nil {
			t.Fatal(err)
		}
		if private := info.Mode().Perm() == 0o600; private != strings.HasPrefix(name, "home-") {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestFlagsThatAClusterFileHasItself(t *testing.T) {
	file := write(t, t.TempDir(), "home.yaml", strings.Replace(homeCluster, "./mine.yaml", "x86-64-cloud", 1))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"build", file, "--board", "x86-64"}, "--board: a cluster file has that itself"},
		{[]string{"build", file, "--profile", "vxlan"}, "--profile: a cluster file has that itself"},
		{[]string{"build", "--node", "pi-1"}, "--node is for a cluster file"},
		{[]string{"run", file, "--nodes", "2"}, "--nodes: a cluster file has its nodes itself"},
		{[]string{"cluster", "keys"}, "weft cluster keys takes one cluster file, not 0"},
		{[]string{"cluster", "kyes"}, `weft cluster has no verb "kyes"; did you mean "keys"?` + "\nsee: weft cluster --help"},
		{[]string{"cluster", "keys", file, "--rotate-psk"}, "home.yaml:4:10: no profile of cluster home has a pre-shared key"},
		{[]string{"cluster", "keys", file, "--rotate-psk"}, "fix: leave --rotate-psk out"},
		{[]string{"cluster", "keys", file, "--rotate-token"}, "fix: leave --rotate-token out"},
		{[]string{"run", "none.yaml"}, "there is no none.yaml"},
		{[]string{"build", "none.yaml"}, "none.yaml: no such file or directory"},
	} {
		weft(t, c.args...).want(t, exitInput, c.want)
	}
	weft(t, "cluster", "keys", "--help").want(t, exitOK, "Usage:", "Examples:")
	narrow(t, weft(t, "cluster", "keys", "--help").out)
}
