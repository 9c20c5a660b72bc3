// Command scale prints what netd costs with the backend wireguard and up to
// 10,000 leases, a figure a line: name value unit. Not every host's kernel has
// WireGuard, so it measures on a node in QEMU, of an image that it builds with
// the bin/weft of this tree; see command inside.
//
// On an emulated processor the seconds mean little; what counts is the ratio to
// the kernel's own part, measured in the same run.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"weft/builder/guest"
	"weft/qemu-tests/vm"
)

// profile is a node that measures when its network is up.
const profile = `weft: profile/v1
name: scale
description: netd's figures with WireGuard
extends: wireguard
services:
  - {name: scale, program: {path: ./scale}, after: [netd], restart: never}
`

// The emulated kernel multiplies on a curve for each peer, four times over.
const (
	cpuLimit  = 20 * time.Minute
	wallLimit = 40 * time.Minute
)

// line is a figure, or the end.
var line = regexp.MustCompile(`scale: (?:(netd\.\S+) (\S+) (\S+)|(done|FAIL[^\r\n]*))[\r\n]`)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measure(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "weft-scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	image, err := build(ctx, dir)
	if err != nil {
		return err
	}
	machines, err := guest.Machines(ctx, guest.Options{Image: image, Dir: dir, Nodes: 1, Now: time.Now(),
		Machine: vm.Config{Accel: vm.TCG, CPULimit: cpuLimit, WallLimit: wallLimit}})
	if err != nil {
		return err
	}
	v, err := vm.Start(ctx, machines[0])
	if err != nil {
		return err
	}
	defer v.Kill()
	for {
		said, err := v.Expect(ctx, line)
		switch {
		case err != nil:
			return err
		case said[1] != "":
			fmt.Printf("%-36s %10s %s\n", said[1], said[2], said[3])
		case said[4] == "done":
			return nil
		default:
			return fmt.Errorf("on the node: %s", strings.TrimPrefix(said[4], "FAIL: "))
		}
	}
}

// build makes the image and returns its path.
func build(ctx context.Context, dir string) (string, error) {
	if err := os.WriteFile(filepath.Join(dir, "scale.yaml"), []byte(profile), 0o644); err != nil {
		return "", err
	}
	program := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w",
		"-o", filepath.Join(dir, "scale"), "weft/qemu-tests/scale/inside")
	program.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	image := exec.CommandContext(ctx, "bin/weft", "build", "--board", "x86-64-cloud", "--profile", filepath.Join(dir, "scale.yaml"), "--out", dir)
	for _, cmd := range []*exec.Cmd{program, image} {
		if said, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s\n(make weft first, and run this from the top of the tree)", cmd, err, said)
		}
	}
	return filepath.Join(dir, "x86-64-cloud-scale.img"), nil
}
