package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// A TableKind is the kind of a partition table.
type TableKind uint8

// The kinds of partition table.
const (
	// GPT is a GUID Partition Table.
	GPT TableKind = iota
	// MBR is the table of a master boot record, with up to four partitions,
	// for the Raspberry Pi: the boot ROM of those up to 3 reads nothing else.
	MBR
)

// String is the kind's name, as people write it.
func (k TableKind) String() string {
	if k == MBR {
		return "MBR"
	}
	return "GPT"
}

// Types of partitions of an MBR that weft writes.
const (
	// KindFAT32 is FAT32 addressed by sector. The boot ROM of a Raspberry Pi 3
	// takes 0x0b, 0x0c and 0x0e, and not 0xef (github.com/raspberrypi/firmware
	// issue 1711).
	KindFAT32 = 0x0c
	// KindLinux is any file system of Linux.
	KindLinux = 0x83

	// kindProtective says that the disk has a GPT [UEFI 2.10, table 5.2].
	kindProtective = 0xee
)

// CardAlignment is what the partitions of an MBR begin and end at: no SD card
// has larger allocation units that matter (SD Physical Layer Specification,
// 4.13.1, "Allocation Unit").
const CardAlignment = 4 << 20

// The MBR [UEFI 2.10, tables 5.1 and 5.2].
const (
	mbrSignatureAt = 440
	mbrTableAt     = 446
	mbrEntrySize   = 16
	mbrEntries     = 4
)

// mbrNames are the partitions of weft in the order of the table, which has no
// names itself.
var mbrNames = [mbrEntries]string{Boot, RootA, RootB, Data}

// PlanMBR lays out a weft disk with an MBR: boot, root A, root B, data, each
// aligned to [CardAlignment]. The disk's signature is derived from the GUID of
// the disk; with a partition's number it is the PARTUUID.
func PlanMBR(ids IDs, sizes Sizes) (Layout, error) {
	l := Layout{Table: MBR, Signature: signature(ids.Disk), Size: CardAlignment}
	for i, size := range []int64{sizes.Boot, sizes.Root, sizes.Root, sizes.Data} {
		if size <= 0 || size%Alignment != 0 || size > maxSize/8 {
			return Layout{}, fmt.Errorf("disk: partition %s of %d bytes: want whole MiB, at least one", mbrNames[i], size)
		}
		p := Partition{Name: mbrNames[i], Kind: KindLinux, Start: l.Size, Size: size}
		if p.Name == Boot {
			p.Kind = KindFAT32
		}
		l.Size += (size + CardAlignment - 1) / CardAlignment * CardAlignment
		l.Partitions = append(l.Partitions, p)
	}
	if err := l.Check(); err != nil {
		return Layout{}, fmt.Errorf("disk: %w", err)
	}
	return l, nil
}

// signature is a disk's signature. 0 would be none.
func signature(id GUID) uint32 {
	if s := binary.BigEndian.Uint32(id[:]); s != 0 {
		return s
	}
	return 1
}

// checkMBR returns what is wrong with a layout as an MBR alone.
func (l Layout) checkMBR() []error {
	var faults []error
	if l.Signature == 0 {
		faults = append(faults, errors.New("the disk has no signature"))
	}
	if len(l.Partitions) > mbrEntries {
		faults = append(faults, fmt.Errorf("%d partitions: the table holds %d", len(l.Partitions), mbrEntries))
	}
	for i, p := range l.Partitions {
		if i < mbrEntries && p.Name != mbrNames[i] {
			faults = append(faults, fmt.Errorf("partition %d is called %q: an MBR has no names, and weft's is %s", i+1, p.Name, mbrNames[i]))
		}
		if p.Kind == 0 || p.Kind == kindProtective {
			faults = append(faults, fmt.Errorf("partition %q has type %#02x", p.Name, p.Kind))
		}
		if p.Start%CardAlignment != 0 {
			faults = append(faults, fmt.Errorf("partition %q begins at byte %d: want a multiple of %d MiB", p.Name, p.Start, CardAlignment>>20))
		}
		if p.LBA() > math.MaxUint32 || p.Size/SectorSize > math.MaxUint32 {
			faults = append(faults, fmt.Errorf("partition %q: an MBR ends at 2 TiB", p.Name))
		}
	}
	return faults
}

// mbr returns the first sector.
func (l Layout) mbr(bootCode []byte) []byte {
	sector := make([]byte, SectorSize)
	copy(sector, bootCode)
	binary.LittleEndian.PutUint32(sector[mbrSignatureAt:], l.Signature)
	for i, p := range l.Partitions {
		e := sector[mbrTableAt+i*mbrEntrySize:][:mbrEntrySize]
		// Cylinder, head and sector: "beyond what can be said", as every tool
		// writes when it goes by sector numbers.
		copy(e, []byte{0, 0xfe, 0xff, 0xff, p.Kind, 0xfe, 0xff, 0xff})
		binary.LittleEndian.PutUint32(e[8:], uint32(p.LBA()))
		binary.LittleEndian.PutUint32(e[12:], uint32(p.Size/SectorSize))
	}
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

// errNotMBR says that sector 0 is no MBR, or only protects a GPT.
var errNotMBR = errors.New("no MBR with partitions of its own")

// openMBR reads the MBR of a disk of size bytes. Extended partitions are
// taken for what they are, one partition each.
func openMBR(r io.ReaderAt, size int64) (*Image, error) {
	sector := make([]byte, SectorSize)
	if err := readFull(r, sector, 0); err != nil {
		return nil, err
	}
	if sector[510] != 0x55 || sector[511] != 0xaa {
		return nil, errNotMBR
	}
	l := Layout{Table: MBR, Size: size, Signature: binary.LittleEndian.Uint32(sector[mbrSignatureAt:])}
	var faults []error
	for i := range mbrEntries {
		e := sector[mbrTableAt+i*mbrEntrySize:][:mbrEntrySize]
		p := Partition{Name: mbrNames[i], Kind: e[4], Number: i + 1}
		if p.Kind == kindProtective {
			return nil, errNotMBR
		}
		p.Start = int64(binary.LittleEndian.Uint32(e[8:])) * SectorSize
		p.Size = int64(binary.LittleEndian.Uint32(e[12:])) * SectorSize
		if p.Kind == 0 || p.Size == 0 {
			continue
		}
		if e[0]&0x7f != 0 || p.Start == 0 {
			return nil, errNotMBR
		}
		if p.Start > size || p.Size > size-p.Start {
			faults = append(faults, fmt.Errorf("partition %d ends at byte %d of a disk of %d; is the image cut short?", i+1, p.Start+p.Size, size))
			continue
		}
		for _, q := range l.Partitions {
			if overlap(p, q) {
				return nil, fmt.Errorf("partitions %d and %d overlap", q.Number, p.Number)
			}
		}
		l.Partitions = append(l.Partitions, p)
	}
	if l.Signature == 0 || len(l.Partitions)+len(faults) == 0 {
		return nil, errNotMBR
	}
	img := &Image{Layout: l, Damage: errors.Join(faults...), disk: r}
	copy(img.BootCode[:], sector)
	return img, nil
}
