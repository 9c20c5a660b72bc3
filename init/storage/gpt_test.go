package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	rootID = "33333333-0000-4000-8000-000000000003"
	dataID = "44444444-0000-4000-8000-000000000004"
)

// tool finds a foreign tool; one that is missing fails the test.
func tool(t testing.TB, name, pkg string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	t.Fatalf("install %s: make deps", pkg)
	return ""
}

// imageSize is the size of the image a disk is written with, in bytes.
const imageSize = 64 << 20

// written is what sgdisk(8) writes on a disk of imageSize with the partitions
// of a node: the sectors at its start and at its end. It is made once, since
// sgdisk takes a second.
var written struct {
	once        sync.Once
	first, last []byte
}

// image makes a disk of a size in bytes that an image of imageSize was
// written to.
func image(t testing.TB, size int64) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	written.once.Do(func() {
		if err := f.Truncate(imageSize); err != nil {
			t.Fatal(err)
		}
		run(t, tool(t, "sgdisk", "gdisk"), "-a", "2048",
			"-n", "1:2048:+1M", "-t", "1:ef02", "-u", "1:11111111-0000-4000-8000-000000000001",
			"-n", "3:0:+16M", "-u", "3:"+strings.ToUpper(rootID),
			"-n", "4:0:+32M", "-u", "4:"+dataID, path)
		first, last := make([]byte, 34*512), make([]byte, 33*512)
		if _, err := f.ReadAt(first, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(last, imageSize-int64(len(last))); err != nil {
			t.Fatal(err)
		}
		written.first, written.last = first, last
	})
	if written.first == nil {
		t.Fatal("the first image could not be made")
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct {
		data []byte
		at   int64
	}{
		{written.first, 0},
		{written.last, imageSize - int64(len(written.last))},
		{[]byte("LOADER"), 3}, // a boot loader's code beside the protective partition
	} {
		if _, err := f.WriteAt(w.data, w.at); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// run runs a tool and returns what it printed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// geometry is a disk image's size.
func geometry(t testing.TB, f *os.File) Disk {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return Disk{Sectors: uint64(st.Size()) / 512, SectorSize: 512}
}

// clean asks sgdisk whether a table is in order.
func clean(t testing.TB, f *os.File) {
	t.Helper()
	out := run(t, tool(t, "sgdisk", "gdisk"), "-v", f.Name())
	if !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk -v: %s", out)
	}
}

func TestReadTableReadsWhatSgdiskWrites(t *testing.T) {
	f := image(t, 64<<20)
	d := geometry(t, f)
	for _, lba := range []uint64{1, d.Sectors - 1} {
		table, err := ReadTable(f, d, lba)
		if err != nil {
			t.Fatalf("copy at %d: %v", lba, err)
		}
		if e, ok := table.Entry(2); !ok || e.ID != rootID || e.First != 4096 || e.Last != 4096+16<<11-1 {
			t.Errorf("entry 3 is %+v, %v", e, ok)
		}
		if _, ok := table.Entry(1); ok {
			t.Error("entry 2 is in use")
		}
		if n, ok := FindType(table, BIOSBoot); !ok || n != 1 {
			t.Errorf("the BIOS boot partition is %d, %v", n, ok)
		}
		if _, ok := FindType(table, "none"); ok {
			t.Error("found a type that is not there")
		}
	}
}

func TestADamagedTableIsRefusedWithItsReason(t *testing.T) {
	f := image(t, 64<<20)
	d := geometry(t, f)
	good := make([]byte, 34*512)
	if _, err := f.ReadAt(good, 0); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		at   int
		to   byte
		want string
	}{
		"signature":     {512, 'X', "no signature"},
		"header":        {512 + offFirstUsable, 99, "wrong header checksum"},
		"header size":   {512 + offHeaderSize, 10, "header size"},
		"entries":       {1024 + 56, 'X', "checksum of its entries"},
		"size too big":  {512 + offHeaderSize + 3, 0xff, "header size"},
		"entries crc":   {512 + offEntriesCRC, 1, "wrong header checksum"},
		"another place": {512 + offMyLBA, 2, "wrong header checksum"},
	} {
		bad := bytes.Clone(good)
		bad[c.at] = c.to
		_, err := ReadTable(bytes.NewReader(bad), d, 1)
		if !errors.Is(err, ErrNotGPT) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	for _, lba := range []uint64{0, d.Sectors, 1 << 60} {
		if _, err := ReadTable(f, d, lba); !errors.Is(err, ErrNotGPT) {
			t.Errorf("header at %d: %v", lba, err)
		}
	}
	if _, err := ReadTable(bytes.NewReader(good[:600]), d, 1); err == nil {
		t.Error("a torn disk has a table")
	}
}

func TestIDs(t *testing.T) {
	f := image(t, 64<<20)
	d := geometry(t, f)
	if ids := IDs(f, d); ids[3] != rootID || ids[4] != dataID || len(ids) != 3 {
		t.Errorf("GPT: %v", ids)
	}
	// With the first copy gone the second one counts.
	if _, err := f.WriteAt(make([]byte, 512), 512); err != nil {
		t.Fatal(err)
	}
	if ids := IDs(f, d); ids[3] != rootID {
		t.Errorf("backup: %v", ids)
	}
	mbr := make([]byte, 1024)
	copy(mbr[440:], []byte{0x78, 0x56, 0x34, 0x12})
	mbr[446+4], mbr[446+16+4] = 0x0c, 0x83
	mbr[510], mbr[511] = 0x55, 0xaa
	if ids := IDs(bytes.NewReader(mbr), Disk{Sectors: 2, SectorSize: 512}); fmt.Sprint(ids) != "map[1:12345678-01 2:12345678-02]" {
		t.Errorf("MBR: %v", ids)
	}
	if ids := IDs(bytes.NewReader(nil), Disk{Sectors: 0, SectorSize: 512}); len(ids) != 0 {
		t.Errorf("no disk: %v", ids)
	}
}

func FuzzReadTable(f *testing.F) {
	img := image(f, 64<<20)
	first := make([]byte, 34*512)
	if _, err := img.ReadAt(first, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(first, uint64(1))
	f.Add(first[:1024], uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, lba uint64) {
		d := Disk{Sectors: uint64(len(data) / 512), SectorSize: 512}
		// A fuzzer does not find checksums: mend them.
		if lba == 1 && len(data) >= 1024 {
			data = bytes.Clone(data)
			mend(data)
		}
		table, err := ReadTable(bytes.NewReader(data), d, lba)
		if err != nil {
			return
		}
		for i := range table.Count() {
			table.Entry(i)
		}
		for _, id := range []string{dataID, rootID} {
			g, err := PlanGrowth(bytes.NewReader(data), d, id)
			if err != nil {
				continue
			}
			for _, w := range append(g.Backup, g.Primary...) {
				if w.Offset < 0 || w.Offset+int64(len(w.Data)) > int64(d.Sectors)*512 {
					t.Errorf("write of %d bytes at %d on a disk of %d sectors", len(w.Data), w.Offset, d.Sectors)
				}
			}
		}
	})
}

// mend makes the checksums of a table right.
func mend(data []byte) {
	table := Table{header: data[512:1024]}
	n := uint64(table.u32(offEntryCount)) * uint64(table.u32(offEntrySize))
	at := table.u64(offEntriesLBA) * 512
	if at < uint64(len(data)) && n <= uint64(len(data))-at {
		table.entries = data[at : at+n]
	}
	if size := table.u32(offHeaderSize); size >= minHeader && size <= 512 {
		copy(data[512:], header(table, table.u64(offMyLBA), table.u64(offAlternate), table.u64(offEntriesLBA), table.u64(offLastUsable), table.entries))
	}
}
