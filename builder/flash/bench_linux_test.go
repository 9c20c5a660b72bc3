package flash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkAgainstDd writes an image of 1 GiB, 96 MiB of it data, by weft,
// verified, and by dd to the same device: make bench-flash. It prints medians.
func BenchmarkAgainstDd(b *testing.B) {
	path := filepath.Join(b.TempDir(), "image.img")
	script := `head -c 64M /dev/urandom >"$0"; truncate -s 1G "$0"; head -c 32M /dev/urandom | dd of="$0" bs=1M seek=600 conv=notrunc status=none`
	if out, err := exec.Command("bash", "-euc", script, path).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	card := filepath.Join(b.TempDir(), "card")
	if out, err := exec.Command("bash", "-euc", `head -c 1100M /dev/urandom >"$0"; sync "$0"`, card).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	// Without direct I/O a loop device answers from the memory of the system.
	d := attach(b, card, "--direct-io=on")
	var weft, dd []time.Duration
	for b.Loop() {
		started := time.Now()
		if _, _, err := flash(b, path, d, Options{}); err != nil {
			b.Fatal(err)
		}
		weft = append(weft, time.Since(started))
		started = time.Now()
		if out, err := exec.Command("dd", "if="+path, "of="+d.Path, "bs=4M", "conv=fsync").CombinedOutput(); err != nil {
			b.Fatalf("dd: %v: %s", err, out)
		}
		dd = append(dd, time.Since(started))
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	peak := 0.0
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if _, err := fmt.Sscanf(text, "%f kB", &peak); err != nil {
				b.Fatalf("VmHWM: %v", err)
			}
		}
	}
	median := func(d []time.Duration) float64 { return slices.Sorted(slices.Values(d))[len(d)/2].Seconds() }
	ratio := median(dd) / median(weft)
	for _, f := range []struct {
		name  string
		value float64
		unit  string
	}{
		{"flash.weft", 1024 / median(weft), "MiB/s"},
		{"flash.dd", 1024 / median(dd), "MiB/s"},
		{"flash.ratio", ratio, "times-dd"},
		{"flash.memory", peak / 1024, "MiB"},
	} {
		fmt.Printf("%-44s %10.4g %s\n", f.name, f.value, f.unit)
	}
	b.ReportMetric(ratio, "times-dd")
}
