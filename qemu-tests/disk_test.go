package qemutests

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weft/builder/disk"
	"weft/builder/inspect"
	"weft/slot"
)

// readDisk opens the disk of a node that is off. A damaged part fails the
// test.
func readDisk(t *testing.T, path string) *inspect.Image {
	t.Helper()
	f, size := openDisk(t, path)
	image, err := inspect.Open(f, size)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range image.Faults {
		t.Errorf("%s: %v", filepath.Base(path), fault)
	}
	return image
}

// openDisk opens a disk until the end of the test.
func openDisk(t *testing.T, path string) (*os.File, int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return f, info.Size()
}

// partition finds a partition of a disk by its name.
func partition(t *testing.T, path, name string) disk.Partition {
	t.Helper()
	f, size := openDisk(t, path)
	image, err := disk.Open(f, size)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := image.Layout.Partition(name)
	if !ok {
		t.Fatalf("%s has no partition %s", path, name)
	}
	return p
}

// readRecord reads the BIOS loader's record of a disk.
func readRecord(t *testing.T, path string) slot.Record {
	t.Helper()
	f, _ := openDisk(t, path)
	p := partition(t, path, disk.BIOS)
	record, err := slot.Load(io.NewSectionReader(f, p.Start, p.Size))
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// tool runs a program that comes with a Debian package and returns what it
// says. A program that fails fails the test.
func tool(t *testing.T, debianPackage, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		// Not in an ordinary user's PATH, but there.
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			t.Fatalf("install %s: make deps", debianPackage)
		}
	}
	said, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, said)
	}
	return string(said)
}

// cleanDisk checks a disk that was left in order: the table, the boot
// partition and the data partition.
func cleanDisk(t *testing.T, path string) {
	t.Helper()
	if image := readDisk(t, path); image.Data == nil || !image.Data.Clean || image.Data.HasErrors {
		t.Errorf("the data partition is not clean: %+v", image.Data)
	}
	soundData(t, path)
	soundBoot(t, path)
	soundTable(t, path)
}

// soundData lets e2fsck judge the data partition.
func soundData(t *testing.T, path string) {
	t.Helper()
	tool(t, "e2fsprogs", "e2fsck", "-f", "-n", device(t, path))
}

// device names the data partition inside a disk the way e2fsprogs take it.
func device(t *testing.T, path string) string {
	t.Helper()
	return fmt.Sprintf("%s?offset=%d", path, partition(t, path, disk.Data).Start)
}

// soundBoot lets fsck.vfat judge the boot partition.
func soundBoot(t *testing.T, path string) {
	t.Helper()
	tool(t, "dosfstools", "fsck.vfat", "-n", copyOf(t, path, disk.Boot))
}

// copyOf copies a partition into a file of its own.
func copyOf(t *testing.T, path, name string) string {
	t.Helper()
	p := partition(t, path, name)
	f, _ := openDisk(t, path)
	out, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, io.NewSectionReader(f, p.Start, p.Size)); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

// soundTable lets sgdisk judge the partition table.
func soundTable(t *testing.T, path string) {
	t.Helper()
	if said := tool(t, "gdisk", "sgdisk", "-v", path); !strings.Contains(said, "No problems found") {
		t.Errorf("sgdisk -v finds problems:\n%s", said)
	}
}

// overwrite writes bytes at an offset of a partition.
func overwrite(t *testing.T, path, name string, offset int64, data []byte) {
	t.Helper()
	p := partition(t, path, name)
	f, _ := openDisk(t, path)
	if _, err := f.WriteAt(data, p.Start+offset); err != nil {
		t.Fatal(err)
	}
}
