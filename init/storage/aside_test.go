package storage

import (
	"errors"
	"strings"
	"testing"
)

// grown is a disk whose data partition fills it.
func grown(t *testing.T, size int64) (*torn, Disk) {
	t.Helper()
	f := image(t, size)
	if err := plan(t, f, dataID).Apply(f); err != nil {
		t.Fatal(err)
	}
	return &torn{f, -1}, geometry(t, f)
}

var newID = [16]byte{0xef, 0xbe, 0xad, 0xde, 1, 2, 3, 0x40, 0x80, 5, 6, 7, 8, 9, 10, 11}

func TestADamagedPartitionIsSetAsideAndSgdiskFindsNoFault(t *testing.T) {
	f, d := grown(t, 8<<30)
	before := plan(t, f.File, dataID)
	a, err := PlanAside(f, d, dataID, newID)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Apply(f); err != nil {
		t.Fatal(err)
	}
	clean(t, f.File)
	ids := IDs(f, d)
	if ids[4] != dataID || ids[3] != rootID || ids[a.Number] != "deadbeef-0201-4003-8005-060708090a0b" {
		t.Errorf("ids %v, set aside as %d", ids, a.Number)
	}
	// The old content is from where it was to right before the new.
	if a.KeptFirst != before.First || a.KeptLast+1 != a.First || a.Last != before.Last || a.First%2048 != 0 {
		t.Errorf("%+v, before %+v", a, before)
	}
	if kept, all := a.KeptLast-a.KeptFirst+1, before.Last-before.First+1; kept*4 < all*3-4*2048 || kept*4 > all*3 {
		t.Errorf("%d of %d sectors are kept", kept, all)
	}
	if out := run(t, tool(t, "sgdisk", "gdisk"), "-i", "2", f.Name()); a.Number != 2 || !strings.Contains(out, "Partition name: '"+AsideName+"'") {
		t.Errorf("number %d: %s", a.Number, out)
	}
	if again := plan(t, f.File, dataID); again.Why != "" {
		t.Errorf("the next boot finds: %s", again.Why)
	}
	// A disk that goes on failing does not eat itself up.
	if _, err := PlanAside(f, d, dataID, newID); !errors.Is(err, ErrNoRoom) || !strings.Contains(err.Error(), "before") {
		t.Errorf("a second time: %v", err)
	}
}

func TestPullingThePlugWhileSettingAsideLosesNothing(t *testing.T) {
	for after := 0; ; after++ {
		f, d := grown(t, 6<<30)
		a, err := PlanAside(f, d, dataID, newID)
		if err != nil {
			t.Fatal(err)
		}
		f.left = after
		err = a.Apply(f)
		f.left = -1
		ids := IDs(f, d)
		if ids[3] != rootID || ids[4] != dataID {
			t.Fatalf("after %d sectors the partitions are %v", after, ids)
		}
		if finish := plan(t, f.File, dataID); finish.Why != "" {
			if err := finish.Apply(f); err != nil {
				t.Fatal(err)
			}
		}
		if err == nil {
			break
		}
		after += 6 // each cut costs a disk
	}
}

func TestWhatIsNotSetAside(t *testing.T) {
	small, d := grown(t, 1<<30)
	if _, err := PlanAside(small, d, dataID, newID); !errors.Is(err, ErrNoRoom) {
		t.Errorf("a small partition: %v", err)
	}
	if _, err := PlanAside(small, d, rootID, newID); err == nil || errors.Is(err, ErrNoRoom) {
		t.Errorf("a partition with another behind it: %v", err)
	}
	if _, err := PlanAside(small, d, "12345678-04", newID); !errors.Is(err, ErrNoRoom) {
		t.Errorf("an MBR: %v", err)
	}
	if _, err := small.File.WriteAt(make([]byte, 512), 512); err != nil {
		t.Fatal(err)
	}
	if _, err := PlanAside(small, d, dataID, newID); !errors.Is(err, ErrNotGPT) {
		t.Errorf("a damaged table: %v", err)
	}
}

func TestNamesOfPartitions(t *testing.T) {
	for _, c := range []struct {
		disk   string
		number int
		want   string
	}{{"vda", 6, "vda6"}, {"mmcblk0", 6, "mmcblk0p6"}, {"nvme0n1", 12, "nvme0n1p12"}} {
		if got := partitionName(c.disk, c.number); got != c.want {
			t.Errorf("%s %d: %s", c.disk, c.number, got)
		}
	}
	entry := make([]byte, 128)
	setName(entry, "weft-damaged")
	setName(entry, "short")
	table := Table{header: make([]byte, 512), entries: entry}
	table.header[offEntrySize], table.header[offEntryCount] = 128, 1
	if got := table.name(0); got != "short" {
		t.Errorf("%q", got)
	}
}
