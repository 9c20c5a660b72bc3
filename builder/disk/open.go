package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// ErrNoTable says that a disk has no readable partition table.
var ErrNoTable = errors.New("no partition table")

// An Image is a disk image opened for reading.
type Image struct {
	// Layout is the partition table. It is sound in that partitions lie
	// within the disk and do not overlap; they need not be aligned, and names
	// need not be unique.
	Layout Layout
	// BootCode is the code in sector 0.
	BootCode [BootCodeSize]byte
	// Damage says what is wrong although the table could be read: one of its
	// two copies is damaged or misplaced, or sector 0 does not protect it.
	// It is nil when all is well.
	Damage error

	disk io.ReaderAt
}

// Open reads the partition table of a disk of size bytes. It reads a few
// dozen KiB, whatever the disk claims. An MBR with partitions of its own is
// the table, as for firmware and kernel; its partitions get the names that
// weft's have in that order. Otherwise it is a GPT, and without a sound copy
// of it Open fails with [ErrNoTable] and the reason for either copy.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	if size < 3*SectorSize || size > maxSize {
		return nil, fmt.Errorf("disk of %d bytes: %w", size, ErrNoTable)
	}
	if img, err := openMBR(r, size); err == nil {
		return img, nil
	}
	last := uint64(size/SectorSize) - 1
	primary, errPrimary := readTable(r, size, 1)
	backup, errBackup := readTable(r, size, last)
	if errPrimary == nil && primary.other != last {
		errBackup = fmt.Errorf("it is expected at sector %d, the disk ends with sector %d", primary.other, last)
	}
	img := &Image{disk: r}
	var faults []error
	switch {
	case errPrimary == nil:
		img.Layout = primary.layout
		if errBackup != nil {
			faults = append(faults, fmt.Errorf("backup table: %w", errBackup))
		} else if !primary.same(backup) {
			faults = append(faults, errors.New("backup table: it differs from the first"))
		}
	case errBackup == nil:
		img.Layout = backup.layout
		faults = append(faults, fmt.Errorf("first table: %w", errPrimary))
	default:
		return nil, fmt.Errorf("%w: first copy: %w; backup copy: %w", ErrNoTable, errPrimary, errBackup)
	}
	mbr := make([]byte, SectorSize)
	if err := readFull(r, mbr, 0); err != nil {
		return nil, fmt.Errorf("sector 0: %w", err)
	}
	copy(img.BootCode[:], mbr)
	if mbr[510] != 0x55 || mbr[511] != 0xAA || mbr[446+4] != 0xEE {
		faults = append(faults, errors.New("sector 0: no protective partition"))
	}
	img.Damage = errors.Join(faults...)
	return img, nil
}

// Whole returns a reader of the whole disk.
func (i *Image) Whole() *io.SectionReader {
	return io.NewSectionReader(i.disk, 0, i.Layout.Size)
}

// Section returns a reader of the partition called name, and whether there is
// one.
func (i *Image) Section(name string) (*io.SectionReader, bool) {
	p, ok := i.Layout.Partition(name)
	if !ok {
		return nil, false
	}
	return io.NewSectionReader(i.disk, p.Start, p.Size), true
}

// A table is one copy of the partition table.
type table struct {
	layout Layout
	other  uint64 // sector of the other copy
}

func (t table) same(u table) bool {
	if t.layout.ID != u.layout.ID || len(t.layout.Partitions) != len(u.layout.Partitions) {
		return false
	}
	for i, p := range t.layout.Partitions {
		if p != u.layout.Partitions[i] {
			return false
		}
	}
	return true
}

// Limits on the entries of a table that is read: UEFI knows no upper bounds,
// no tool goes near these.
const (
	maxEntries   = 1024
	maxEntrySize = 1024
)

// readTable reads the copy of the table at a sector [UEFI 2.10, table 5.5].
func readTable(r io.ReaderAt, size int64, at uint64) (table, error) {
	h := make([]byte, SectorSize)
	if err := readFull(r, h, int64(at)*SectorSize); err != nil {
		return table{}, err
	}
	le := binary.LittleEndian
	if string(h[:8]) != "EFI PART" {
		return table{}, fmt.Errorf("sector %d does not begin with \"EFI PART\"", at)
	}
	if rev := le.Uint32(h[8:]); rev != 0x00010000 {
		return table{}, fmt.Errorf("revision %#x is not known", rev)
	}
	n := le.Uint32(h[12:])
	if n < 92 || n > SectorSize {
		return table{}, fmt.Errorf("a header of %d bytes", n)
	}
	crc := le.Uint32(h[16:])
	le.PutUint32(h[16:], 0)
	if got := crc32.ChecksumIEEE(h[:n]); got != crc {
		return table{}, fmt.Errorf("the header's CRC-32 is %08x, should be %08x", got, crc)
	}
	if me := le.Uint64(h[24:]); me != at {
		return table{}, fmt.Errorf("it says that it is at sector %d, not %d", me, at)
	}
	t := table{other: le.Uint64(h[32:]), layout: Layout{ID: GUID(h[56:72]).swap(), Size: size}}
	first, last := le.Uint64(h[40:]), le.Uint64(h[48:])
	sectors := uint64(size / SectorSize)
	if last >= sectors && first < sectors {
		return table{}, fmt.Errorf("usable sectors %d to %d on a disk of %d; is the image cut short?", first, last, sectors)
	}
	if first > last || last >= sectors {
		return table{}, fmt.Errorf("usable sectors %d to %d on a disk of %d", first, last, sectors)
	}
	entriesAt, count, entrySize := le.Uint64(h[72:]), le.Uint32(h[80:]), le.Uint32(h[84:])
	if count > maxEntries || entrySize < tableEntrySize || entrySize > maxEntrySize || entrySize%8 != 0 {
		return table{}, fmt.Errorf("%d entries of %d bytes", count, entrySize)
	}
	if entriesAt >= sectors {
		return table{}, fmt.Errorf("entries at sector %d on a disk of %d", entriesAt, sectors)
	}
	entries := make([]byte, count*entrySize)
	if err := readFull(r, entries, int64(entriesAt)*SectorSize); err != nil {
		return table{}, fmt.Errorf("entries: %w", err)
	}
	if got, want := crc32.ChecksumIEEE(entries), le.Uint32(h[88:]); got != want {
		return table{}, fmt.Errorf("the entries' CRC-32 is %08x, should be %08x", got, want)
	}
	for i := range count {
		p, err := readEntry(entries[i*entrySize:], first, last)
		if err != nil {
			return table{}, fmt.Errorf("partition %d: %w", i+1, err)
		}
		if p.Type == (GUID{}) {
			continue
		}
		for _, q := range t.layout.Partitions {
			if overlap(p, q) {
				return table{}, fmt.Errorf("partitions %q and %q overlap", q.Name, p.Name)
			}
		}
		t.layout.Partitions = append(t.layout.Partitions, p)
	}
	return t, nil
}

// readEntry reads one entry [UEFI 2.10, table 5.6]. An unused one has no type.
func readEntry(b []byte, first, last uint64) (Partition, error) {
	p := Partition{Type: GUID(b[:16]).swap(), ID: GUID(b[16:32]).swap()}
	if p.Type == (GUID{}) {
		return p, nil
	}
	le := binary.LittleEndian
	start, end := le.Uint64(b[32:]), le.Uint64(b[40:])
	if start < first || end > last || start > end {
		return p, fmt.Errorf("sectors %d to %d; usable are %d to %d", start, end, first, last)
	}
	p.Start, p.Size = int64(start)*SectorSize, int64(end-start+1)*SectorSize
	p.Attributes = le.Uint64(b[48:])
	var name []uint16
	for i := range maxName {
		u := le.Uint16(b[56+2*i:])
		if u == 0 {
			break
		}
		name = append(name, u)
	}
	p.Name = string(utf16.Decode(name))
	return p, nil
}

// readFull reads all of b: a disk that ends within it is an error.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at byte %d: %w", len(b), off, err)
}
