package slot

import (
	"fmt"
	"io"
)

// Where things lie in the BIOS boot partition, in bytes from its start. The
// loader's second stage comes first. Each copy of the record and each command
// line has a 4 KiB block to itself: a disk whose physical sectors are larger
// than its logical ones rewrites the whole block for one sector, and a power
// cut at that moment may then cost one of these things, but never two.
const (
	// LoaderSpace is how much room the second stage has.
	LoaderSpace = 32 << 10
	// RecordOffset1 and RecordOffset2 are the two copies of the slot record.
	RecordOffset1 = 32 << 10
	RecordOffset2 = 36 << 10
	// CommandLineOffsetA and CommandLineOffsetB are the slots' command lines.
	CommandLineOffsetA = 40 << 10
	CommandLineOffsetB = 44 << 10
	// PartitionUsed is how much of the partition has a meaning.
	PartitionUsed = 48 << 10
)

// The gap is what a disk has free between its table and its first partition:
// 4 MiB behind an MBR of weft, a MiB less 17 KiB behind its GPT. The copies lie
// far apart: a card whose power is cut while it writes may damage more than
// the sector that was written.
const (
	// GapOffset1 and GapOffset2 are the two copies of the slot record, in
	// bytes from the start of the disk.
	GapOffset1 = 256 << 10
	GapOffset2 = 768 << 10
)

// A Place is where a slot record is kept.
type Place int

// The places.
const (
	// InPartition is the BIOS boot partition, counted from its start.
	InPartition Place = iota
	// InGap is the gap of a disk that is counted from its own start.
	InGap
)

// copies are the offsets of the two copies of the record.
func (p Place) copies() [2]int64 {
	if p == InGap {
		return [2]int64{GapOffset1, GapOffset2}
	}
	return [2]int64{RecordOffset1, RecordOffset2}
}

// CommandLineOffset returns where the command line of slot n lies in the BIOS
// boot partition.
func (n Name) CommandLineOffset() int64 {
	if n == B {
		return CommandLineOffsetB
	}
	return CommandLineOffsetA
}

// Load reads the slot record from a BIOS boot partition, as [Place.Load].
func Load(partition io.ReaderAt) (Record, error) { return InPartition.Load(partition) }

// Load reads the slot record: the newer of its sound copies. When neither is
// sound the error says why for both and wraps [ErrDamaged].
func (p Place) Load(device io.ReaderAt) (Record, error) {
	r, _, err := p.load(device)
	return r, err
}

// load also returns which copy the record came from.
func (p Place) load(device io.ReaderAt) (Record, int, error) {
	var (
		best   Record
		at     = -1
		faults [2]error
	)
	for i, off := range p.copies() {
		sector := make([]byte, SectorSize)
		if _, err := device.ReadAt(sector, off); err != nil {
			faults[i] = fmt.Errorf("read: %w", err)
			continue
		}
		r, err := Decode(sector)
		if err != nil {
			faults[i] = err
			continue
		}
		// At equal numbers the first copy counts; the loader does the same.
		if at < 0 || r.Sequence > best.Sequence {
			best, at = r, i
		}
	}
	if at < 0 {
		return Record{}, at, fmt.Errorf("slot record: copy 1: %w; copy 2: %w", faults[0], faults[1])
	}
	return best, at, nil
}

// Faults are the copies of the record that are not sound, each with the reason.
// One of them alone costs nothing yet: the other counts.
func (p Place) Faults(device io.ReaderAt) []error {
	var faults []error
	for i, off := range p.copies() {
		sector := make([]byte, SectorSize)
		_, err := device.ReadAt(sector, off)
		if err == nil {
			_, err = Decode(sector)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("slot record: copy %d: %w", i+1, err))
		}
	}
	return faults
}

// ReaderWriterAt is where a record is kept, opened for reading and writing.
type ReaderWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// Save writes r to a BIOS boot partition, as [Place.Save].
func Save(partition ReaderWriterAt, r Record) (Record, error) {
	return InPartition.Save(partition, r)
}

// Save writes r over the copy that Load does not read, with the next sequence
// number, so that a torn write leaves the old record in force. The caller
// syncs the device. It returns the record as written.
func (p Place) Save(device ReaderWriterAt, r Record) (Record, error) {
	old, at, err := p.load(device)
	if err != nil {
		// Nothing sound to protect: start anew in the first copy.
		at = 1
	}
	r.Sequence = old.Sequence + 1
	sector, err := r.Encode()
	if err != nil {
		return Record{}, err
	}
	if _, err := device.WriteAt(sector[:], p.copies()[1-at]); err != nil {
		return Record{}, fmt.Errorf("slot record: write copy %d: %w", 2-at, err)
	}
	return r, nil
}
