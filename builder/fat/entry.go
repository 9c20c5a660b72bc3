package fat

import (
	"encoding/binary"
	"unicode/utf16"
)

// Attributes of directory entries [FAT 1.03: DIR_Attr].
const (
	attrReadOnly  = 0x01
	attrVolume    = 0x08
	attrDirectory = 0x10
	attrArchive   = 0x20
	attrLong      = 0x0f // read-only, hidden, system and volume together
	attrLongMask  = 0x3f
)

// First bytes of directory entries [FAT 1.03: DIR_Name].
const (
	entryEnd   = 0x00 // this entry and all after it are free
	entryFree  = 0xe5
	entryKanji = 0x05 // stands for 0xe5 as a character
)

// Long names [FAT 1.03: Long Directory Entries].
const (
	lastLong     = 0x40 // marks the first entry on disk, the last of the name
	unitsPerLong = 13
)

// Lower-case flags that Windows NT and Linux keep in DIR_NTRes, so that
// "readme.txt" needs no long name [linux fs/fat/fat.h: CASE_LOWER_BASE,
// CASE_LOWER_EXT].
const (
	lowerBase = 0x08
	lowerExt  = 0x10
)

// An entry is a short directory entry.
type entry struct {
	name     shortName
	attr     byte
	lower    byte
	created  stamp
	accessed uint16
	modified stamp
	cluster  uint32
	size     uint32
}

// append encodes e to b.
func (e entry) append(b []byte) []byte {
	var d [entrySize]byte
	e.put(d[:])
	return append(b, d[:]...)
}

// put encodes e [FAT 1.03: FAT Directory Structure].
func (e entry) put(d []byte) {
	copy(d[0:], e.name[:])
	d[11] = e.attr
	d[12] = e.lower
	d[13] = e.created.tenths
	binary.LittleEndian.PutUint16(d[14:], e.created.time)
	binary.LittleEndian.PutUint16(d[16:], e.created.date)
	binary.LittleEndian.PutUint16(d[18:], e.accessed)
	binary.LittleEndian.PutUint16(d[20:], uint16(e.cluster>>16))
	binary.LittleEndian.PutUint16(d[22:], e.modified.time)
	binary.LittleEndian.PutUint16(d[24:], e.modified.date)
	binary.LittleEndian.PutUint16(d[26:], uint16(e.cluster))
	binary.LittleEndian.PutUint32(d[28:], e.size)
}

// update encodes what changes when a file gets other content, and leaves the
// rest of the entry's bytes alone: FAT12 and FAT16 keep other things in the
// upper half of the cluster number.
func (e entry) update(d []byte, t Type) {
	high := binary.LittleEndian.Uint16(d[20:])
	e.put(d)
	if t != FAT32 {
		binary.LittleEndian.PutUint16(d[20:], high)
	}
}

// parseEntry decodes a short directory entry. FAT12 and FAT16 keep other
// things in the upper half of the cluster number, so it counts for FAT32 only.
func parseEntry(d []byte, t Type) entry {
	e := entry{
		attr:     d[11],
		lower:    d[12],
		created:  stamp{tenths: d[13], time: binary.LittleEndian.Uint16(d[14:]), date: binary.LittleEndian.Uint16(d[16:])},
		accessed: binary.LittleEndian.Uint16(d[18:]),
		modified: stamp{time: binary.LittleEndian.Uint16(d[22:]), date: binary.LittleEndian.Uint16(d[24:])},
		cluster:  uint32(binary.LittleEndian.Uint16(d[26:])),
		size:     binary.LittleEndian.Uint32(d[28:]),
	}
	copy(e.name[:], d)
	if t == FAT32 {
		e.cluster |= uint32(binary.LittleEndian.Uint16(d[20:])) << 16
	}
	return e
}

// longOffsets are where the 13 UTF-16 units of a long entry stand
// [FAT 1.03: LDIR_Name1, LDIR_Name2, LDIR_Name3].
var longOffsets = [unitsPerLong]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}

// longEntries is how many entries a long name takes beside its short one.
func longEntries(name string) int {
	return (len(utf16.Encode([]rune(name))) + unitsPerLong - 1) / unitsPerLong
}

// appendLong encodes the long entries of a name, which stand before its short
// entry with the last part of the name first.
func appendLong(b []byte, name string, short shortName) []byte {
	units := utf16.Encode([]rune(name))
	count := longEntries(name)
	if len(units)%unitsPerLong != 0 {
		units = append(units, 0)
	}
	for len(units) < count*unitsPerLong {
		units = append(units, 0xffff)
	}
	for n := count; n > 0; n-- {
		var d [entrySize]byte
		d[0] = byte(n)
		if n == count {
			d[0] |= lastLong
		}
		d[11] = attrLong
		d[13] = short.checksum()
		for i, at := range longOffsets {
			binary.LittleEndian.PutUint16(d[at:], units[(n-1)*unitsPerLong+i])
		}
		b = append(b, d[:]...)
	}
	return b
}
