package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// alignment is what the end of a grown partition is aligned to, in bytes, as
// partitioning tools do.
const alignment = 1 << 20

// A Write is bytes to be written at an offset of the disk.
type Write struct {
	Offset int64
	Data   []byte
}

// A Growth is what has to be written for a partition to end where its disk
// ends.
type Growth struct {
	// Backup is written and synced first, then Primary. Whenever the plug is
	// pulled, one copy of the table is whole: before Primary is begun the old
	// primary still describes the disk, and if Primary is torn the backup at
	// the end of the disk, where firmware and the kernel (argument gpt) look
	// for it, already describes it as it shall be.
	Backup, Primary []Write
	// First and Last are the partition's sectors afterwards; Grown the
	// sectors it gained.
	First, Last, Grown uint64
	// Why says what is not as it should be; empty when nothing is to do.
	Why string
}

// PlanGrowth reads both copies of the table and plans the growth of the
// partition called id. A copy that is damaged or not at the end of the disk
// is written anew.
func PlanGrowth(r io.ReaderAt, d Disk, id string) (Growth, error) {
	t, primaryErr := ReadTable(r, d, 1)
	backup, backupErr := ReadTable(r, d, d.Sectors-1)
	if primaryErr != nil {
		if backupErr != nil {
			return Growth{}, fmt.Errorf("both copies of the partition table are damaged: %w", errors.Join(primaryErr, backupErr))
		}
		t = backup
	}
	i, e, err := t.last(id)
	if err != nil {
		return Growth{}, err
	}
	entriesSectors := t.entriesSectors(d.SectorSize)
	// One sector each for protective MBR and header, entries on both ends.
	if d.Sectors < 2*(entriesSectors+2) {
		return Growth{}, fmt.Errorf("a disk of %d sectors has no room for a partition table", d.Sectors)
	}
	lastUsable := d.Sectors - 2 - entriesSectors
	if e.Last > lastUsable {
		return Growth{}, fmt.Errorf("partition %s ends at sector %d, beyond the last usable sector %d of its disk: the disk is smaller than the one it was written for", id, e.Last, lastUsable)
	}
	g := Growth{First: e.First, Last: e.Last}
	unit := uint64(alignment / d.SectorSize)
	if end := (lastUsable+1)/unit*unit - 1; end > e.Last && end < d.Sectors {
		g.Grown, g.Last = end-e.Last, end
	}
	switch {
	case g.Grown > 0:
		g.Why = "the partition ends before its disk does"
	case primaryErr != nil:
		g.Why = "the first copy of the table is damaged"
	case backupErr != nil || t.u64(offAlternate) != d.Sectors-1 || !bytes.Equal(t.entries, backup.entries):
		g.Why = "the second copy of the table is missing or differs"
	default:
		return g, nil
	}
	mbr := make([]byte, d.SectorSize)
	if _, err := r.ReadAt(mbr, 0); err != nil {
		return Growth{}, fmt.Errorf("protective MBR: %w", err)
	}
	g.write(t, d, i, lastUsable, mbr)
	return g, nil
}

// last finds the used entry called id and makes sure that no other partition
// lies behind it or overlaps it.
func (t Table) last(id string) (int, Entry, error) {
	found := -1
	var own Entry
	for i := range t.Count() {
		if e, ok := t.Entry(i); ok && e.ID == strings.ToLower(id) {
			found, own = i, e
		}
	}
	if found < 0 {
		return 0, Entry{}, fmt.Errorf("the partition table has no partition %s", id)
	}
	if own.First > own.Last || own.First < t.u64(offFirstUsable) {
		return 0, Entry{}, fmt.Errorf("partition %s runs from sector %d to %d", id, own.First, own.Last)
	}
	for i := range t.Count() {
		if e, ok := t.Entry(i); ok && i != found && e.Last >= own.First {
			return 0, Entry{}, fmt.Errorf("partition %s cannot grow: partition %s lies behind it", id, e.ID)
		}
	}
	return found, own, nil
}

// write fills in the writes of a growth.
func (g *Growth) write(t Table, d Disk, index int, lastUsable uint64, mbr []byte) {
	entries := bytes.Clone(t.entries)
	size := int(t.u32(offEntrySize))
	binary.LittleEndian.PutUint64(entries[index*size+40:], g.Last)
	g.writeEntries(t, d, entries, lastUsable, mbr)
}

// writeEntries fills in the writes that give both copies of a table other
// entries.
func (g *Growth) writeEntries(t Table, d Disk, entries []byte, lastUsable uint64, mbr []byte) {
	sector := int64(d.SectorSize)
	end := d.Sectors - 1

	backupEntries := lastUsable + 1
	g.Backup = []Write{
		{int64(backupEntries) * sector, padded(entries, d.SectorSize)},
		{int64(end) * sector, header(t, end, 1, backupEntries, lastUsable, entries)},
	}
	// The first copy starts at sector 0: protective MBR, header and the first
	// entries share the disk's first 4 KiB, so that on most disks they change
	// together.
	setProtective(mbr, d.Sectors)
	first := bytes.Join([][]byte{mbr, header(t, 1, end, 2, lastUsable, entries), padded(entries, d.SectorSize)}, nil)
	g.Primary = []Write{{0, first}}
}

// header is a header's sector made from t for another place.
func header(t Table, my, other, entriesLBA, lastUsable uint64, entries []byte) []byte {
	h := bytes.Clone(t.header)
	le := binary.LittleEndian
	le.PutUint64(h[offMyLBA:], my)
	le.PutUint64(h[offAlternate:], other)
	le.PutUint64(h[offEntriesLBA:], entriesLBA)
	le.PutUint64(h[offLastUsable:], lastUsable)
	le.PutUint32(h[offEntriesCRC:], crc32.ChecksumIEEE(entries))
	le.PutUint32(h[offHeaderCRC:], headerCRC(h[:t.u32(offHeaderSize)]))
	return h
}

// setProtective lets the protective partition (type 0xEE) of an MBR cover the
// disk, as UEFI 2.10 section 5.2.3 asks. An MBR without one is left alone.
func setProtective(mbr []byte, sectors uint64) {
	const table, entry, typeOff, startOff, sizeOff = 446, 16, 4, 8, 12
	for at := table; at < table+4*entry; at += entry {
		if mbr[at+typeOff] == 0xEE && binary.LittleEndian.Uint32(mbr[at+startOff:]) == 1 {
			binary.LittleEndian.PutUint32(mbr[at+sizeOff:], uint32(min(sectors-1, 0xFFFFFFFF)))
		}
	}
}

// padded fills data up to whole sectors.
func padded(data []byte, sectorSize int) []byte {
	n := (len(data) + sectorSize - 1) / sectorSize * sectorSize
	return append(bytes.Clone(data), make([]byte, n-len(data))...)
}

// A Syncer is a disk that can be written and made durable.
type Syncer interface {
	io.WriterAt
	Sync() error
}

// Apply writes a growth in its safe order.
func (g Growth) Apply(disk Syncer) error {
	for _, phase := range [][]Write{g.Backup, g.Primary} {
		for _, w := range phase {
			if _, err := disk.WriteAt(w.Data, w.Offset); err != nil {
				return fmt.Errorf("partition table: write at byte %d: %w", w.Offset, err)
			}
		}
		if err := disk.Sync(); err != nil {
			return fmt.Errorf("partition table: sync: %w", err)
		}
	}
	return nil
}
