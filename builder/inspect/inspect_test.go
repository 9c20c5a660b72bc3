package inspect_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"weft/builder/buildtest"
	"weft/builder/disk"
	"weft/builder/inspect"
	"weft/slot"
)

// A patch is a disk with some bytes changed.
type patch struct {
	*os.File
	at   int64
	data []byte
}

func (p patch) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.File.ReadAt(b, off)
	for i := range b[:n] {
		if at := off + int64(i) - p.at; at >= 0 && at < int64(len(p.data)) {
			b[i] = p.data[at]
		}
	}
	return n, err
}

// Each case damages bytes of a part; faults holds words of what is reported,
// in the order of the reports.
var damages = []struct {
	name, part string
	offset     int64
	bytes      int
	faults     []string
}{
	{"the first partition table", "", disk.SectorSize, 512, []string{"partition table: first table"}},
	{"the partition table's entries", "", 2 * disk.SectorSize, 512, []string{"partition table: first table"}},
	{"sector 0", "", 510, 2, []string{"partition table: sector 0"}},
	{"the boot sector of the FAT", disk.Boot, 0, 512, []string{"weft-boot: "}},
	{"the EROFS superblock", disk.RootA, 1024, 128, []string{"weft-root-a: "}},
	{"one copy of the slot record", disk.BIOS, slot.RecordOffset1, 512, nil},
	{"both copies of the slot record", disk.BIOS, slot.RecordOffset1, 8 << 10, []string{"BIOS slot record: "}},
	{"the ext4 superblock", disk.Data, 1024, 1024, []string{"weft-data: "}},
}

func TestDamageIsReportedAndHidesNothingElse(t *testing.T) {
	result := buildtest.Image(t, "x86-64-cloud", "vxlan")
	f, err := os.Open(result.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sound, err := inspect.Open(f, result.Size)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range damages {
		t.Run(c.name, func(t *testing.T) {
			at := c.offset
			if p, ok := sound.Disk.Layout.Partition(c.part); ok {
				at += p.Start
			}
			i, err := inspect.Open(patch{f, at, bytes.Repeat([]byte{0x5a}, c.bytes)}, result.Size)
			if err != nil {
				t.Fatal(err)
			}
			report := i.Report()
			if len(report.Faults) != len(c.faults) {
				t.Fatalf("faults: %q", report.Faults)
			}
			for n, want := range c.faults {
				if !strings.HasPrefix(report.Faults[n], want) {
					t.Errorf("fault %q, want %q", report.Faults[n], want)
				}
			}
			if len(report.Partitions) != len(sound.Disk.Layout.Partitions) {
				t.Errorf("%d partitions", len(report.Partitions))
			}
			checkReadable(t, report)
			if again := i.Report(); len(again.Faults) != len(report.Faults) {
				t.Errorf("the second report has other faults: %q", again.Faults)
			}
		})
	}
	t.Run("a truncated image", func(t *testing.T) { truncated(t, f, result.Size) })
	t.Run("any byte of the file systems' heads", func(t *testing.T) { scattered(t, f, sound) })
	t.Run("nothing", func(t *testing.T) { soundReport(t, sound) })
}

// checkReadable prints a report both ways.
func checkReadable(t *testing.T, r inspect.Report) {
	t.Helper()
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, fault := range r.Faults {
		if !strings.Contains(text.String(), fault) {
			t.Errorf("the report does not print %q", fault)
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back inspect.Report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Error(err)
	}
}

// truncated cuts the image at all kinds of places: what is gone is reported.
func truncated(t *testing.T, f *os.File, size int64) {
	for _, keep := range []int64{0, 1, 512, 1024, 34 * 512, 1 << 20, 3 << 20, size / 2, size - 512, size - 1} {
		i, err := inspect.Open(patch{File: f}, keep)
		if err != nil {
			if !strings.Contains(err.Error(), "no partition table") {
				t.Errorf("%d bytes: %v", keep, err)
			}
			continue
		}
		if report := i.Report(); len(report.Faults) == 0 {
			t.Errorf("%d of %d bytes have no fault", keep, size)
		}
	}
}

// scattered damages single bytes where the file systems keep what matters
// most; whatever comes of it, nothing may crash.
func scattered(t *testing.T, f *os.File, sound *inspect.Image) {
	for _, name := range []string{disk.BIOS, disk.Boot, disk.RootA, disk.Data} {
		p, _ := sound.Disk.Layout.Partition(name)
		for off := int64(0); off < 4096; off += 7 {
			i, err := inspect.Open(patch{f, p.Start + off, []byte{0xff}}, sound.Disk.Layout.Size)
			if err != nil {
				t.Fatalf("%s, byte %d: %v", name, off, err)
			}
			if off%98 == 0 {
				i.Report()
			}
		}
	}
}

// soundReport reads the report of an image that has nothing wrong.
func soundReport(t *testing.T, sound *inspect.Image) {
	r := sound.Report()
	if len(r.Faults) != 0 || r.Slots["a"].TriesLeft != slot.DefaultTries || r.Slots["a"].Good {
		t.Errorf("report: %+v", r)
	}
	if r.Data == nil || !r.Data.Clean || len(r.Entries) != 1 || r.Root.Files == 0 || len(r.Needs) == 0 {
		t.Errorf("report: %+v", r)
	}
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	for _, want := range []string{
		"vxlan on x86-64-cloud (amd64)\n", "node file: none", "BIOS slot a: to prove itself, 3 tries left", "br_netfilter",
		fmt.Sprintf("%d modules", len(r.Modules)),
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, text.String())
		}
	}
	if _, ok := r.Slots["b"]; ok {
		t.Error("slot b is empty and reported")
	}
}
