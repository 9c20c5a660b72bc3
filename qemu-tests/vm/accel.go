package vm

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// probeAMD64 is a boot sector; probe/amd64.asm is its source and says what it
// tries.
//
//go:embed probe/amd64.bin
var probeAMD64 []byte

const (
	// probeExit is QEMU's exit status when the probe guest came to its end.
	probeExit = 85
	// probeDisk is the size of the probe's disk in bytes: SeaBIOS does not
	// boot a disk of one sector.
	probeDisk = 1 << 20
)

// probeLimits bound the probe. A CPU runs the guest in well under a second;
// the wall bound allows for a busy host. An accelerator that needs longer is
// none.
var probeLimits = limits{cpu: 3 * time.Second, wall: 10 * time.Second}

// limits are times a process may use.
type limits struct {
	cpu, wall time.Duration
}

// A Prober finds out whether an accelerator works, by running a guest under
// it: that a device can be opened proves nothing. Some hosts offer a KVM that
// starts guests and then cannot run a kernel.
type Prober struct {
	// CacheDir keeps answers for as long as the host and QEMU stay as they
	// are, so that the probe runs once; empty for no cache.
	CacheDir string
	// BootID names the host's present boot; empty for no cache.
	BootID string
}

// NewProber returns a Prober that keeps answers in the user's cache directory.
func NewProber() *Prober {
	p := &Prober{BootID: bootID()}
	if dir, err := os.UserCacheDir(); err == nil {
		p.CacheDir = filepath.Join(dir, "weft")
	}
	return p
}

// A Verdict is what a probe found.
type Verdict struct {
	// Works says that the probe guest came to its end under the accelerator.
	Works bool `json:"works"`
	// Reason is why not, for people.
	Reason string `json:"reason,omitempty"`
	// Seconds is how long the probe took.
	Seconds float64 `json:"seconds"`
	// Cached says that the answer is an earlier one.
	Cached bool `json:"-"`
}

// chooseAccel answers Auto.
func (v *VM) chooseAccel(ctx context.Context) (Accel, error) {
	if v.cfg.Accel != Auto {
		return v.cfg.Accel, nil
	}
	candidate, ok := hostAccel(v.cfg.Arch)
	if !ok {
		return TCG, nil
	}
	prober := v.cfg.Prober
	if prober == nil {
		prober = NewProber()
	}
	verdict, err := prober.Probe(ctx, v.program, v.cfg.Arch, candidate)
	if err != nil {
		return "", fmt.Errorf("vm %s: %w", v.cfg.Name, err)
	}
	level := slog.LevelDebug
	if !verdict.Works && !verdict.Cached {
		level = slog.LevelWarn
	}
	v.cfg.Log.Log(ctx, level, "accelerator probed", "accel", string(candidate),
		"works", verdict.Works, "reason", verdict.Reason, "cached", verdict.Cached)
	if !verdict.Works {
		return TCG, nil
	}
	return candidate, nil
}

// hostAccel returns the accelerator this host might have for guests of arch.
func hostAccel(arch string) (Accel, bool) {
	if arch != runtime.GOARCH {
		return "", false
	}
	switch runtime.GOOS {
	case "linux":
		// Opening proves nothing, but not being able to proves enough.
		device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
		if err != nil {
			return "", false
		}
		device.Close()
		return KVM, true
	case "darwin":
		return HVF, true
	}
	return "", false
}

// Probe says whether guests of arch really run under accel. Its error is only
// ever ctx's: whatever else goes wrong is a Verdict.
func (p *Prober) Probe(ctx context.Context, qemu, arch string, accel Accel) (Verdict, error) {
	path := p.cacheFile(qemu, arch, accel)
	if verdict, ok := readVerdict(path); ok {
		return verdict, nil
	}
	verdict := probe(ctx, qemu, arch, accel, probeLimits)
	if err := ctx.Err(); err != nil {
		return Verdict{}, fmt.Errorf("probe %s: %w", accel, err)
	}
	if path != "" {
		// Without a cache the next start probes again; no reason to fail.
		_ = writeVerdict(path, verdict)
	}
	return verdict, nil
}

// probe runs the probe guest.
func probe(ctx context.Context, qemu, arch string, accel Accel, most limits) Verdict {
	start := time.Now()
	reason := "no probe guest for " + arch
	if arch == "amd64" {
		reason = probeReason(ctx, qemu, accel, most)
	}
	return Verdict{Works: reason == "", Reason: reason, Seconds: time.Since(start).Seconds()}
}

func probeReason(ctx context.Context, qemu string, accel Accel, most limits) string {
	dir, err := os.MkdirTemp("", "weft-probe-")
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	disk := filepath.Join(dir, "probe.img")
	if err := os.WriteFile(disk, probeImage(), 0o600); err != nil {
		return err.Error()
	}
	process, err := startProcess(qemu, probeArguments(disk, accel), nil, nil)
	if err != nil {
		return err.Error()
	}
	defer func() { process.kill(); <-process.done }()
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	for {
		select {
		case <-process.done:
			return probeEnd(process)
		case <-ctx.Done():
			return ctx.Err().Error()
		case <-ticks.C:
		}
		// QEMU keeps a guest that its accelerator gave up, for a debugger.
		if strings.Contains(process.stderr.String(), "internal error") {
			return firstLine(process.stderr.String(), "internal error")
		}
		if process.cpu() > most.cpu {
			return fmt.Sprintf("the probe guest did not end within %v of CPU time", most.cpu)
		}
		if time.Since(process.start) > most.wall {
			return fmt.Sprintf("the probe guest did not end within %v", most.wall)
		}
	}
}

// probeImage is the probe's disk.
func probeImage() []byte {
	image := make([]byte, probeDisk)
	copy(image, probeAMD64)
	return image
}

func probeArguments(disk string, accel Accel) []string {
	cpu := "host"
	if accel == TCG {
		cpu = "max"
	}
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35", "-accel", string(accel), "-cpu", cpu, "-m", "64",
		"-serial", "null", "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
		"-drive", "if=ide,format=raw,snapshot=on,file=" + escape(disk),
	}
}

// probeEnd reads the end of the probe's QEMU; no reason is success.
func probeEnd(p *process) string {
	code, signal := p.code()
	if code == probeExit {
		return ""
	}
	said := firstLine(p.stderr.String(), "")
	switch {
	case signal != 0:
		return fmt.Sprintf("QEMU was ended by signal %v: %s", signal, said)
	case code == 0:
		return "the probe guest faulted"
	default:
		return fmt.Sprintf("QEMU ended with status %d: %s", code, said)
	}
}

// firstLine returns the first line of text that holds part.
func firstLine(text, part string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

// cacheFile names the answer by all it depends on: the host's boot and the
// QEMU program. It is empty when there is no cache.
func (p *Prober) cacheFile(qemu, arch string, accel Accel) string {
	if p.CacheDir == "" || p.BootID == "" {
		return ""
	}
	version, err := exec.Command(qemu, "--version").Output()
	if err != nil {
		return ""
	}
	key := fmt.Sprintf("%s\x00%s\x00%s\x00%x", p.BootID, qemu, version, sha256.Sum256(probeAMD64))
	return filepath.Join(p.CacheDir, fmt.Sprintf("accel-%s-%s-%.8x.json", accel, arch, sha256.Sum256([]byte(key))))
}

func readVerdict(path string) (Verdict, bool) {
	if path == "" {
		return Verdict{}, false
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Verdict{}, false
	}
	var verdict Verdict
	if json.Unmarshal(text, &verdict) != nil {
		return Verdict{}, false
	}
	verdict.Cached = true
	return verdict, true
}

// writeVerdict replaces the answer whole.
func writeVerdict(path string, verdict Verdict) error {
	text, err := json.Marshal(verdict)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".accel-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}
