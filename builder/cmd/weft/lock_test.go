package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/builder/apt"
)

// locked reads a lock and returns the names of its packages.
func locked(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := apt.ReadLock(path, data)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range lock.Packages {
		names = append(names, e.Name)
	}
	return names
}

func TestALockServesSeveralBoards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weft.lock")
	weft(t, "lock", "--lock", path).want(t, exitOK, "+ linux-image-", "-cloud-amd64 ", "+ systemd-boot-efi ")
	first := locked(t, path)
	if len(first) != 2 {
		t.Errorf("locked: %q", first)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	weft(t, "lock", "--lock", path).want(t, exitOK, path+" pins all that x86-64-cloud needs; --update takes newer versions")
	weft(t, "lock", "--lock", path, "--update").want(t, exitOK, "  systemd-boot-efi ")
	if again, err := os.ReadFile(path); err != nil || string(again) != string(written) {
		t.Errorf("an update without news changes the lock: %v", err)
	}
	weft(t, "lock", "--lock", path, "--board", "x86-64").want(t, exitOK, "+ firmware-realtek ", "  systemd-boot-efi ")
	both := locked(t, path)
	for _, name := range append(first, "firmware-realtek") {
		if !slices.Contains(both, name) {
			t.Errorf("%s was dropped: %q", name, both)
		}
	}
	for _, board := range []string{"x86-64", "x86-64-cloud"} {
		weft(t, "lock", "--lock", path, "--board", board, "--mirror", "http://127.0.0.1:1/").want(t, exitOK, "pins all that "+board+" needs")
	}
}

const mixedCluster = `weft: cluster/v1
name: mixed
profile: vxlan
nodes:
  - {name: pc, board: x86-64-cloud, addresses: [192.168.1.11]}
  - {name: arm, board: arm64-uefi, addresses: [192.168.1.12]}
`

// One lock serves a cluster of two architectures, made by the first build or by
// weft lock; a lock that lacks one of them is named with the way out.
func TestALockServesEachArchitectureOfACluster(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "mixed.yaml", mixedCluster)
	made := filepath.Join(dir, "weft.lock")
	build := []string{"build", file, "--out", dir}
	weft(t, append(build, "--node", "pc")...).want(t, exitOK, "mixed-pc.img")
	weft(t, "lock", file, "--lock", made, "--mirror", "http://127.0.0.1:1/").want(t, exitOK, made+" pins all that "+file+" needs")
	for _, arch := range []string{"amd64", "arm64"} {
		if names := locked(t, made); !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "linux-image-") && strings.HasSuffix(n, arch) }) {
			t.Errorf("no kernel for %s: %q", arch, names)
		}
	}

	part := filepath.Join(dir, "part.lock")
	weft(t, "lock", "--lock", part).want(t, exitOK)
	fix := "weft lock " + file + " --lock " + part
	weft(t, append(build, "--lock", part)...).want(t, exitInput, "architecture arm64", "fix: add it: "+fix)
	weft(t, strings.Fields(fix)[1:]...).want(t, exitOK, "+ linux-image-", "-arm64 ", "  systemd-boot-efi ")
	weft(t, append(build, "--lock", part)...).want(t, exitOK, "mixed-pc.img", "mixed-arm.img", "boot them: weft run "+file)
	weft(t, "lock", file, "--board", "x86-64").want(t, exitInput, "--board: a cluster file has that itself")
}

func TestAnUpdateSaysWhatChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weft.lock")
	weft(t, "lock", "--lock", path).want(t, exitOK)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(data), "name: systemd-boot-efi\n    version: \"")
	if !ok {
		t.Fatalf("the lock looks different:\n%s", data)
	}
	version, _, _ := strings.Cut(after, `"`)
	write(t, filepath.Dir(path), "weft.lock", before+"name: systemd-boot-efi\n    version: \"1"+after)
	weft(t, "lock", "--lock", path, "--update").want(t, exitOK, "~ systemd-boot-efi "+version+", was 1"+version)
}

func TestABrokenLockIsNotReplaced(t *testing.T) {
	path := write(t, t.TempDir(), "weft.lock", "weft: lock/v1\nepoch: soon\n")
	weft(t, "lock", "--lock", path, "--update").want(t, exitInput, path+":2:8: ")
	if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), "soon") {
		t.Errorf("the lock is now %q, %v", data, err)
	}
}
