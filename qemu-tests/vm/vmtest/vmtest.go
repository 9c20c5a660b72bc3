// Package vmtest helps tests that start guests: it ends them with the test,
// shows what a failed test's guests said, and assembles tiny guests.
//
// It holds no judgement of its own; what a guest must do is the test's.
package vmtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/hub"
)

// cpuLimit and wallLimit are the limits of guests whose configuration sets
// none: several times what the longest test takes. A busy host makes emulation
// cost twice the CPU time, and only a hang meets them.
const (
	cpuLimit  = 4 * time.Minute
	wallLimit = 20 * time.Minute
)

// grace is how long before the test binary's own time-out guests are ended,
// so that a test that hangs still says what its guests said.
const grace = 10 * time.Second

// Context returns a context that ends with the test, or a little before the
// test binary would be ended for its time-out.
func Context(t *testing.T) context.Context {
	t.Helper()
	deadline, ok := t.Deadline()
	if !ok {
		return t.Context()
	}
	ctx, cancel := context.WithDeadline(t.Context(), deadline.Add(-grace))
	t.Cleanup(cancel)
	return ctx
}

// Start starts a guest that ends with the test, or when it meets limits that
// only a hang meets. When the test has failed by
// then, the end of the guest's console and the command line that reproduces
// it are logged.
func Start(t *testing.T, cfg vm.Config) *vm.VM {
	t.Helper()
	v, err := vm.Start(Context(t), limited(cfg))
	if err != nil {
		t.Fatal(err)
	}
	Watch(t, v)
	return v
}

func limited(cfg vm.Config) vm.Config {
	if cfg.CPULimit == 0 {
		cfg.CPULimit = cpuLimit
	}
	if cfg.WallLimit == 0 {
		cfg.WallLimit = wallLimit
	}
	return cfg
}

// Cluster starts guests on one segment that end with the test, as Start does.
func Cluster(t *testing.T, segment *hub.Segment, configs ...vm.Config) *vm.Cluster {
	t.Helper()
	bounded := make([]vm.Config, len(configs))
	for i, cfg := range configs {
		bounded[i] = limited(cfg)
	}
	c, err := vm.StartCluster(Context(t), segment, bounded...)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range c.VMs {
		Watch(t, v)
	}
	return c
}

// Watch ends a guest with the test and logs what a failed test needs to know
// of it.
func Watch(t *testing.T, v *vm.VM) {
	t.Helper()
	t.Cleanup(func() {
		v.Kill()
		if t.Failed() {
			t.Logf("vm %s (%s), console:\n%s\nto reproduce:\n%s", v.Name(), v.Accel(), v.Console(), v.CommandLine())
		}
	})
}

// Segment returns a segment that is closed with the test. When the test has
// failed by then, all its frames are left in a pcap file whose name is logged.
func Segment(t *testing.T) *hub.Segment {
	t.Helper()
	segment := hub.New(t.Name())
	file, err := os.CreateTemp("", "weft-segment-*.pcap")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := segment.Capture(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		segment.Close()
		file.Close()
		if t.Failed() {
			t.Logf("frames on segment %s: %s", segment.Name(), file.Name())
		} else {
			os.Remove(file.Name())
		}
	})
	return segment
}

// Assemble turns x86 assembly into a disk image that a BIOS boots, and
// returns its path. The source is for nasm, starts at 0x7c00 in real mode and
// must leave room for the boot signature in its 512 bytes.
func Assemble(t *testing.T, source string) string {
	t.Helper()
	if _, err := exec.LookPath("nasm"); err != nil {
		t.Fatal("install nasm: make deps")
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "boot.asm"), filepath.Join(dir, "boot.img")
	// The disk is a mebibyte: SeaBIOS boots no disk of one sector on q35.
	text := "bits 16\norg 0x7c00\n" + source + "\ntimes 510-($-$$) db 0\ndw 0xaa55\ntimes 1048576-512 db 0\n"
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command("nasm", "-f", "bin", "-o", out, in).CombinedOutput(); err != nil {
		t.Fatalf("nasm: %v\n%s", err, said)
	}
	return out
}
