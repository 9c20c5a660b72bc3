package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/netdtest"
	"weft/netd/nstest"
)

// onDisk mounts a file system for a node's state, which only the node sees;
// the returned function mounts it again with other options.
func onDisk(t *testing.T, x *netdtest.Node, options string) (again func(options string)) {
	t.Helper()
	dir := x.Config.Paths.State
	x.Run(t, "mkdir", "-p", dir)
	x.Run(t, "mount", "-t", "tmpfs", "-o", options, "none", dir)
	return func(options string) { x.Run(t, "mount", "-o", "remount,"+options, dir) }
}

// keeps waits until netd says that what the store said is on disk, or is not
// because of problem.
func keeps(t *testing.T, x *netdtest.Node, problem string) {
	t.Helper()
	nstest.Eventually(t, 60*time.Second, x.Name+": kept", func() error {
		r, err := x.Report()
		if err != nil {
			return err
		}
		if said := r.Store.KeepError; !strings.Contains(said, problem) || (said == "") != (problem == "") {
			return fmt.Errorf("problem %q, want %q", said, problem)
		}
		if !r.Ready {
			return fmt.Errorf("not ready: %s", r.Reason)
		}
		return nil
	})
}

// put writes leases of nodes that nobody is.
func put(t *testing.T, c *netdtest.Cluster, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		c.Etcd.Put(t, fmt.Sprintf("%s10.244.%d.0-24", leasesDir, i), lease4(fmt.Sprintf("10.0.1.%d", i), fmt.Sprintf("9e:00:00:00:00:%02x", i)))
	}
}

// A full disk costs nothing but what is on it: netd says so, and writes as
// soon as there is room.
func TestFullDiskIsToldOfAndWrittenToWhenThereIsRoom(t *testing.T) {
	c := onEtcd(t, 1)
	x := c.Nodes[0]
	remount := onDisk(t, x, "size=16k")
	put(t, c, 1, 200)
	x.Start(t)
	x.WaitReady(t, 200)
	keeps(t, x, "no space left on device")
	remount("size=1m")
	keeps(t, x, "")
	if n := strings.Count(x.Run(t, "cat", filepath.Join(x.Config.Paths.State, "leases")), `-24":`); n != 200 {
		t.Errorf("%d leases are on disk, want 200", n)
	}
}

// What could not be written is written when netd ends, if that is possible
// then.
func TestReadOnlyStateIsToldOfAndWrittenAtTheEnd(t *testing.T) {
	c := onEtcd(t, 1)
	x := c.Nodes[0]
	remount := onDisk(t, x, "ro")
	put(t, c, 1, 1)
	x.Start(t)
	x.WaitReady(t, 1)
	keeps(t, x, "read-only file system")
	remount("rw")
	x.Stop(t, unix.SIGTERM)
	subnets, err := x.Subnets()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"subnets": subnets[0].String(), "leases": "10.244.1.0-24"} {
		if text := x.Run(t, "cat", filepath.Join(x.Config.Paths.State, name)); !strings.Contains(text, want) {
			t.Errorf("%s on disk: %q; want %s", name, text, want)
		}
	}
}
