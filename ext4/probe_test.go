package ext4

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestProbeReadsWhatMakeMade(t *testing.T) {
	d := make(disk, params.Size)
	if err := Make(d, params); err != nil {
		t.Fatal(err)
	}
	got, err := Probe(d)
	if err != nil {
		t.Fatal(err)
	}
	want := Info{
		UUID: params.UUID, Label: params.Label,
		BlockSize: BlockSize, Size: params.Size, Free: params.Size - (journalAt+2048)*BlockSize,
		Inodes: 8192, FreeInodes: 8181,
		Clean: true, Checksummed: true, ChecksumValid: true,
		Compat: compat, Incompat: incompat, ROCompat: roCompat,
		Made: epoch, Written: epoch,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	d[superblockOffset+0x80] ^= 1
	if got, err = Probe(d); err != nil || got.ChecksumValid {
		t.Errorf("a flipped bit in the label: %+v, %v", got, err)
	}
}

func TestProbeReadsFileSystemsOfMke2fs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "img")
	for _, kind := range []string{"ext2", "ext3", "ext4"} {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(name, 64*mib); err != nil {
			t.Fatal(err)
		}
		tool(t, "mke2fs", "-q", "-t", kind, "-L", "other", "-U", "6b1fa255-109c-4e02-8a77-d03b415e9011", name)
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		i, err := Probe(f)
		f.Close()
		if err != nil || i.Label != "other" || i.UUID != params.UUID || i.Size != 64*mib || !i.Clean || !i.ChecksumValid || i.Made.IsZero() {
			t.Errorf("%s: %+v, %v", kind, i, err)
		}
	}
}

func TestProbeTellsAnEmptyPlaceFromAFailingDisk(t *testing.T) {
	for name, d := range map[string]disk{
		"nothing":      {},
		"too short":    make(disk, 1500),
		"zeros":        make(disk, 8192),
		"large blocks": superblockWith(0x18, 40),
		"no blocks":    superblockWith(0x04, 0),
		"more free":    superblockWith(0x0c, 1<<31),
		"overflow":     superblockWith(0x150, 1<<31),
	} {
		if _, err := Probe(d); !errors.Is(err, ErrNotExt4) {
			t.Errorf("%s: %v, want ErrNotExt4", name, err)
		}
	}
	if _, err := Probe(broken{}); err == nil || errors.Is(err, ErrNotExt4) {
		t.Errorf("a failing disk: %v", err)
	}
}

// superblockWith is a superblock with one field changed.
func superblockWith(at int, v uint32) disk {
	f := newFilesystem(params)
	f.journal = 2048
	block := record(f.superblock())
	block.put32(superblockOffset+at, v)
	return disk(block)
}

// broken is a disk that cannot be read.
type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("input/output error") }

func TestStateIsRead(t *testing.T) {
	d := superblockWith(0x60, incompat|incompatRecover)
	if i, err := Probe(d); err != nil || i.Clean || !i.NeedsRecovery || i.HasErrors {
		t.Errorf("a journal to replay: %+v, %v", i, err)
	}
	d = superblockWith(0x38, magic|(stateClean|stateErrors)<<16)
	if i, err := Probe(d); err != nil || !i.HasErrors {
		t.Errorf("errors seen by the kernel: %+v, %v", i, err)
	}
	d = superblockWith(0x2c, 1)
	if i, err := Probe(d); err != nil || !i.Mounted.Equal(time.Unix(1, 0)) {
		t.Errorf("time of mount: %+v, %v", i, err)
	}
}

func FuzzProbe(f *testing.F) {
	f.Add([]byte(superblockWith(0x30, 0))[superblockOffset:][:superblockSize])
	f.Add([]byte(superblockWith(0x60, incompat64bit))[superblockOffset:][:superblockSize])
	f.Fuzz(func(t *testing.T, superblock []byte) {
		d := append(make([]byte, superblockOffset), superblock...)
		i, err := Probe(bytes.NewReader(d))
		if err != nil {
			if !errors.Is(err, ErrNotExt4) || errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			return
		}
		if i.Size <= 0 || i.Free < 0 || i.Free > i.Size || len(i.Label) > 3*MaxLabel {
			t.Fatalf("%+v", i)
		}
	})
}

// What the kernel notes of damage is put in by debugfs.
func TestProbeTellsOfDamageTheKernelHasMet(t *testing.T) {
	name := image(t, params)
	clean, err := probeFile(t, name)
	if err != nil || clean.Errors != 0 || clean.LastError != (Damage{}) {
		t.Errorf("a new one: %+v, %v", clean, err)
	}
	tool(t, "debugfs", "-w", "-R", "ssv error_count 3", name)
	tool(t, "debugfs", "-w", "-R", "ssv last_error_func ext4_lookup", name)
	tool(t, "debugfs", "-w", "-R", "ssv last_error_time 20260203040506", name)
	tool(t, "debugfs", "-w", "-R", "ssv state 3", name)
	got, err := probeFile(t, name)
	want := Damage{"ext4_lookup", time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)}
	if err != nil || got.Errors != 3 || !got.HasErrors || got.LastError.Function != want.Function || !got.LastError.Time.Equal(want.Time) {
		t.Errorf("%+v, %v", got, err)
	}
}

// probeFile probes a file.
func probeFile(t *testing.T, name string) (Info, error) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return Probe(f)
}
