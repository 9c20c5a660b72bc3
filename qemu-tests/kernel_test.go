package qemutests

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/builder"
	"weft/builder/apt/debfs"
	"weft/qemu-tests/vm"
)

func TestModuleOfTheProfileIsLoaded(t *testing.T) {
	t.Parallel()
	profile := profileFile(t, "tunnels", `weft: profile/v1
name: tunnels
description: a network whose nodes have WireGuard at hand too
network:
  pods: [10.244.0.0/16]
  backend: {type: vxlan}
modules: [wireguard]
`)
	image, err := build(board, profile)
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, machine(t, image, vm.BIOS))
	n.ready()
	if e := n.step("module wireguard"); e.Text != "" {
		t.Errorf("the step module wireguard says %q", e.Text)
	}
	if held := n.held(); !slices.Contains(held.Modules, "wireguard") {
		t.Errorf("the kernel has not loaded wireguard but %s", strings.Join(held.Modules, " "))
	}
	n.powerOff()
	n.noProblems()
}

func TestKernelWithoutVXLANIsRefusedByName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := debianKernel(t.Context(), filepath.Join(dir, "kernel"), "vxlan"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("..", "boards", board+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	own := strings.NewReplacer(
		"name: "+board, "name: poor",
		"package: linux-image-cloud-amd64", "dir: kernel",
	).Replace(string(text))
	path := filepath.Join(dir, "poor.yaml")
	if err := os.WriteFile(path, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	image, err := build(path, "vxlan")
	if err == nil {
		t.Fatalf("a kernel without vxlan was taken: %s", image)
	}
	for _, part := range []string{"has no module vxlan", "CONFIG_VXLAN", "profiles/vxlan.yaml:", "type: vxlan", "fix: "} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the refusal does not say %s:\n%v", part, err)
		}
	}
}

// debianKernel unpacks the kernel of the board into a folder, but for one
// module.
func debianKernel(ctx context.Context, dir, without string) error {
	o, err := options(board, "vxlan")
	if err != nil {
		return err
	}
	lock, err := o.Source.Resolve(ctx, builder.Request(o.Plan))
	if err != nil {
		return err
	}
	entries, _, err := lock.Select(builder.Request(o.Plan))
	if err != nil {
		return err
	}
	opened, err := o.Source.FetchAll(ctx, entries)
	if err != nil {
		return err
	}
	var parts []fs.FS
	for _, p := range opened {
		defer p.Close()
		parts = append(parts, p)
	}
	kernel := debfs.Union(parts...)
	return fs.WalkDir(kernel, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), without+".ko") {
			return err
		}
		data, err := fs.ReadFile(kernel, name)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o600)
	})
}
