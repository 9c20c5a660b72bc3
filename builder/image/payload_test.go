package image_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/boards"
	"weft/builder"
	"weft/builder/buildtest"
	"weft/builder/plan"
	"weft/document"
	"weft/profiles"
)

// mine is a profile that extends a shipped one by payloads.
const mine = `weft: profile/v1
name: mine
description: K3s with a program that stands for it
extends: k3s-flannel-vxlan
kubernetes:
  version: v1.33.1+k3s1
  payload:
    - {path: ./k3s}
  images:
    - {path: images.tar}
  manifests:
    - {path: app.yaml}
services:
  - {name: hello, program: {path: k3s}}
`

// planOf resolves the profile in a folder for the cloud board.
func planOf(t *testing.T, dir, text string) plan.Plan {
	t.Helper()
	file := filepath.Join(dir, "mine.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, d, problems, err := profiles.Find(file)
	if err != nil || problems.Errors() != nil {
		t.Fatal(err, problems)
	}
	b, boardFile, _, err := boards.Find("x86-64-cloud")
	if err != nil {
		t.Fatal(err)
	}
	return plan.New(buildtest.Version, b, boardFile, p, d)
}

// compile makes a tiny static program.
func compile(t *testing.T, file, arch string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "k3s.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\"k3s\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", file, source)
	cmd.Env = append(os.Environ(), "GOARCH="+arch, "GOOS=linux", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestPayloadsAreInTheRootAndRebuildsAreQuick(t *testing.T) {
	dir := t.TempDir()
	compile(t, filepath.Join(dir, "k3s"), "amd64")
	for _, name := range []string{"images.tar", "app.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := buildtest.Options(t, planOf(t, dir, mine), buildtest.CacheDir(t), dir)
	first := buildtest.Build(t, o)
	root := open(t, first)
	for path, mode := range map[string]fs.FileMode{
		"usr/local/bin/k3s": 0o755, "usr/local/bin/hello": 0o755,
		"usr/share/weft/images/images.tar": 0o644, "usr/share/weft/manifests/app.yaml": 0o644,
	} {
		info, err := fs.Stat(root.Root, path)
		if err != nil || info.Mode().Perm() != mode || info.Size() == 0 {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}
	if to, err := fs.ReadLink(root.Root, "etc/rancher"); err != nil || to != "../data/etc/rancher" {
		t.Errorf("etc/rancher: %s %v", to, err)
	}
	if first.Payload == 0 {
		t.Error("the result does not tell the size of payloads")
	}
	started := time.Now()
	again := buildtest.Build(t, o)
	if took := time.Since(started); again.SHA256 != first.SHA256 || took > 3*time.Second {
		t.Errorf("built again in %v: %s, %s", took, again.SHA256, first.SHA256)
	} else {
		t.Logf("built again in %v", took)
	}
	if err := os.WriteFile(filepath.Join(dir, "app.yaml"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if changed := buildtest.Build(t, o); changed.ID == first.ID || changed.SHA256 == first.SHA256 {
		t.Error("a changed payload gives the same image")
	}
}

func TestPayloadsThatCannotRunAreRefusedAtTheirLines(t *testing.T) {
	dir := t.TempDir()
	compile(t, filepath.Join(dir, "k3s"), "arm64")
	text := strings.Replace(mine, "  images:\n    - {path: images.tar}\n  manifests:\n    - {path: app.yaml}\n", "", 1)
	o := buildtest.Options(t, planOf(t, dir, text), buildtest.CacheDir(t), dir)
	refused := func(want ...string) {
		t.Helper()
		_, err := builder.Build(t.Context(), o)
		var problems document.Problems
		if !errors.As(err, &problems) {
			t.Fatalf("got %v", err)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("no %q in\n%v", w, err)
			}
		}
	}
	refused("mine.yaml:8:8", "it is a program for arm64, and the board is amd64", "mine.yaml:10:19")
	o.Plan = planOf(t, dir, "weft: profile/v1\nname: mine\ndescription: no program\nextends: rke2-cis\n")
	refused("the program rke2 is not among the payloads for amd64", "payload:")
}

func TestHardenedRKE2HasItsUser(t *testing.T) {
	dir := t.TempDir()
	compile(t, filepath.Join(dir, "rke2"), "amd64")
	o := buildtest.Options(t, planOf(t, dir, "weft: profile/v1\nname: mine\ndescription: hardened\nextends: rke2-cis\nkubernetes: {payload: [{path: rke2}]}\n"), buildtest.CacheDir(t), dir)
	root := open(t, buildtest.Build(t, o))
	for _, name := range []string{"etc/passwd", "etc/group"} {
		if data := root.read(root.Root, name); !strings.Contains(string(data), "\netcd:x:990:") {
			t.Errorf("%s: %s", name, data)
		}
	}
	if _, err := fs.Stat(root.Root, "usr/sbin/xtables-nft-multi"); err != nil {
		t.Errorf("Canal's portmap has no iptables: %v", err)
	}
}
