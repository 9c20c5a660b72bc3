package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// Limits of a GPT that is taken for one. UEFI 2.10 section 5.3 asks for at
// least 16 KiB of entries of 128 << n bytes; both bounds are far above what
// any tool writes.
const (
	minHeader    = 92
	entrySize    = 128
	maxEntry     = 4096
	maxEntries   = 1024
	gptSignature = "EFI PART"
)

// ErrNotGPT says that there is no sound GPT where one was looked for.
var ErrNotGPT = errors.New("no sound GPT")

// A Disk is the room a table is read from and written to.
type Disk struct {
	// Sectors and SectorSize are the disk's own.
	Sectors    uint64
	SectorSize int
}

// A Table is one copy of a GPT.
type Table struct {
	// header is the header's sector, entries all entries, as they are on
	// disk: what is not understood is kept.
	header, entries []byte
}

// Fields of a header by offset (UEFI 2.10 table 5.5).
const (
	offHeaderSize  = 12
	offHeaderCRC   = 16
	offMyLBA       = 24
	offAlternate   = 32
	offFirstUsable = 40
	offLastUsable  = 48
	offEntriesLBA  = 72
	offEntryCount  = 80
	offEntrySize   = 84
	offEntriesCRC  = 88
)

func (t Table) u64(off int) uint64 { return binary.LittleEndian.Uint64(t.header[off:]) }
func (t Table) u32(off int) uint32 { return binary.LittleEndian.Uint32(t.header[off:]) }

// Entry is one partition of a table (UEFI 2.10 table 5.6).
type Entry struct {
	// ID is the unique partition GUID, as in PARTUUID, and Type the GUID of
	// what it is for; both in lower case.
	ID, Type string
	// First and Last are the partition's sectors, both inclusive.
	First, Last uint64
}

// Count is the number of entries, used or not.
func (t Table) Count() int { return int(t.u32(offEntryCount)) }

// Entry returns entry i, from 0; ok is false when it is not used.
func (t Table) Entry(i int) (e Entry, ok bool) {
	raw := t.raw(i)
	if allZero(raw[:16]) { // the type GUID
		return Entry{}, false
	}
	return Entry{
		ID:    guid(raw[16:32]),
		Type:  guid(raw[:16]),
		First: binary.LittleEndian.Uint64(raw[32:]),
		Last:  binary.LittleEndian.Uint64(raw[40:]),
	}, true
}

func (t Table) raw(i int) []byte {
	size := int(t.u32(offEntrySize))
	return t.entries[i*size : (i+1)*size]
}

// entriesSectors is the number of sectors the entries take.
func (t Table) entriesSectors(sectorSize int) uint64 {
	return uint64((len(t.entries) + sectorSize - 1) / sectorSize)
}

// ReadTable reads and checks the copy of the GPT whose header is at lba.
func ReadTable(r io.ReaderAt, d Disk, lba uint64) (Table, error) {
	if d.SectorSize < 512 || d.SectorSize > 1<<16 || lba == 0 || lba >= d.Sectors {
		return Table{}, fmt.Errorf("%w: header at sector %d of %d (sector size %d)", ErrNotGPT, lba, d.Sectors, d.SectorSize)
	}
	t := Table{header: make([]byte, d.SectorSize)}
	if _, err := r.ReadAt(t.header, int64(lba)*int64(d.SectorSize)); err != nil {
		return Table{}, fmt.Errorf("GPT header at sector %d: %w", lba, err)
	}
	if err := t.checkHeader(d, lba); err != nil {
		return Table{}, fmt.Errorf("%w at sector %d: %w", ErrNotGPT, lba, err)
	}
	t.entries = make([]byte, t.u32(offEntryCount)*t.u32(offEntrySize))
	if _, err := r.ReadAt(t.entries, int64(t.u64(offEntriesLBA))*int64(d.SectorSize)); err != nil {
		return Table{}, fmt.Errorf("GPT entries of the header at sector %d: %w", lba, err)
	}
	if crc32.ChecksumIEEE(t.entries) != t.u32(offEntriesCRC) {
		return Table{}, fmt.Errorf("%w at sector %d: the checksum of its entries is wrong", ErrNotGPT, lba)
	}
	return t, nil
}

// checkHeader checks a header as UEFI 2.10 section 5.3.2 asks, and that its
// sizes can be trusted.
func (t Table) checkHeader(d Disk, lba uint64) error {
	size := t.u32(offHeaderSize)
	count, each := uint64(t.u32(offEntryCount)), uint64(t.u32(offEntrySize))
	switch {
	case string(t.header[:8]) != gptSignature:
		return errors.New("no signature")
	case size < minHeader || int(size) > d.SectorSize:
		return fmt.Errorf("header size %d", size)
	case headerCRC(t.header[:size]) != t.u32(offHeaderCRC):
		return errors.New("wrong header checksum")
	case t.u64(offMyLBA) != lba:
		return fmt.Errorf("it says it is at sector %d", t.u64(offMyLBA))
	case each < entrySize || each > maxEntry || each&(each-1) != 0 || count == 0 || count > maxEntries:
		return fmt.Errorf("%d entries of %d bytes", count, each)
	}
	sectors := (count*each + uint64(d.SectorSize) - 1) / uint64(d.SectorSize)
	at := t.u64(offEntriesLBA)
	if at < 2 || at >= d.Sectors || d.Sectors-at < sectors {
		return fmt.Errorf("entries at sector %d", at)
	}
	if t.u64(offFirstUsable) > t.u64(offLastUsable) || t.u64(offLastUsable) >= d.Sectors {
		return fmt.Errorf("usable sectors %d to %d", t.u64(offFirstUsable), t.u64(offLastUsable))
	}
	return nil
}

// headerCRC is the checksum of a header, its own field taken as zero.
func headerCRC(header []byte) uint32 {
	h := append([]byte(nil), header...)
	clear(h[offHeaderCRC : offHeaderCRC+4])
	return crc32.ChecksumIEEE(h)
}

// guid prints a GUID as it is stored: three little-endian fields, then bytes
// (UEFI 2.10 appendix A).
func guid(b []byte) string {
	return strings.ToLower(fmt.Sprintf("%08x-%04x-%04x-%x-%x",
		binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16]))
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// BIOSBoot is the partition type that BIOS boot loaders live in.
const BIOSBoot = "21686148-6449-6e6f-744e-656564454649"

// FindType returns the number, from 1, of the first partition of a type.
func FindType(t Table, typeID string) (int, bool) {
	for i := range t.Count() {
		if e, ok := t.Entry(i); ok && e.Type == typeID {
			return i + 1, true
		}
	}
	return 0, false
}
