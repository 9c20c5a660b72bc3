package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// The MBR's layout (UEFI 2.10 table 5.1 and 5.2).
const (
	mbrSignatureAt = 440
	mbrTableAt     = 446
	mbrEntrySize   = 16
	mbrEntries     = 4
	mbrTypeAt      = 4
	mbrStartAt     = 8
	mbrSizeAt      = 12
	mbrProtective  = 0xee
)

// ErrHybrid says that a disk has both an MBR of its own and a GPT, or pieces
// of one. weft makes no such disks, and changing one table of two would have
// them disagree.
var ErrHybrid = errors.New("the disk has two kinds of partition table")

// IsMBR reports whether a PARTUUID is that of a partition of an MBR: the
// disk's signature and the partition's number.
func IsMBR(id string) bool {
	if len(id) != 11 || id[8] != '-' {
		return false
	}
	return strings.Trim(strings.ToLower(id[:8]+id[9:]), "0123456789abcdef") == ""
}

// PlanMBRGrowth plans the growth of the partition called id, of a disk with an
// MBR, as [PlanGrowth] does. There is one copy of the table, in one sector, so
// it is written at once or not at all.
func PlanMBRGrowth(r io.ReaderAt, d Disk, id string) (Growth, error) {
	sector := make([]byte, d.SectorSize)
	if _, err := r.ReadAt(sector, 0); err != nil {
		return Growth{}, fmt.Errorf("partition table: %w", err)
	}
	n, err := findMBR(sector, id)
	if err != nil {
		return Growth{}, err
	}
	// A GPT left over from the disk's earlier life is not looked at by
	// firmware and kernel as long as no entry of the MBR is protective.
	e := mbrEntry(sector, n)
	first, size := uint64(binary.LittleEndian.Uint32(e[mbrStartAt:])), uint64(binary.LittleEndian.Uint32(e[mbrSizeAt:]))
	if first == 0 || size == 0 {
		return Growth{}, fmt.Errorf("partition %s starts at sector %d and has %d", id, first, size)
	}
	if first+size > d.Sectors {
		return Growth{}, fmt.Errorf("partition %s ends at sector %d, beyond the last sector %d of its disk: the disk is smaller than the one it was written for", id, first+size-1, d.Sectors-1)
	}
	for i := range mbrEntries {
		other := mbrEntry(sector, i)
		start, length := uint64(binary.LittleEndian.Uint32(other[mbrStartAt:])), uint64(binary.LittleEndian.Uint32(other[mbrSizeAt:]))
		if i != n && other[mbrTypeAt] != 0 && start+length > first {
			return Growth{}, fmt.Errorf("partition %s cannot grow: partition %d lies behind it", id, i+1)
		}
	}
	g := Growth{First: first, Last: first + size - 1}
	unit := uint64(alignment / d.SectorSize)
	// Both fields of an entry have 32 bits: 2 TiB with sectors of 512 bytes.
	end := min(d.Sectors, math.MaxUint32, first+math.MaxUint32) / unit * unit
	if end <= first+size {
		return g, nil
	}
	g.Grown, g.Last = end-first-size, end-1
	g.Why = "the partition ends before its disk does"
	changed := bytes.Clone(sector)
	e = mbrEntry(changed, n)
	binary.LittleEndian.PutUint32(e[mbrSizeAt:], uint32(end-first))
	// Cylinder, head and sector of the end: "beyond what can be said", as
	// every tool writes for disks over 8 GB.
	copy(e[5:8], []byte{0xfe, 0xff, 0xff})
	g.Primary = []Write{{0, changed}}
	return g, nil
}

// findMBR finds the entry of a partition, from 0.
func findMBR(sector []byte, id string) (int, error) {
	if !IsMBR(id) {
		return 0, fmt.Errorf("%.60q is no partition of an MBR", id)
	}
	if sector[510] != 0x55 || sector[511] != 0xaa {
		return 0, errors.New("the disk has no MBR")
	}
	if signature := fmt.Sprintf("%08x", binary.LittleEndian.Uint32(sector[mbrSignatureAt:])); signature != strings.ToLower(id[:8]) {
		return 0, fmt.Errorf("the disk's signature is %s, not that of partition %s", signature, id)
	}
	found := -1
	for i := range mbrEntries {
		kind := mbrEntry(sector, i)[mbrTypeAt]
		if kind == mbrProtective {
			return 0, fmt.Errorf("partition %d of the MBR protects a GPT: %w", i+1, ErrHybrid)
		}
		if kind != 0 && fmt.Sprintf("%02x", i+1) == strings.ToLower(id[9:]) {
			found = i
		}
	}
	if found < 0 {
		return 0, fmt.Errorf("the partition table has no partition %s", id)
	}
	return found, nil
}

// mbrEntry is entry i, from 0.
func mbrEntry(sector []byte, i int) []byte {
	return sector[mbrTableAt+i*mbrEntrySize:][:mbrEntrySize]
}
