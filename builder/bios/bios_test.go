package bios

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"weft/slot"
)

func TestCommittedLoaderIsWhatNasmMakesOfItsSource(t *testing.T) {
	for name, committed := range map[string][]byte{"stage1.asm": stage1, "stage2.asm": stage2} {
		if !bytes.Equal(assemble(t, name), committed) {
			t.Errorf("%s was changed after the loader was assembled: go generate ./builder/bios", name)
		}
	}
}

func TestLoaderFitsItsPlace(t *testing.T) {
	if len(stage1) != CodeSize {
		t.Errorf("stage 1 has %d bytes, want %d", len(stage1), CodeSize)
	}
	if len(stage2)%slot.SectorSize != 0 || len(stage2) > slot.LoaderSpace {
		t.Errorf("stage 2 has %d bytes; it has %d, in whole sectors", len(stage2), slot.LoaderSpace)
	}
	t.Logf("stage 2: %d bytes", len(stage2))
}

func sound() *System {
	return &System{
		Kernel:      slot.Extent{LBA: 5000, Bytes: 12 << 20},
		Initrd:      slot.Extent{LBA: 60000, Bytes: 5 << 20},
		CommandLine: "root=PARTUUID=1 weft.slot=a",
		Tries:       3,
	}
}

func TestInstallWritesWhatTheLoaderReads(t *testing.T) {
	const lba = 1 << 33
	code, partition, err := Install(lba, sound(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := binary.LittleEndian.Uint64(code[offHomeLBA:]); got != lba {
		t.Errorf("stage 1 looks for stage 2 at sector %d, want %d", got, uint64(lba))
	}
	if got := int(binary.LittleEndian.Uint16(code[offHomeSectors:])); got*slot.SectorSize != len(stage2) {
		t.Errorf("stage 1 reads %d sectors of stage 2, which has %d bytes", got, len(stage2))
	}
	if !bytes.HasPrefix(partition, stage2) {
		t.Error("the partition does not begin with stage 2")
	}
	record, err := slot.Load(bytes.NewReader(partition))
	if err != nil {
		t.Fatal(err)
	}
	a := record.A
	if !a.Present || a.Good || a.TriesLeft != 3 || a.Kernel != sound().Kernel || a.Initrd != sound().Initrd {
		t.Errorf("slot a in the record: %+v", a)
	}
	if record.B.Present {
		t.Errorf("slot b in the record: %+v", record.B)
	}
	at := (a.CommandLine.LBA - lba) * slot.SectorSize
	if got := string(partition[at : at+uint64(a.CommandLine.Bytes)]); got != sound().CommandLine {
		t.Errorf("command line of slot a: %q", got)
	}
}

func TestWhatCannotBootIsRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		a, b *System
		want string
	}{
		{"no system at all", nil, nil, "no slot holds a system"},
		{"command line one byte too long", with(func(s *System) { s.CommandLine = strings.Repeat("x", 2048) }), nil, "slot a: the kernel command line has 2048 bytes; the kernel takes 2047"},
		{"command line of two lines", nil, with(func(s *System) { s.CommandLine = "quiet\nroot" }), "slot b: the kernel command line has a line break or NUL at byte 5"},
		{"no kernel", with(func(s *System) { s.Kernel = slot.Extent{} }), nil, "slot a: kernel of 0 bytes"},
		{"priority too high", with(func(s *System) { s.Priority = 16 }), nil, "priority 16 is above 15"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := Install(2048, test.a, test.b)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	if _, _, err := Install(2048, with(func(s *System) { s.CommandLine = strings.Repeat("x", 2047) }), nil); err != nil {
		t.Errorf("a command line of 2047 bytes was refused: %v", err)
	}
}

func with(change func(*System)) *System {
	s := sound()
	change(s)
	return s
}
