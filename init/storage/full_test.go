package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// files makes files of so many MiB below a new directory.
func files(t *testing.T, sizes map[string]int) string {
	t.Helper()
	top := t.TempDir()
	for name, size := range sizes {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func TestWhatIsLargestIsNamed(t *testing.T) {
	top := files(t, map[string]int{
		"var/log/pods/a/0.log": 6, "var/log/pods/b/0.log": 5, "var/lib/rancher/k3s/agent/images/x": 4, "opt/cni/bin/y": 1, "z": 1,
	})
	var got []string
	for _, u := range Largest(top, 3) {
		got = append(got, u.String())
	}
	if want := "[var/log/pods 11 MiB var/lib/rancher 4 MiB . 1 MiB]"; fmt.Sprint(got) != want {
		t.Errorf("%v", got)
	}
	if got := Largest(filepath.Join(top, "nosuch"), 3); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestFull(t *testing.T) {
	for name, c := range map[string]struct {
		st   unix.Statfs_t
		want bool
	}{
		"half":                {unix.Statfs_t{Bsize: 4096, Blocks: 1 << 20, Bavail: 1 << 19, Files: 1000, Ffree: 500}, false},
		"under one percent":   {unix.Statfs_t{Bsize: 4096, Blocks: 1 << 20, Bavail: 10000, Files: 1000, Ffree: 500}, true},
		"less than a reserve": {unix.Statfs_t{Bsize: 4096, Blocks: 10000, Bavail: 1000}, true},
		"no files left":       {unix.Statfs_t{Bsize: 4096, Blocks: 1 << 20, Bavail: 1 << 19, Files: 1000, Ffree: 4}, true},
		"nothing known":       {unix.Statfs_t{}, false},
	} {
		if got := Full(c.st); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A real full disk: state can still be written, and what was there is whole.
func TestStateIsKeptOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("full", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatalf("a tmpfs: %v; run the tests as root", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	reserve := filepath.Join(dir, "reserve")
	for range 2 { // taken once
		if err := Reserve(reserve); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(reserve); err != nil || info.Size() != ReserveSize {
		t.Fatalf("the reserve: %v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "log"), make([]byte, 16<<20), 0o644); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	state := filepath.Join(dir, "state")
	save := func() error { return os.WriteFile(state, make([]byte, 64<<10), 0o600) }
	if full, err := Keep(reserve, save); !full || err != nil {
		t.Errorf("full %v, %v", full, err)
	}
	if info, err := os.Stat(state); err != nil || info.Size() != 64<<10 {
		t.Errorf("the state: %v, %v", info, err)
	}
	if full, err := Keep(reserve, save); full || err != nil {
		t.Errorf("with room: full %v, %v", full, err)
	}
	if err := Reserve(reserve); err == nil {
		t.Error("a reserve on a full disk")
	}
	if _, err := os.Stat(reserve); !errors.Is(err, os.ErrNotExist) {
		t.Error("half a reserve is left")
	}
	never := func() error { return fmt.Errorf("write: %w", unix.ENOSPC) }
	if full, err := Keep(reserve, never); !full || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("without a reserve: %v, %v", full, err)
	}
}

func TestSyncIsMeasured(t *testing.T) {
	dir := t.TempDir()
	l, err := MeasureSync(dir, time.Now)
	if err != nil || l.Writes != probeWrites || l.Median <= 0 || l.Worst < l.Median {
		t.Errorf("%+v, %v", l, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	// A card that takes two seconds each time is given up on in time.
	now := time.Unix(0, 0)
	slow := func() time.Time { now = now.Add(time.Second); return now }
	if l, err = MeasureSync(dir, slow); err != nil || l.Writes >= probeWrites || !l.Slow() {
		t.Errorf("a slow card: %+v, %v", l, err)
	}
	if _, err := MeasureSync(filepath.Join(dir, "nosuch"), time.Now); err == nil {
		t.Error("nothing was measured")
	}
	if (Latency{Median: SlowSync}).Slow() {
		t.Error("just good enough is slow")
	}
}
