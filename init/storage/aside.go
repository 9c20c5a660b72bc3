package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// AsideName is the name of a partition that was set aside.
	AsideName = "weft-damaged"
	// minAside is the least a data partition must have for a part of it to be
	// set aside, in bytes. Below that the node needs the room itself: K3s
	// alone takes more than 1 GiB.
	minAside = 4 << 30
	// The new data partition gets the last quarter. Superblock, descriptors,
	// journal and most of the content of the old one are before it.
	asideParts, asideKept = 4, 3
	// nameAt and nameUnits place the name in an entry, UTF-16 (UEFI 2.10
	// table 5.6).
	nameAt, nameUnits = 56, 36
)

// ErrNoRoom says that a damaged partition cannot be set aside.
var ErrNoRoom = errors.New("no room to keep the damaged content")

// An Aside is what has to be written to set a damaged data partition aside:
// its first three quarters become a partition of their own, called
// [AsideName], and it begins anew behind them under its old id and number.
type Aside struct {
	Growth
	// Number is that of the partition set aside, from 1; KeptFirst and
	// KeptLast its sectors.
	Number              int
	KeptFirst, KeptLast uint64
}

// PlanAside plans to set the partition called id aside, on a disk with a GPT;
// unique is the new partition's GUID as stored. It fails with [ErrNoRoom] when
// the partition is small, when one was set aside before (the disk goes on
// failing, and a node must not shrink for ever), or when the table is full. An
// MBR has room for four partitions, all in use, so nothing is set aside there.
func PlanAside(r io.ReaderAt, d Disk, id string, unique [16]byte) (Aside, error) {
	if IsMBR(id) {
		return Aside{}, fmt.Errorf("%w: an MBR has no free entry", ErrNoRoom)
	}
	t, err := ReadTable(r, d, 1)
	if err != nil {
		return Aside{}, err // growing repairs the table at the next boot
	}
	i, e, err := t.last(id)
	if err != nil {
		return Aside{}, err
	}
	lastUsable := d.Sectors - 2 - t.entriesSectors(d.SectorSize)
	size := (e.Last - e.First + 1) * uint64(d.SectorSize)
	free := -1
	for n := range t.Count() {
		if _, used := t.Entry(n); !used && free < 0 {
			free = n
		} else if used && t.name(n) == AsideName {
			return Aside{}, fmt.Errorf("%w: partition %d was set aside before", ErrNoRoom, n+1)
		}
	}
	switch {
	case e.Last > lastUsable || e.Last-e.First > math.MaxInt64/uint64(d.SectorSize):
		return Aside{}, fmt.Errorf("partition %s does not fit its disk", id)
	case size < minAside:
		return Aside{}, fmt.Errorf("%w: the partition has %d MiB, less than %d", ErrNoRoom, size>>20, int64(minAside)>>20)
	case free < 0:
		return Aside{}, fmt.Errorf("%w: the partition table is full", ErrNoRoom)
	}
	unit := uint64(alignment / d.SectorSize)
	begin := (e.First + (e.Last-e.First+1)/asideParts*asideKept) / unit * unit
	entries := bytes.Clone(t.entries)
	each := int(t.u32(offEntrySize))
	kept := entries[free*each : (free+1)*each]
	copy(kept, t.raw(i))
	copy(kept[16:32], unique[:])
	binary.LittleEndian.PutUint64(kept[40:], begin-1)
	setName(kept, AsideName)
	binary.LittleEndian.PutUint64(entries[i*each+32:], begin)
	mbr := make([]byte, d.SectorSize)
	if _, err := r.ReadAt(mbr, 0); err != nil {
		return Aside{}, fmt.Errorf("protective MBR: %w", err)
	}
	a := Aside{Number: free + 1, KeptFirst: e.First, KeptLast: begin - 1}
	a.First, a.Last, a.Why = begin, e.Last, "the data partition is set aside"
	a.writeEntries(t, d, entries, lastUsable, mbr)
	return a, nil
}

// name is the name of entry i.
func (t Table) name(i int) string {
	raw := t.raw(i)
	var units []uint16
	for n := range nameUnits {
		u := binary.LittleEndian.Uint16(raw[nameAt+2*n:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// setName gives an entry a name.
func setName(entry []byte, name string) {
	clear(entry[nameAt : nameAt+2*nameUnits])
	for n, u := range utf16.Encode([]rune(name)) {
		binary.LittleEndian.PutUint16(entry[nameAt+2*n:], u)
	}
}

// SetAside sets a damaged data partition aside, on the disk and in the kernel,
// and returns the new one's size in bytes and the device that holds the old
// content. The partition must not be in use. unique is a new random GUID.
//
// The kernel is told last: when the plug is pulled before, the node finds
// either the old table, and tries again, or the new one.
func SetAside(p Partition, unique [16]byte) (size int64, kept string, err error) {
	disk, err := os.OpenFile(p.DiskDevice(), os.O_RDWR, 0)
	if err != nil {
		return 0, "", fmt.Errorf("set %s aside: %w", p.Name, err)
	}
	defer disk.Close()
	geometry, err := Geometry(disk)
	if err != nil {
		return 0, "", fmt.Errorf("set %s aside: %w", p.Name, err)
	}
	a, err := PlanAside(disk, geometry, p.ID, unique)
	if err != nil {
		return 0, "", fmt.Errorf("set %s aside: %w", p.Name, err)
	}
	if err := a.Apply(disk); err != nil {
		return 0, "", fmt.Errorf("set %s aside: %w", p.Name, err)
	}
	sector := int64(geometry.SectorSize)
	size = int64(a.Last-a.First+1) * sector
	for _, step := range []struct {
		op            int32
		number        int
		start, length int64
	}{
		{unix.BLKPG_DEL_PARTITION, p.Number, 0, 0},
		{unix.BLKPG_ADD_PARTITION, p.Number, int64(a.First) * sector, size},
		{unix.BLKPG_ADD_PARTITION, a.Number, int64(a.KeptFirst) * sector, int64(a.KeptLast-a.KeptFirst+1) * sector},
	} {
		if err := blkpg(disk, step.op, step.number, step.start, step.length); err != nil {
			return 0, "", fmt.Errorf("set %s aside: tell the kernel: %w; it counts from the next boot", p.Name, err)
		}
	}
	return size, partitionName(p.Disk, a.Number), nil
}

// partitionName is the kernel's name of a partition (block/partitions/core.c:
// a p stands before the number where the disk's name ends in a digit).
func partitionName(disk string, number int) string {
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		return fmt.Sprintf("%sp%d", disk, number)
	}
	return fmt.Sprintf("%s%d", disk, number)
}

// blkpg tells the kernel of one partition [include/uapi/linux/blkpg.h]; start
// and length are in bytes.
func blkpg(disk *os.File, op int32, number int, start, length int64) error {
	part := unix.BlkpgPartition{Start: start, Length: length, Pno: int32(number)}
	arg := unix.BlkpgIoctlArg{Op: op, Datalen: int32(unsafe.Sizeof(part)), Data: (*byte)(unsafe.Pointer(&part))}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, disk.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg))); errno != 0 {
		return errno
	}
	return nil
}
