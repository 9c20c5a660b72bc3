package slot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// The slot record is what weft's BIOS loader and its boot stage know about the
// slots: one sector, little endian, kept twice. The offsets here are repeated
// in builder/bios/layout.asm.
//
//	  0   8  magic "WEFTSLOT"
//	  8   4  version, 1
//	 12   4  sequence number; the valid copy with the higher one counts
//	 16  16  zero
//	 32  64  slot A
//	 96  64  slot B
//	160 348  zero
//	508   4  CRC-32 (IEEE 802.3) of the 508 bytes before
//
// A slot:
//
//	 0   1  flags: 1 present, 2 good
//	 1   1  priority, 0..15
//	 2   1  tries left
//	 3   1  tries done
//	 4   4  bytes of the command line, at most 2047
//	 8   8  first sector of the command line
//	16   4  CRC-32 of the command line
//	20   4  bytes of the kernel
//	24   8  first sector of the kernel
//	32   8  first sector of the initrd
//	40   4  bytes of the initrd, 0 for none
//	44  20  zero
const (
	recordMagic   = "WEFTSLOT"
	recordVersion = 1

	offVersion  = 8
	offSequence = 12
	offSlots    = 32
	offCRC      = 508

	slotSize    = 64
	flagPresent = 1
	flagGood    = 2
)

// SectorSize is the size of the record, and of the sectors its numbers count.
const SectorSize = 512

// MaxCommandLine is the most bytes a kernel command line may have: x86 takes
// 2047 and a NUL (COMMAND_LINE_SIZE, arch/x86/include/asm/setup.h).
const MaxCommandLine = 2047

// minKernel is the least a bzImage can be: a boot sector and one sector with
// the setup header (Documentation/arch/x86/boot.rst).
const minKernel = 2 * SectorSize

// ErrDamaged says that a sector is not a sound slot record.
var ErrDamaged = errors.New("slot record is damaged")

// An Extent is where one file lies on the disk, in one piece.
type Extent struct {
	// LBA is the first sector, counted from the start of the disk.
	LBA uint64
	// Bytes is the file's length.
	Bytes uint32
}

// Sectors is how many sectors the extent touches.
func (e Extent) Sectors() uint64 { return (uint64(e.Bytes) + SectorSize - 1) / SectorSize }

// State is one slot in the record. The zero State is a slot that is not there.
type State struct {
	// Present says that the slot holds a system.
	Present bool
	// Good says that the slot has booted into a working system.
	Good bool
	// Priority decides between slots that can boot, 0..[MaxPriority].
	Priority uint8
	// TriesLeft is how many more times a slot that is not good is tried, and
	// TriesDone how many times it was.
	TriesLeft, TriesDone uint8
	// Kernel and Initrd are the slot's files. An empty Initrd is none. All
	// empty, the command line too, is a slot whose files are found by name.
	Kernel, Initrd Extent
	// CommandLine is where the kernel's arguments lie, without a final NUL.
	CommandLine Extent
	// CommandLineCRC is the CRC-32 (IEEE) of those bytes.
	CommandLineCRC uint32
}

// A Record is the content of the slot record.
type Record struct {
	// Sequence grows by one at each write. It tells the newer of two copies.
	Sequence uint32
	// A and B are the slots.
	A, B State
}

// Slot returns the state of the slot called n, for reading and changing.
func (r *Record) Slot(n Name) *State {
	if n == B {
		return &r.B
	}
	return &r.A
}

// Encode returns the record's sector.
func (r Record) Encode() ([SectorSize]byte, error) {
	var b [SectorSize]byte
	copy(b[:], recordMagic)
	le := binary.LittleEndian
	le.PutUint32(b[offVersion:], recordVersion)
	le.PutUint32(b[offSequence:], r.Sequence)
	for i, s := range []State{r.A, r.B} {
		if err := s.check(); err != nil {
			return b, fmt.Errorf("slot record: slot %s: %w", names[i], err)
		}
		s.put(b[offSlots+i*slotSize:])
	}
	le.PutUint32(b[offCRC:], crc32.ChecksumIEEE(b[:offCRC]))
	return b, nil
}

// names are the slots in the order of the record.
var names = [...]Name{A, B}

// Decode reads a record's sector. Whatever is not exactly what [Record.Encode]
// writes fails with [ErrDamaged].
func Decode(sector []byte) (Record, error) {
	if len(sector) != SectorSize {
		return Record{}, fmt.Errorf("%w: it has %d bytes, not %d", ErrDamaged, len(sector), SectorSize)
	}
	if string(sector[:len(recordMagic)]) != recordMagic {
		return Record{}, fmt.Errorf("%w: it does not begin with %q", ErrDamaged, recordMagic)
	}
	le := binary.LittleEndian
	if v := le.Uint32(sector[offVersion:]); v != recordVersion {
		return Record{}, fmt.Errorf("%w: version %d; this program reads version %d", ErrDamaged, v, recordVersion)
	}
	if want, got := le.Uint32(sector[offCRC:]), crc32.ChecksumIEEE(sector[:offCRC]); want != got {
		return Record{}, fmt.Errorf("%w: CRC-32 %08x, should be %08x", ErrDamaged, got, want)
	}
	r := Record{Sequence: le.Uint32(sector[offSequence:])}
	for i, n := range names {
		s := getState(sector[offSlots+i*slotSize:])
		if err := s.check(); err != nil {
			return Record{}, fmt.Errorf("%w: slot %s: %w", ErrDamaged, n, err)
		}
		*r.Slot(n) = s
	}
	if again, err := r.Encode(); err != nil || string(again[:]) != string(sector) {
		return Record{}, fmt.Errorf("%w: bytes are set that must be zero", ErrDamaged)
	}
	return r, nil
}

func (s State) put(b []byte) {
	if s.Present {
		b[0] |= flagPresent
	}
	if s.Good {
		b[0] |= flagGood
	}
	b[1], b[2], b[3] = s.Priority, s.TriesLeft, s.TriesDone
	le := binary.LittleEndian
	le.PutUint32(b[4:], s.CommandLine.Bytes)
	le.PutUint64(b[8:], s.CommandLine.LBA)
	le.PutUint32(b[16:], s.CommandLineCRC)
	le.PutUint32(b[20:], s.Kernel.Bytes)
	le.PutUint64(b[24:], s.Kernel.LBA)
	le.PutUint64(b[32:], s.Initrd.LBA)
	le.PutUint32(b[40:], s.Initrd.Bytes)
}

func getState(b []byte) State {
	le := binary.LittleEndian
	return State{
		Present:        b[0]&flagPresent != 0,
		Good:           b[0]&flagGood != 0,
		Priority:       b[1],
		TriesLeft:      b[2],
		TriesDone:      b[3],
		CommandLine:    Extent{LBA: le.Uint64(b[8:]), Bytes: le.Uint32(b[4:])},
		CommandLineCRC: le.Uint32(b[16:]),
		Kernel:         Extent{LBA: le.Uint64(b[24:]), Bytes: le.Uint32(b[20:])},
		Initrd:         Extent{LBA: le.Uint64(b[32:]), Bytes: le.Uint32(b[40:])},
	}
}

// named says that the slot's files are found by name, which the boot stage
// does and the BIOS loader cannot.
func (s State) named() bool {
	none := Extent{}
	return s.Kernel == none && s.Initrd == none && s.CommandLine == none && s.CommandLineCRC == 0
}

// check refuses what the loader could not boot whatever is on the disk.
func (s State) check() error {
	if !s.Present {
		if s != (State{}) {
			return errors.New("it is not present, yet something is said about it")
		}
		return nil
	}
	switch {
	case s.Priority > MaxPriority:
		return fmt.Errorf("priority %d is above %d", s.Priority, MaxPriority)
	case !s.named() && s.Kernel.Bytes < minKernel:
		return fmt.Errorf("kernel of %d bytes; the least is %d", s.Kernel.Bytes, minKernel)
	case s.CommandLine.Bytes > MaxCommandLine:
		return fmt.Errorf("command line of %d bytes; the kernel takes %d", s.CommandLine.Bytes, MaxCommandLine)
	}
	for _, e := range []struct {
		what string
		Extent
	}{{"kernel", s.Kernel}, {"initrd", s.Initrd}, {"command line", s.CommandLine}} {
		if e.Bytes == 0 {
			continue
		}
		// Sector 0 holds the partition table's first part, never a file.
		if e.LBA == 0 || e.LBA > math.MaxInt64/SectorSize-e.Sectors() {
			return fmt.Errorf("%s at sector %d cannot be on a disk", e.what, e.LBA)
		}
	}
	return nil
}
