package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/netd/nstest"
	"weft/netd/reconcile"
	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/profiles"
)

// filesOf is a keeper of files below dir that runs, and has been told of a
// network.
func filesOf(t *testing.T, dir string) *files {
	t.Helper()
	paths := profiles.NetdPaths{SubnetEnv: filepath.Join(dir, "flannel", "subnet.env"), CNI: filepath.Join(dir, "cni", "net.d", "10-weft.conflist")}
	f := newFiles(paths, slog.New(slog.DiscardHandler), time.Now, func() {})
	subnet := netip.MustParsePrefix("10.244.1.0/24")
	f.set(reconcile.Snapshot{
		Config: reconcile.Config{Network: profiles.Network{Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}}},
		Node: wanted.Node{Name: "one", IPv4: subnet, Underlay: underlay.Choice{
			IPv4: underlay.Device{Index: 2, Name: "eth0", MTU: 1500, Address: netip.MustParseAddr("10.0.0.1")}}},
		Wanted: wanted.State{Links: []wanted.Link{{Name: "flannel.1", MTU: 1450}}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); f.run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return f
}

// written reports whether the files are there.
func (f *files) written() error {
	env, envErr := os.ReadFile(f.paths.SubnetEnv)
	list, listErr := os.ReadFile(f.paths.CNI)
	if err := errors.Join(envErr, listErr); err != nil {
		return err
	}
	if !strings.Contains(string(env), "FLANNEL_SUBNET=10.244.1.1/24\n") || !strings.Contains(string(list), "10.244.1.0/24") {
		return fmt.Errorf("they hold\n%s\n%s", env, list)
	}
	return nil
}

func TestFilesComeBackWhateverIsDoneToThem(t *testing.T) {
	dir := t.TempDir()
	f := filesOf(t, dir)
	if err := f.written(); err != nil {
		t.Fatal(err)
	}
	for i, harm := range []func() error{
		func() error { return os.Remove(f.paths.SubnetEnv) },
		func() error { return os.WriteFile(f.paths.CNI, []byte("{}"), 0o644) },
		func() error { return os.Truncate(f.paths.SubnetEnv, 3) },
		func() error { return os.Rename(filepath.Join(dir, "cni"), filepath.Join(dir, "cni2")) },
		func() error { return os.Rename(filepath.Dir(f.paths.SubnetEnv), filepath.Join(dir, "flannel2")) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		took := nstest.Eventually(t, 20*time.Second, fmt.Sprint("the files, ", i), f.written)
		nstest.Eventually(t, 20*time.Second, "the repair is counted", func() error {
			if facts := f.about(true); facts.Error != nil || facts.Repairs <= i {
				return fmt.Errorf("%+v", facts)
			}
			return nil
		})
		t.Logf("%d: back after %v", i, took)
	}
}

// What cannot be written is told of, and written when it can be.
func TestFilesThatCannotBeWrittenAreToldOfAndWrittenLater(t *testing.T) {
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, "flannel")
	if err := os.WriteFile(inTheWay, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f := filesOf(t, dir)
	if facts := f.about(false); facts.Error == nil || !strings.Contains(facts.Error.Error(), "not a directory") {
		t.Fatalf("%+v", facts)
	}
	if _, err := os.Stat(f.paths.CNI); err != nil {
		t.Errorf("the other file: %v", err)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	nstest.Eventually(t, 20*time.Second, "the files", f.written)
	nstest.Eventually(t, 20*time.Second, "no error", func() error { return f.about(false).Error })
	if n := f.about(false).Repairs; n != 0 {
		t.Errorf("%d repairs of what nobody had changed", n)
	}
}

// Two that write the same file do not write all the time.
func TestFightOverAFileIsSlow(t *testing.T) {
	f := filesOf(t, t.TempDir())
	start := time.Now()
	for range 3 {
		if err := os.WriteFile(f.paths.SubnetEnv, []byte("another's"), 0o644); err != nil {
			t.Fatal(err)
		}
		nstest.Eventually(t, 20*time.Second, "the files", f.written)
	}
	if took := time.Since(start); took < 2*filesGap {
		t.Errorf("3 repairs in %v", took)
	}
}

// A report that finds a file changed says so, even if nothing told of it.
func TestReportLooksAtTheFiles(t *testing.T) {
	f := newFiles(profiles.NetdPaths{}, slog.New(slog.DiscardHandler), time.Now, func() {})
	path := filepath.Join(t.TempDir(), "file")
	f.want = []file{{path, []byte("right")}}
	f.write(false)
	if err := f.about(true).Error; err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("wrong"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.about(true).Error; err == nil || len(f.wake) != 1 {
		t.Errorf("error %v, woken %d", err, len(f.wake))
	}
}

// Nobody is told that netd is ready before subnet.env is there.
func TestReadyWaitsForTheFiles(t *testing.T) {
	c := newCluster(t, onlyIPv4, 1)
	x := c.nodes[0]
	inTheWay := filepath.Join(x.dir, "flannel")
	x.config.Paths.SubnetEnv = filepath.Join(inTheWay, "subnet.env")
	x.writeConfig(t)
	if err := os.WriteFile(inTheWay, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	x.start(t)
	nstest.Eventually(t, 20*time.Second, "the reason", func() error {
		if !x.notices.has("files: write " + x.config.Paths.SubnetEnv) {
			return fmt.Errorf("told: %q", x.notices.all())
		}
		return nil
	})
	if r := x.report(t); r.Ready || !strings.HasPrefix(r.Reason, "files: write ") || r.Fix == "" {
		t.Errorf("ready %t, reason %q, fix %q", r.Ready, r.Reason, r.Fix)
	}
	if x.notices.has("READY=1") {
		t.Errorf("told: %q", x.notices.all())
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	x.waitReady(t)
	if _, err := os.Stat(x.config.Paths.SubnetEnv); err != nil {
		t.Error(err)
	}
}

// Item 7 of the promise: what is deleted is back within a second.
func TestDeletedFilesReturnWithinASecond(t *testing.T) {
	c := newCluster(t, onlyIPv4, 1)
	c.startAll(t)
	x := c.nodes[0]
	want, err := os.ReadFile(x.config.Paths.SubnetEnv)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := errors.Join(os.Remove(x.config.Paths.SubnetEnv), os.Rename(filepath.Dir(x.config.Paths.CNI), filepath.Join(x.dir, "gone"))); err != nil {
		t.Fatal(err)
	}
	x.eventually(t, "the files", func() error {
		have, err := os.ReadFile(x.config.Paths.SubnetEnv)
		if _, cni := os.Stat(x.config.Paths.CNI); err != nil || cni != nil || string(have) != string(want) {
			return fmt.Errorf("%q, %v, %v", have, err, cni)
		}
		return nil
	})
	r := x.report(t)
	if r.Files.Repairs == 0 || r.Files.LastRepair == nil {
		t.Fatalf("files: %+v", r.Files)
	}
	took := r.Files.LastRepair.Sub(start)
	t.Logf("%d repairs, the last after %v", r.Files.Repairs, took)
	if took > time.Second {
		t.Errorf("the last repair was after %v, want within a second", took)
	}
}
