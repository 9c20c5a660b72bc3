package flash

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkAgainstDd writes an image of 1 GiB, 96 MiB of it data, by weft,
// verified, and by dd to the same device: make bench-flash.
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
	d := attach(b, card)
	var weft, dd time.Duration
	for b.Loop() {
		started := time.Now()
		if _, _, err := flash(b, path, d, Options{}); err != nil {
			b.Fatal(err)
		}
		weft += time.Since(started)
		started = time.Now()
		if out, err := exec.Command("dd", "if="+path, "of="+d.Path, "bs=4M", "conv=fsync").CombinedOutput(); err != nil {
			b.Fatalf("dd: %v: %s", err, out)
		}
		dd += time.Since(started)
	}
	b.ReportMetric(dd.Seconds()/weft.Seconds(), "times-dd")
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if peak, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			b.Logf("peak memory:%s", peak)
		}
	}
}
