package flash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft/builder/disk"
)

// BenchmarkAgainstDd writes images of 1 GiB, about 96 MiB of it data, by weft,
// verified, and by dd to the same device: make bench-flash. One is a disk like
// weft's own, of whose holes few mean something; the other has no table, so
// that all holes are made zero and looked at. The first goes to a device as slow
// as a card as well. It prints medians, and how much weft sent and read, which no
// busy machine changes.
func BenchmarkAgainstDd(b *testing.B) {
	wefts := func(b *testing.B) string {
		path, _ := wefts{label: bootLabel, boot: 128, slot: 383, data: 128, inBoot: 36, inRoot: 60, name: disk.Data}.write(b)
		return path
	}
	b.Run("card", func(b *testing.B) { againstDd(b, "card", wefts(b), slow) })
	b.Run("weft", func(b *testing.B) { againstDd(b, "weft", wefts(b)) })
	b.Run("sparse", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "image.img")
		script := `head -c 64M /dev/urandom >"$0"; truncate -s 1G "$0"; head -c 32M /dev/urandom | dd of="$0" bs=1M seek=600 conv=notrunc status=none`
		if out, err := exec.Command("bash", "-euc", script, path).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		againstDd(b, "sparse", path)
	})
}

// againstDd measures and prints; edit changes the device before.
func againstDd(b *testing.B, kind, path string, edit ...func(*testing.B, Device)) {
	card := filepath.Join(b.TempDir(), "card")
	if out, err := exec.Command("bash", "-euc", `head -c 1100M /dev/urandom >"$0"; sync "$0"`, card).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	// Without direct I/O a loop device answers from the memory of the system.
	d := attach(b, card, "--direct-io=on")
	for _, f := range edit {
		f(b, d)
	}
	debug.FreeOSMemory()
	// The peak begins anew (proc_pid_clear_refs(5)).
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
	var (
		weft, dd []time.Duration
		sent     int64
		read     atomic.Int64
	)
	for b.Loop() {
		started := time.Now()
		_, r, err := flash(b, path, d, Options{Wrap: func(d Disk) Disk { return counting{d, &read} }})
		if err != nil {
			b.Fatal(err)
		}
		sent = r.Written
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
	info, err := os.Stat(path)
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
	size, ratio := float64(info.Size())/mib, median(dd)/median(weft)
	for _, f := range []struct {
		name  string
		value float64
		unit  string
	}{
		{"rate", size / median(weft), "MiB/s"},
		{"dd", size / median(dd), "MiB/s"},
		{"ratio", ratio, "times-dd"},
		{"memory", peak / 1024, "MiB"},
		{"sent", float64(sent) / mib, "MiB"},
		{"read", float64(read.Load()) / float64(len(weft)) / mib, "MiB"},
	} {
		fmt.Printf("%-44s %10.4g %s\n", "flash."+kind+"."+f.name, f.value, f.unit)
	}
	b.ReportMetric(ratio, "times-dd")
}

// A counting disk says how much was read from it.
type counting struct {
	Disk
	read *atomic.Int64
}

func (c counting) ReadAt(b []byte, off int64) (int, error) {
	c.read.Add(int64(len(b)))
	return c.Disk.ReadAt(b, off)
}
