package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func requireQEMU(t *testing.T) string {
	t.Helper()
	path, err := findQEMU("", arches["amd64"])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProbeGuestIsWhatItsSourceSays(t *testing.T) {
	if _, err := exec.LookPath("nasm"); err != nil {
		t.Fatal("install nasm: make deps")
	}
	out := filepath.Join(t.TempDir(), "amd64.bin")
	if said, err := exec.Command("nasm", "-f", "bin", "-o", out, "probe/amd64.asm").CombinedOutput(); err != nil {
		t.Fatalf("nasm: %v\n%s", err, said)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(probeAMD64, want) {
		t.Error("probe/amd64.bin is not what probe/amd64.asm gives: run nasm as its head says")
	}
}

func TestProbeGuestEndsWhereAKernelWould(t *testing.T) {
	// Emulation is slower than what the probe asks of an accelerator.
	most := limits{cpu: 20 * time.Second, wall: 2 * time.Minute}
	verdict := probe(t.Context(), requireQEMU(t), "amd64", TCG, most)
	if !verdict.Works {
		t.Errorf("verdict %+v; the emulated CPU runs kernels", verdict)
	}
}

// pretender returns a QEMU that behaves as the shell line bad says under
// KVM, and is the real one otherwise.
func pretender(t *testing.T, bad string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qemu")
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in\n*'-accel kvm'*) %s;;\n*) exec %s \"$@\";;\nesac\n", bad, requireQEMU(t))
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBrokenAcceleratorsAreFoundOut(t *testing.T) {
	for _, tc := range []struct {
		name, bad, reason string
		cpu               time.Duration
	}{
		{"QEMU refuses it", "echo failed to set MSR 0x10a >&2; exit 1", "status 1: failed to set MSR 0x10a", time.Minute},
		{"QEMU aborts", "echo assertion failed >&2; kill -ABRT $$", "signal aborted: assertion failed", time.Minute},
		{"an instruction cannot be run", "echo KVM internal error. Suberror: 1 >&2; exec sleep 60", "KVM internal error. Suberror: 1", time.Minute},
		{"the guest faults", "exit 0", "the probe guest faulted", time.Minute},
		{"kernel code is emulated", "while :; do :; done", "did not end within", 200 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			verdict := probe(t.Context(), pretender(t, tc.bad), "amd64", KVM, limits{cpu: tc.cpu, wall: time.Minute})
			if verdict.Works || !strings.Contains(verdict.Reason, tc.reason) {
				t.Errorf("verdict %+v, want the reason %q", verdict, tc.reason)
			}
		})
	}
}

func TestVerdictIsKeptForThisBootAndThisQEMU(t *testing.T) {
	p := &Prober{CacheDir: filepath.Join(t.TempDir(), "cache"), BootID: "first"}
	qemu := pretender(t, "exit 85")
	ask := func() Verdict {
		t.Helper()
		verdict, err := p.Probe(t.Context(), qemu, "amd64", KVM)
		if err != nil {
			t.Fatal(err)
		}
		return verdict
	}
	if v := ask(); !v.Works || v.Cached {
		t.Errorf("first answer %+v", v)
	}
	if v := ask(); !v.Works || !v.Cached {
		t.Errorf("second answer %+v, want the same from the cache", v)
	}
	p.BootID = "second"
	if v := ask(); v.Cached {
		t.Errorf("after a boot of the host %+v, want a new probe", v)
	}
	p.BootID = "first"
	qemu = pretender(t, "exit 1")
	if v := ask(); v.Cached || v.Works {
		t.Errorf("another QEMU %+v, want a new probe", v)
	}
}

func TestEndedProbeIsNoVerdict(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	p := &Prober{CacheDir: t.TempDir(), BootID: "boot"}
	if v, err := p.Probe(ctx, pretender(t, "exec sleep 60"), "amd64", KVM); err == nil {
		t.Errorf("verdict %+v of a probe that was ended", v)
	}
	if kept, _ := filepath.Glob(filepath.Join(p.CacheDir, "*")); len(kept) != 0 {
		t.Errorf("kept %v", kept)
	}
}

// startDoubted starts a guest the way Auto does after a probe that said yes,
// whatever this host has.
func startDoubted(t *testing.T, cfg Config) *VM {
	t.Helper()
	cfg, arch, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	v := newVM(cfg)
	if err := v.prepare(arch); err != nil {
		t.Fatal(err)
	}
	if err := v.run(t.Context(), KVM); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Kill)
	return v
}

func TestGuestIsRestartedWhenItsAcceleratorFails(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, probeImage(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, bad, note string }{
		{"QEMU aborts", "kill -ABRT $$", "signal aborted"},
		{"nothing is printed", "exec sleep 60", "printed next to nothing in 1s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := startDoubted(t, Config{
				QEMU: pretender(t, tc.bad), Memory: 64, DebugExit: true,
				Disks:      []Disk{{Path: disk, Throwaway: true, Bus: "virtio"}},
				StallLimit: time.Second, WallLimit: time.Minute,
			})
			exit, err := v.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if value, ok := exit.Guest(); !ok || value != 0x2a || v.Accel() != TCG {
				t.Errorf("exit %+v under %s, want 42 under tcg", exit, v.Accel())
			}
			if !strings.Contains(v.Console(), tc.note) || !strings.Contains(v.Console(), "weft\n") {
				t.Errorf("console %q, want a note with %q and the guest's text", v.Console(), tc.note)
			}
		})
	}
}

func TestChosenAcceleratorIsNotReplaced(t *testing.T) {
	v, err := Start(t.Context(), Config{QEMU: pretender(t, "exit 1"), Accel: KVM, Memory: 64})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Wait(t.Context()); err == nil || v.Accel() != KVM {
		t.Errorf("error %v under %s, want a failure under kvm", err, v.Accel())
	}
}
