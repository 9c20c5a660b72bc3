package bless

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weft/slot"
)

// boot makes a boot partition with boot entries of these names.
func boot(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, slot.EntriesDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("title "+f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestEntry(t *testing.T) {
	for name, c := range map[string]struct {
		have    []string
		slot    slot.Name
		want    []string
		changed bool
	}{
		"first good boot":     {[]string{"weft-a+2-1.conf"}, slot.A, []string{"weft-a.conf"}, true},
		"good already":        {[]string{"weft-a.conf"}, slot.A, []string{"weft-a.conf"}, false},
		"the other stays":     {[]string{"weft-a+3-0.conf", "weft-b+2-1.conf"}, slot.B, []string{"weft-a+3-0.conf", "weft-b.conf"}, true},
		"strangers stay":      {[]string{"debian+1-2.conf", "weft-a+0-3.conf"}, slot.A, []string{"debian+1-2.conf", "weft-a.conf"}, true},
		"tried for the first": {[]string{"weft-a+3.conf"}, slot.A, []string{"weft-a.conf"}, true},
	} {
		root := boot(t, c.have...)
		changed, err := Entry(root, c.slot)
		if err != nil || changed != c.changed {
			t.Errorf("%s: changed %v, %v", name, changed, err)
		}
		entries, _ := os.ReadDir(filepath.Join(root, slot.EntriesDir))
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestASlotWithoutEntryIsSaid(t *testing.T) {
	if _, err := Entry(boot(t, "weft-b.conf"), slot.A); !errors.Is(err, ErrNoEntry) {
		t.Errorf("error %v", err)
	}
	if _, err := Entry(t.TempDir(), slot.A); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// partition is a BIOS boot partition in memory.
type partition struct {
	data  []byte
	syncs int
}

func (p *partition) ReadAt(b []byte, off int64) (int, error) {
	if off >= int64(len(p.data)) {
		return 0, io.EOF
	}
	return copy(b, p.data[off:]), nil
}

func (p *partition) WriteAt(b []byte, off int64) (int, error) { return copy(p.data[off:], b), nil }

func (p *partition) Sync() error { p.syncs++; return nil }

func TestRecord(t *testing.T) {
	p := &partition{data: make([]byte, slot.PartitionUsed)}
	if _, err := Record(p, slot.InPartition, slot.A); !errors.Is(err, slot.ErrDamaged) {
		t.Errorf("an empty partition: %v", err)
	}
	state := slot.State{
		Present: true, TriesLeft: 2, TriesDone: 1, Priority: 1,
		Kernel:      slot.Extent{LBA: 4096, Bytes: 1 << 20},
		CommandLine: slot.Extent{LBA: 2128, Bytes: 10},
	}
	if _, err := slot.Save(p, slot.Record{A: state}); err != nil {
		t.Fatal(err)
	}
	changed, err := Record(p, slot.InPartition, slot.A)
	if err != nil || !changed || p.syncs != 1 {
		t.Fatalf("changed %v, %d syncs, %v", changed, p.syncs, err)
	}
	r, err := slot.Load(p)
	if err != nil || !r.A.Good || r.A.Kernel != state.Kernel {
		t.Errorf("record %+v, %v", r, err)
	}
	if changed, err := Record(p, slot.InPartition, slot.A); err != nil || changed {
		t.Errorf("again: changed %v, %v", changed, err)
	}
	if changed, err := Record(p, slot.InPartition, slot.B); err != nil || changed {
		t.Errorf("a slot that is not there: changed %v, %v", changed, err)
	}
}
