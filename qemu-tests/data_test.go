package qemutests

import (
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"weft/builder/disk"
	"weft/qemu-tests/vm"
)

// used boots a fresh node once and powers it off, and returns its machine and
// its UUID.
func used(t *testing.T, image string) (vm.Config, string) {
	t.Helper()
	cfg := machine(t, image, vm.BIOS)
	n := start(t, cfg)
	id := n.identity()
	n.ready()
	n.powerOff()
	return cfg, id.UUID
}

// blockSize is that of the data partition's file system, in bytes.
const blockSize = 4096

func TestDamagedDataPartitionIsToldAndTheNodeIsReady(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// where is the first block and the number of blocks to fill with
		// garbage.
		where func(t *testing.T, path string) (first, count int64)
	}{
		{"the superblock", func(*testing.T, string) (int64, int64) { return 0, 16 }},
		{"the group descriptors", func(*testing.T, string) (int64, int64) { return 1, 1 }},
		{"the inode table", inodeTable},
		{"the journal", journal},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg, uuid := used(t, buildOf(t, vxlan))
			first, count := c.where(t, diskOf(cfg))
			overwrite(t, diskOf(cfg), disk.Data, first*blockSize, garbage(int(count)*blockSize))

			n := start(t, cfg)
			n.problem("THE DATA PARTITION vda5 WAS NOT SOUND AND HAS BEEN MADE NEW")
			if id := n.identity(); id.UUID == uuid {
				t.Error("the node has its old uuid, which was on the partition")
			}
			n.ready()
			n.powerOff()
			if !strings.Contains(n.Console(), "THE DATA PARTITION vda5 WAS NOT SOUND") {
				t.Error("the console does not tell of the damage")
			}
			cleanDisk(t, diskOf(cfg))
		})
	}
}

// garbage is n bytes that mean nothing, the same in each run.
func garbage(n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(b) // never fails
	return b
}

// inodeTable is where the inodes of the first group are.
func inodeTable(t *testing.T, path string) (first, count int64) {
	t.Helper()
	said := tool(t, "e2fsprogs", "dumpe2fs", device(t, path))
	return blocks(t, said, regexp.MustCompile(`Inode table at (\d+)-(\d+)`))
}

// journal is where the journal is, inode 8 (fs/ext4/ext4.h, EXT4_JOURNAL_INO).
func journal(t *testing.T, path string) (first, count int64) {
	t.Helper()
	said := tool(t, "e2fsprogs", "debugfs", "-R", "stat <8>", device(t, path))
	return blocks(t, said, regexp.MustCompile(`\(0-\d+\):(\d+)-(\d+)`))
}

// blocks reads the first and last block of a range.
func blocks(t *testing.T, said string, re *regexp.Regexp) (first, count int64) {
	t.Helper()
	m := re.FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("no %s in:\n%s", re, said)
	}
	first, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	last, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return first, last - first + 1
}

// A file system that can still be mounted is not thrown away; but a node that
// cannot keep who it is says so.
func TestDamageBehindASoundMountDegradesTheNode(t *testing.T) {
	t.Parallel()
	cfg, _ := used(t, buildOf(t, vxlan))
	first, count := inodeTable(t, diskOf(cfg))
	// The first block has the inodes that mounting needs.
	overwrite(t, diskOf(cfg), disk.Data, (first+1)*blockSize, garbage(int(count-1)*blockSize))
	n := start(t, cfg)
	reason := n.degraded()
	t.Log(reason)
	if !hasAll(reason, []string{"data partition: vda5 is damaged", "e2fsck"}) {
		t.Errorf("the reason names neither the damage nor what to do: %s", reason)
	}
	n.step("netd")
	n.powerOff()
}

func TestMissingDataPartitionDegradesTheNodeAndIsNamed(t *testing.T) {
	t.Parallel()
	cfg := machine(t, buildOf(t, vxlan), vm.BIOS)
	id := partition(t, diskOf(cfg), disk.Data).ID.String()
	tool(t, "gdisk", "sgdisk", "-d", "5", diskOf(cfg))
	n := start(t, cfg)
	reason := n.degraded()
	t.Log(reason)
	if !hasAll(reason, []string{"data partition", id}) {
		t.Errorf("the reason names neither the data partition nor %s: %s", id, reason)
	}
	n.problem("data partition", "/data is in memory and lost at the next boot")
	// All else works: netd is up, and the node has a name.
	n.step("netd")
	n.identity()
	n.powerOff()
	if a := readRecord(t, diskOf(cfg)).A; a.Good {
		t.Errorf("a degraded boot was blessed: %+v", a)
	}
}

func TestDataPartitionGrowsToTheEndOfTheDisk(t *testing.T) {
	t.Parallel()
	const more = 1 << 30
	cfg := machine(t, buildOf(t, vxlan), vm.BIOS)
	before := partition(t, diskOf(cfg), disk.Data)
	grow(t, diskOf(cfg), more)
	n := start(t, cfg)
	n.ready()
	n.step("grow file system")
	n.powerOff()
	n.noProblems()

	cleanDisk(t, diskOf(cfg))
	after := partition(t, diskOf(cfg), disk.Data)
	if after.Start != before.Start || after.Size != before.Size+more {
		t.Errorf("the partition is %d bytes long, was %d, want %d more", after.Size, before.Size, more)
	}
	if got := readDisk(t, diskOf(cfg)).Data.Size; got != after.Size {
		t.Errorf("the file system has %d of the partition's %d bytes", got, after.Size)
	}
}

// grow makes a disk larger.
func grow(t *testing.T, path string, more int64) {
	t.Helper()
	_, size := openDisk(t, path)
	if err := os.Truncate(path, size+more); err != nil {
		t.Fatal(err)
	}
}
