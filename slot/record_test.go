package slot

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"
)

func sound() Record {
	return Record{
		Sequence: 7,
		A: State{
			Present: true, Good: true, Priority: 15,
			Kernel:      Extent{LBA: 5000, Bytes: 12 << 20},
			Initrd:      Extent{LBA: 1 << 33, Bytes: 5},
			CommandLine: Extent{LBA: 2128, Bytes: MaxCommandLine}, CommandLineCRC: 0xDEADBEEF,
		},
		B: State{
			Present: true, Priority: 1, TriesLeft: 3, TriesDone: 200,
			Kernel: Extent{LBA: 1, Bytes: minKernel},
		},
	}
}

func encode(t testing.TB, r Record) []byte {
	t.Helper()
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b[:]
}

func TestRecordReadsBack(t *testing.T) {
	for name, r := range map[string]Record{"two slots": sound(), "one slot": {A: sound().A}, "no slot": {}} {
		got, err := Decode(encode(t, r))
		if err != nil || got != r {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestUnsoundRecordsAreNotWritten(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Record)
		want   string
	}{
		{"priority 16", func(r *Record) { r.B.Priority = 16 }, "slot b: priority 16 is above 15"},
		{"kernel of 1023 bytes", func(r *Record) { r.A.Kernel.Bytes = 1023 }, "slot a: kernel of 1023 bytes"},
		{"command line of 2048 bytes", func(r *Record) { r.A.CommandLine.Bytes = 2048 }, "the kernel takes 2047"},
		{"kernel in sector 0", func(r *Record) { r.A.Kernel.LBA = 0 }, "kernel at sector 0 cannot be on a disk"},
		{"initrd past any disk", func(r *Record) { r.A.Initrd.LBA = 1<<64 - 1 }, "initrd at sector 18446744073709551615"},
		{"absent slot with a kernel", func(r *Record) { r.A.Present = false }, "slot a: it is not present"},
		{"absent slot with a try", func(r *Record) { r.B = State{TriesLeft: 1} }, "slot b: it is not present"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := sound()
			test.change(&r)
			if _, err := r.Encode(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestDamagedRecordsAreRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(b []byte) []byte
		keepCRC bool
		want    string
	}{
		{"one bit", func(b []byte) []byte { b[40] ^= 1; return b }, true, "CRC-32"},
		{"magic", func(b []byte) []byte { b[0] = 'w'; return b }, false, `does not begin with "WEFTSLOT"`},
		{"version 2", func(b []byte) []byte { b[offVersion] = 2; return b }, false, "version 2; this program reads version 1"},
		{"an unknown flag", func(b []byte) []byte { b[offSlots] |= 4; return b }, false, "bytes are set that must be zero"},
		{"something in the unused part", func(b []byte) []byte { b[300] = 1; return b }, false, "bytes are set that must be zero"},
		{"a kernel of no size", func(b []byte) []byte { clear(b[offSlots+20 : offSlots+24]); return b }, false, "slot a: kernel of 0 bytes"},
		{"half a sector", func(b []byte) []byte { return b[:256] }, true, "it has 256 bytes"},
		{"zeros", func(b []byte) []byte { clear(b); return b }, true, "does not begin"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := test.change(encode(t, sound()))
			if !test.keepCRC {
				binary.LittleEndian.PutUint32(b[offCRC:], crc32.ChecksumIEEE(b[:offCRC]))
			}
			if _, err := Decode(b); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A memory is a BIOS boot partition in memory.
type memory []byte

func (m memory) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > int64(len(m)) {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(b, m[off:]), nil
}

func (m memory) WriteAt(b []byte, off int64) (int, error) { return copy(m[off:], b), nil }

func TestEachSaveSparesTheRecordInForce(t *testing.T) {
	m := make(memory, PartitionUsed)
	r := sound()
	for i := range 6 {
		before := append(memory(nil), m...)
		r.B.TriesDone = uint8(i)
		saved, err := Save(m, r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Load(m)
		if err != nil || got != saved || got.Sequence != uint32(i+1) {
			t.Fatalf("save %d: got %+v, %v", i, got, err)
		}
		if i == 0 {
			continue
		}
		// The write may have been torn anywhere: the old record then counts.
		old, _ := Load(before)
		for _, off := range InPartition.copies() {
			if string(before[off:off+SectorSize]) == string(m[off:off+SectorSize]) {
				continue
			}
			torn := append(memory(nil), m...)
			copy(torn[off+40:off+SectorSize], before[off+40:])
			if got, err := Load(torn); err != nil || got != old {
				t.Errorf("save %d torn: got %+v, %v; want %+v", i, got, err, old)
			}
		}
	}
}

func TestNoSoundCopyIsSaidForBoth(t *testing.T) {
	m := make(memory, PartitionUsed)
	_, err := Load(m)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "copy 1: ") || !strings.Contains(err.Error(), "copy 2: ") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(m[:1000]); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("partition too short: %v", err)
	}
}

func TestUnsoundRecordIsNotSaved(t *testing.T) {
	m := make(memory, PartitionUsed)
	if _, err := Save(m, Record{A: State{TriesLeft: 1}}); err == nil || string(m) != string(make([]byte, PartitionUsed)) {
		t.Errorf("got %v", err)
	}
}

func TestPlacesInThePartitionDoNotShareABlock(t *testing.T) {
	const block = 4096
	places := []int64{RecordOffset1, RecordOffset2, CommandLineOffsetA, CommandLineOffsetB}
	for i, p := range places {
		if p%block != 0 || p < LoaderSpace || p+block > PartitionUsed {
			t.Errorf("something lies at %d", p)
		}
		for _, q := range places[:i] {
			if p == q {
				t.Errorf("two things lie at %d", p)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, sound()))
	f.Add(encode(f, Record{}))
	f.Add([]byte("WEFTSLOT"))
	f.Fuzz(func(t *testing.T, sector []byte) {
		if len(sector) == SectorSize {
			// Let the fuzzer past the checksum.
			binary.LittleEndian.PutUint32(sector[offCRC:], crc32.ChecksumIEEE(sector[:offCRC]))
		}
		r, err := Decode(sector)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil || string(again[:]) != string(sector) {
			t.Errorf("%+v is written differently: %v", r, err)
		}
		if len(r.Order()) == 0 && (r.A.Present || r.B.Present) {
			t.Errorf("%+v has no order", r)
		}
	})
}
