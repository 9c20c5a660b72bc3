package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mbrDisk makes a disk of size bytes with an MBR by sfdisk(8).
func mbrDisk(t *testing.T, size int64, script string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(sfdisk(t), "--quiet", f.Name())
	cmd.Stdin = strings.NewReader("label: dos\nlabel-id: 0x12345678\n" + script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
	return f
}

func sfdisk(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"sfdisk", "/usr/sbin/sfdisk", "/sbin/sfdisk"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("install fdisk: make deps")
	return ""
}

// piCard is the partitions of a Raspberry Pi's card.
const piCard = `start=2048, size=65536, type=c, bootable
start=67584, size=65536, type=83
start=133120, size=65536, type=83
start=198656, size=65536, type=83
`

func TestAnMBRPartitionGrowsToTheEndOfItsDisk(t *testing.T) {
	const size = 1<<30 + 12345*512 // not aligned
	f := mbrDisk(t, size, piCard)
	d := Disk{Sectors: size / 512, SectorSize: 512}
	g, err := PlanMBRGrowth(f, d, "12345678-04")
	if err != nil || g.Grown == 0 || g.First != 198656 {
		t.Fatalf("%+v, %v", g, err)
	}
	if err := g.Apply(f); err != nil {
		t.Fatal(err)
	}
	var shown struct {
		PartitionTable struct {
			Label, ID  string
			Partitions []struct {
				Start, Size uint64
				Type        string
				Bootable    bool
			}
		}
	}
	out, err := exec.Command(sfdisk(t), "--json", f.Name()).Output()
	if err == nil {
		err = json.Unmarshal(out, &shown)
	}
	if err != nil {
		t.Fatal(err)
	}
	parts := shown.PartitionTable.Partitions
	if shown.PartitionTable.Label != "dos" || shown.PartitionTable.ID != "0x12345678" || len(parts) != 4 || !parts[0].Bootable ||
		parts[0].Size != 65536 || parts[2].Start != 133120 {
		t.Errorf("what was not to change has: %s", out)
	}
	if end := parts[3].Start + parts[3].Size; end != d.Sectors/2048*2048 || parts[3].Start+parts[3].Size-1 != g.Last {
		t.Errorf("the partition ends at %d, planned %d, the disk at %d", end, g.Last+1, d.Sectors)
	}
	if out, err := exec.Command(sfdisk(t), "--verify", f.Name()).CombinedOutput(); err != nil {
		t.Errorf("sfdisk --verify: %v\n%s", err, out)
	}
	again, err := PlanMBRGrowth(f, d, "12345678-04")
	if err != nil || again.Why != "" || again.Grown != 0 {
		t.Errorf("a second time: %+v, %v", again, err)
	}
}

func TestMBRsThatAreLeftAlone(t *testing.T) {
	const size = 1 << 30
	d := Disk{Sectors: size / 512, SectorSize: 512}
	for name, c := range map[string]struct {
		script, id string
		disk       Disk
		want       string
	}{
		"not the last":         {piCard, "12345678-02", d, "partition 3 lies behind it"},
		"another disk's":       {piCard, "00000001-04", d, "signature is 12345678"},
		"not there":            {"start=2048, size=2048, type=83\n", "12345678-03", d, "no partition 12345678-03"},
		"a GPT's id":           {piCard, "0fc63daf-8483-4772-8e79-3d69d8477de4", d, "no partition of an MBR"},
		"a hybrid":             {"start=1, size=2047, type=ee\nstart=2048, size=2048, type=83\n", "12345678-02", d, "two kinds"},
		"a disk grown small":   {piCard, "12345678-04", Disk{Sectors: 200000, SectorSize: 512}, "the disk is smaller"},
		"an extended one last": {piCard[:strings.Index(piCard, "start=133120")] + "start=133120, size=65536, type=5\n", "12345678-02", d, "lies behind it"},
	} {
		t.Run(name, func(t *testing.T) {
			f := mbrDisk(t, size, c.script)
			before := content(t, f)
			g, err := PlanMBRGrowth(f, c.disk, c.id)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v; want an error with %q", g, err, c.want)
			}
			if name == "a hybrid" && !errors.Is(err, ErrHybrid) {
				t.Errorf("error %v is no ErrHybrid", err)
			}
			if !bytes.Equal(before, content(t, f)) {
				t.Error("the table was changed")
			}
		})
	}
}

// content is the first sector.
func content(t *testing.T, f *os.File) []byte {
	t.Helper()
	b := make([]byte, 512)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// An MBR counts to 2 TiB; the rest of a larger disk is left.
func TestAnMBREndsAtTwoTebibytes(t *testing.T) {
	const size = 3 << 40
	f := mbrDisk(t, size, piCard)
	g, err := PlanMBRGrowth(f, Disk{Sectors: size / 512, SectorSize: 512}, "12345678-04")
	if err != nil || g.Last >= 1<<32 || g.Last < 1<<32-1-2*2048 {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestIDsOfMBRs(t *testing.T) {
	for id, want := range map[string]bool{
		"12345678-04": true, "ABCDEF01-0a": true, "1234567-004": false, "": false, "12345678x04": false, "1234567g-04": false,
	} {
		if IsMBR(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}

func FuzzPlanMBRGrowth(f *testing.F) {
	sector := make([]byte, 512)
	copy(sector[440:], []byte{0x78, 0x56, 0x34, 0x12})
	sector[510], sector[511] = 0x55, 0xaa
	for i := range 4 {
		copy(sector[446+16*i:], []byte{0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, byte(i), 0, 0, 8, 0, 0})
	}
	f.Add(sector, uint64(1<<20))
	f.Fuzz(func(t *testing.T, data []byte, sectors uint64) {
		if len(data) < 512 || sectors > 1<<50 {
			return
		}
		for n := range 4 {
			g, err := PlanMBRGrowth(bytes.NewReader(data), Disk{Sectors: sectors, SectorSize: 512}, fmt.Sprintf("12345678-%02x", n+1))
			if err == nil && (g.Last >= sectors || g.First > g.Last) {
				t.Errorf("%+v on a disk of %d sectors", g, sectors)
			}
		}
	})
}
