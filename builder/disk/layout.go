// Package disk makes disk images: the partition table, and a sparse file whose
// partitions are filled by others. It reads such images too.
//
// A [Layout] is computed from sizes alone, before a byte is written. [Write]
// turns it into a file; what a partition holds is the business of the
// [Producer] that fills it. [Open] reads an image of unknown origin and
// trusts nothing in it.
//
// The table is a GUID Partition Table with a protective MBR [UEFI 2.10,
// chapter 5], or for the Raspberry Pi an MBR alone, never both; disks have
// 512-byte sectors. The package knows no file system and changes no existing
// disk.
package disk

import (
	"errors"
	"fmt"
	"unicode/utf16"
)

const (
	// SectorSize is the size of a logical sector.
	SectorSize = 512
	// Alignment is what partitions begin and end at: no disk has larger
	// physical sectors or erase blocks that 1 MiB does not fit.
	Alignment = 1 << 20
	// BootCodeSize is how much of sector 0 belongs to a BIOS boot loader.
	BootCodeSize = 440

	// tableEntries and tableEntrySize are what every tool writes, and the
	// least that UEFI asks for: 16 KiB of entries [UEFI 2.10, section 5.3.1].
	tableEntries   = 128
	tableEntrySize = 128
	tableSectors   = tableEntries * tableEntrySize / SectorSize

	// maxSize bounds an image, far above any disk, so that no sum of sizes
	// overflows.
	maxSize = 1 << 50
)

// Attributes of a partition [UAPI.2, "Partition Flags"]. Linux systems that
// look for partitions by type read them; weft's own init goes by PARTUUID.
const (
	// AttributeReadOnly says to mount the partition read-only.
	AttributeReadOnly uint64 = 1 << 60
	// AttributeNoAuto says not to mount the partition unasked.
	AttributeNoAuto uint64 = 1 << 63
)

// A Partition is one entry of the table.
type Partition struct {
	// Name is unique on the disk and at most 36 characters.
	Name string
	// Type says what the partition is for, ID which one it is: its PARTUUID.
	// On an MBR both are zero.
	Type, ID GUID
	// Attributes are the Attribute bits.
	Attributes uint64
	// Kind says what the partition of an MBR is for; 0 on a GPT.
	Kind uint8
	// Number is the partition's place in the table of an MBR that was read,
	// from 1; 0 on a GPT and in layouts to be written, whose places are their
	// order.
	Number int
	// Start and Size are in bytes.
	Start, Size int64
}

// LBA returns the partition's first sector.
func (p Partition) LBA() uint64 { return uint64(p.Start) / SectorSize }

// A Layout is a partition table, as a value.
type Layout struct {
	// Table is the kind of the table.
	Table TableKind
	// ID is the GUID of a disk with a GPT, Signature what names one with an
	// MBR.
	ID        GUID
	Signature uint32
	// Size is the size of the whole image, in bytes.
	Size int64
	// Partitions are in the order of the table.
	Partitions []Partition
}

// Partition returns the partition called name, and whether there is one.
func (l Layout) Partition(name string) (Partition, bool) {
	for _, p := range l.Partitions {
		if p.Name == name {
			return p, true
		}
	}
	return Partition{}, false
}

// DiskID names the disk, as the kernel and tools print it.
func (l Layout) DiskID() string {
	if l.Table == MBR {
		return fmt.Sprintf("%08x", l.Signature)
	}
	return l.ID.String()
}

// PartUUID is the PARTUUID of a partition of the layout: a GUID, or on an MBR
// the signature and the number (linux block/partitions/msdos.c,
// set_info).
func (l Layout) PartUUID(p Partition) string {
	if l.Table != MBR {
		return p.ID.String()
	}
	number := p.Number
	for i, q := range l.Partitions {
		if number == 0 && q.Name == p.Name {
			number = i + 1
		}
	}
	return fmt.Sprintf("%08x-%02x", l.Signature, number)
}

// TypeName is the type of a partition of the layout.
func (l Layout) TypeName(p Partition) string {
	if l.Table == MBR {
		return fmt.Sprintf("%#02x", p.Kind)
	}
	return p.Type.String()
}

// usable returns the bytes that the table leaves: those between its two
// copies, or behind the one sector of an MBR.
func (l Layout) usable() (start, end int64) {
	if l.Table == MBR {
		return SectorSize, l.Size
	}
	return (2 + tableSectors) * SectorSize, l.Size - (1+tableSectors)*SectorSize
}

// first is where the first partition begins.
func (l Layout) first() int64 {
	_, end := l.usable()
	for _, p := range l.Partitions {
		end = min(end, p.Start)
	}
	return end
}

// Check returns everything that is wrong with a layout to be written:
// partitions that overlap, leave the disk, are not aligned, or cannot be told
// apart. It returns nil when the layout is sound.
func (l Layout) Check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if l.Size <= 0 || l.Size > maxSize || l.Size%Alignment != 0 {
		fault("disk of %d bytes: want whole MiB, at most %d", l.Size, int64(maxSize))
		return errors.Join(faults...)
	}
	if l.Table == MBR {
		faults = append(faults, l.checkMBR()...)
	} else {
		faults = append(faults, l.checkGPT()...)
	}
	start, end := l.usable()
	for i, p := range l.Partitions {
		if p.Start%Alignment != 0 || p.Size%Alignment != 0 {
			fault("partition %q begins at byte %d and has %d: want whole MiB", p.Name, p.Start, p.Size)
		}
		// Size is compared by subtraction: a sum could overflow.
		if p.Start < start || p.Size <= 0 || p.Start > end || p.Size > end-p.Start {
			fault("partition %q, %d bytes at byte %d, does not fit between the tables, bytes %d to %d", p.Name, p.Size, p.Start, start, end)
			continue
		}
		for _, q := range l.Partitions[:i] {
			if overlap(p, q) {
				fault("partitions %q and %q overlap", q.Name, p.Name)
			}
			if p.Name == q.Name {
				fault("two partitions are called %q", p.Name)
			}
			if p.ID == q.ID && l.Table == GPT {
				fault("partitions %q and %q have the same GUID", q.Name, p.Name)
			}
		}
	}
	return errors.Join(faults...)
}

// checkGPT returns what is wrong with a layout as a GPT alone.
func (l Layout) checkGPT() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if l.ID == (GUID{}) {
		fault("the disk has no GUID")
	}
	if len(l.Partitions) > tableEntries {
		fault("%d partitions: the table holds %d", len(l.Partitions), tableEntries)
	}
	for i, p := range l.Partitions {
		switch {
		case p.Name == "":
			fault("partition %d has no name", i+1)
		case len(utf16.Encode([]rune(p.Name))) > maxName:
			fault("partition %q: the name is longer than %d characters", p.Name, maxName)
		}
		if p.Type == (GUID{}) || p.ID == (GUID{}) {
			fault("partition %q has no type or no GUID", p.Name)
		}
	}
	return faults
}

// overlap reports whether two partitions share a byte. It cannot overflow for
// partitions that fit a disk.
func overlap(p, q Partition) bool {
	return p.Start < q.Start+q.Size && q.Start < p.Start+p.Size
}

// maxName is the most UTF-16 units a partition's name has [UEFI 2.10, table 5.6].
const maxName = 36
