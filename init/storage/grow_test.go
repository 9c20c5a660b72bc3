package storage

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

func plan(t *testing.T, f *os.File, id string) Growth {
	t.Helper()
	g, err := PlanGrowth(f, geometry(t, f), id)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGrowthFillsTheDiskAndSgdiskFindsNoFault(t *testing.T) {
	for name, size := range map[string]int64{"2 GiB": 2 << 30, "not a whole MiB": 1<<30 + 512*777, "three terabytes": 3 << 40} {
		f := image(t, size)
		g := plan(t, f, strings.ToUpper(dataID))
		if g.Grown == 0 || g.Why == "" {
			t.Fatalf("%s: nothing to do: %+v", name, g)
		}
		if err := g.Apply(f); err != nil {
			t.Fatal(err)
		}
		clean(t, f)
		table, err := ReadTable(f, geometry(t, f), 1)
		if err != nil {
			t.Fatal(err)
		}
		e, _ := table.Entry(3)
		if room := uint64(size)/512 - 1 - e.Last; room < 33 || room > 33+2048 || (e.Last+1)%2048 != 0 {
			t.Errorf("%s: the partition ends at %d of %d", name, e.Last, size/512)
		}
		code := make([]byte, 6)
		if _, err := f.ReadAt(code, 3); err != nil || string(code) != "LOADER" {
			t.Errorf("%s: the boot loader's code is %q", name, code)
		}
		if again := plan(t, f, dataID); again.Why != "" || again.Grown != 0 {
			t.Errorf("%s: a second time: %s", name, again.Why)
		}
	}
}

func TestADiskOfTheImagesSizeIsLeftAlone(t *testing.T) {
	f := image(t, 64<<20)
	// 64 MiB less the table leaves 63; the partitions take 1+1+16+32, so it
	// grows once and then never again.
	g := plan(t, f, dataID)
	if err := g.Apply(f); err != nil {
		t.Fatal(err)
	}
	if g := plan(t, f, dataID); g.Why != "" || len(g.Backup)+len(g.Primary) != 0 {
		t.Errorf("planned %+v", g)
	}
	clean(t, f)
}

// torn is a disk on which the plug is pulled after a number of sectors; never
// when the number is negative.
type torn struct {
	*os.File
	left int
}

// Sync has nothing to wait for.
func (d *torn) Sync() error { return nil }

var errPlug = errors.New("the plug was pulled")

func (d *torn) WriteAt(b []byte, off int64) (int, error) {
	for i := 0; i < len(b); i += 512 {
		if d.left == 0 {
			return i, errPlug
		}
		d.left--
		if _, err := d.File.WriteAt(b[i:min(i+512, len(b))], off+int64(i)); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// TestPullingThePlugAtAnySectorLeavesADiskThatBoots cuts the growth after
// every number of sectors. Each time the kernel's rule (argument gpt: the
// first copy if sound, else the one at the end of the disk) must find root
// and data where they are, and the next boot must finish the growth.
func TestPullingThePlugAtAnySectorLeavesADiskThatBoots(t *testing.T) {
	const size = 128 << 20
	first := image(t, size)
	before := make([]byte, size)
	if _, err := first.ReadAt(before, 0); err != nil {
		t.Fatal(err)
	}
	d := geometry(t, first)
	cuts := 0
	for after := 0; ; after++ {
		if _, err := first.WriteAt(before[:1<<20], 0); err != nil {
			t.Fatal(err)
		}
		tail := int64(size - 1<<20)
		if _, err := first.WriteAt(before[tail:], tail); err != nil {
			t.Fatal(err)
		}
		g := plan(t, first, dataID)
		err := g.Apply(&torn{first, after})
		if ids := IDs(first, d); ids[3] != rootID || ids[4] != dataID {
			t.Fatalf("after %d sectors the partitions are %v", after, ids)
		}
		finish := plan(t, first, dataID)
		if err := finish.Apply(&torn{first, -1}); err != nil {
			t.Fatal(err)
		}
		if again := plan(t, first, dataID); again.Why != "" {
			t.Fatalf("after %d sectors the next boot leaves: %s", after, again.Why)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, errPlug) {
			t.Fatal(err)
		}
		cuts++
	}
	clean(t, first)
	if cuts < 60 { // two headers, two arrays of 32 sectors, the MBR
		t.Errorf("only %d cuts", cuts)
	}
}

func TestEitherCopyIsMended(t *testing.T) {
	for name, at := range map[string]int64{"first header": 512, "first entries": 1024, "last header": 64<<20 - 512, "last entries": 64<<20 - 33*512} {
		f := image(t, 64<<20)
		g := plan(t, f, dataID)
		if err := g.Apply(f); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xaa}, 512), at); err != nil {
			t.Fatal(err)
		}
		g = plan(t, f, dataID)
		if g.Grown != 0 || g.Why == "" {
			t.Errorf("%s: planned %d sectors, %q", name, g.Grown, g.Why)
		}
		if err := g.Apply(f); err != nil {
			t.Fatal(err)
		}
		clean(t, f)
	}
}

func TestGrowthIsRefusedWhereItWouldHurt(t *testing.T) {
	f := image(t, 256<<20)
	d := geometry(t, f)
	for name, c := range map[string]struct {
		disk Disk
		id   string
		want string
	}{
		"something lies behind":  {d, rootID, "lies behind it"},
		"no such partition":      {d, "00000000-0000-4000-8000-000000000009", "has no partition"},
		"a smaller disk":         {Disk{Sectors: 40 << 11, SectorSize: 512}, dataID, "both copies"},
		"another sector size":    {Disk{Sectors: d.Sectors / 8, SectorSize: 4096}, dataID, "both copies"},
		"no disk worth the name": {Disk{Sectors: 1, SectorSize: 512}, dataID, "both copies"},
	} {
		if _, err := PlanGrowth(f, c.disk, c.id); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestApplyTellsWhereWritingFailed(t *testing.T) {
	f := image(t, 256<<20)
	g := plan(t, f, dataID)
	if err := g.Apply(&torn{f, 0}); !errors.Is(err, errPlug) || !strings.Contains(err.Error(), "write at byte") {
		t.Errorf("error %v", err)
	}
}
