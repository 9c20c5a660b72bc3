package storage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sysfs makes a tree with one disk, vda, of a node's image; the kernel tells
// PARTUUIDs only when told.
func sysfs(t *testing.T, told bool) string {
	t.Helper()
	sys := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(sys, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	disk := "devices/pci0/virtio1/block/vda"
	write(disk+"/uevent", "MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n")
	write(disk+"/size", "131072\n")
	write(disk+"/queue/logical_block_size", "512\n")
	for _, p := range []struct{ n, start, size, id string }{{"3", "4096", "32768", rootID}, {"4", "36864", "65536", dataID}} {
		env := "DEVNAME=vda" + p.n + "\nDEVTYPE=partition\nPARTN=" + p.n + "\n"
		if told {
			env += "PARTUUID=" + strings.ToUpper(p.id) + "\n"
		}
		write(disk+"/vda"+p.n+"/uevent", env)
		write(disk+"/vda"+p.n+"/start", p.start+"\n")
		write(disk+"/vda"+p.n+"/size", p.size+"\n")
	}
	write("devices/virtual/block/loop0/uevent", "DEVTYPE=disk\n")
	if err := os.MkdirAll(filepath.Join(sys, "class/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"vda": disk, "vda3": disk + "/vda3", "vda4": disk + "/vda4", "loop0": "devices/virtual/block/loop0", "gone": "none"} {
		if err := os.Symlink("../../"+target, filepath.Join(sys, "class/block", name)); err != nil {
			t.Fatal(err)
		}
	}
	return sys
}

func TestPartitionsAreFoundByTheirID(t *testing.T) {
	f := image(t, 64<<20)
	dev := t.TempDir()
	if err := os.Symlink(f.Name(), filepath.Join(dev, "vda")); err != nil {
		t.Fatal(err)
	}
	for name, told := range map[string]bool{"the kernel tells them": true, "read from the table": false} {
		disks, parts := List(sysfs(t, told), dev)
		p, ok := Find(parts, strings.ToUpper(dataID))
		if want := (Partition{"vda4", "vda", dataID, 4, 36864, 65536}); !ok || p != want {
			t.Errorf("%s: %+v, %v", name, p, ok)
		}
		if p.Device() != "/dev/vda4" || p.DiskDevice() != "/dev/vda" {
			t.Errorf("devices %s, %s", p.Device(), p.DiskDevice())
		}
		if _, ok := Find(parts, "none"); ok {
			t.Error("found a partition that is not there")
		}
		seen := Seen(disks, parts)
		if !strings.Contains(seen, "vda (vda3 PARTUUID="+rootID) || strings.Contains(seen, "loop0") {
			t.Errorf("seen: %s", seen)
		}
	}
}

func TestADiskWithoutATableHasNoIDs(t *testing.T) {
	_, parts := List(sysfs(t, false), t.TempDir())
	if len(parts) != 2 || parts[0].ID != "" {
		t.Errorf("partitions %+v", parts)
	}
	if _, ok := Find(parts, ""); ok {
		t.Error("an empty id finds a partition")
	}
}

func TestSeenSaysWhenThereIsNothing(t *testing.T) {
	for _, c := range []struct {
		disks []string
		want  string
	}{{nil, "no disk at all"}, {[]string{"ram0", "loop7"}, "no disk at all"}, {[]string{"sda"}, "sda (no partitions)"}} {
		if got := Seen(c.disks, nil); got != c.want {
			t.Errorf("%q: %q", c.disks, got)
		}
	}
	if disks, parts := List(t.TempDir(), "/dev"); disks != nil || parts != nil {
		t.Errorf("without sysfs: %v, %v", disks, parts)
	}
}
