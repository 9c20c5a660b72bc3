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

var copies = [2]int64{RecordOffset1, RecordOffset2}

// CommandLineOffset returns where the command line of slot n lies in the BIOS
// boot partition.
func (n Name) CommandLineOffset() int64 {
	if n == B {
		return CommandLineOffsetB
	}
	return CommandLineOffsetA
}

// Load reads the slot record from a BIOS boot partition: the newer of its
// sound copies. When neither is sound the error says why for both and wraps
// [ErrDamaged].
func Load(partition io.ReaderAt) (Record, error) {
	r, _, err := load(partition)
	return r, err
}

// load also returns which copy the record came from.
func load(partition io.ReaderAt) (Record, int, error) {
	var (
		best   Record
		at     = -1
		faults [2]error
	)
	for i, off := range copies {
		sector := make([]byte, SectorSize)
		if _, err := partition.ReadAt(sector, off); err != nil {
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

// ReaderWriterAt is the BIOS boot partition, opened for reading and writing.
type ReaderWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// Save writes r over the copy that [Load] does not read, with the next
// sequence number, so that a torn write leaves the old record in force. The
// caller syncs the device. It returns the record as written.
func Save(partition ReaderWriterAt, r Record) (Record, error) {
	old, at, err := load(partition)
	if err != nil {
		// Nothing sound to protect: start anew in the first copy.
		at = 1
	}
	r.Sequence = old.Sequence + 1
	sector, err := r.Encode()
	if err != nil {
		return Record{}, err
	}
	if _, err := partition.WriteAt(sector[:], copies[1-at]); err != nil {
		return Record{}, fmt.Errorf("slot record: write copy %d: %w", 2-at, err)
	}
	return r, nil
}
