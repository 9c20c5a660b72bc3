package fat

import "encoding/binary"

// end is the mark of the last cluster of a chain [FAT 1.03: EOC].
func (g geometry) end() uint32 { return uint32(1)<<g.bits() - 1 }

// endFrom is the lowest value that ends a chain.
func (g geometry) endFrom() uint32 { return g.end() - 7 }

// bits is how many bits of an entry count: the upper four of FAT32 are
// reserved [FAT 1.03: FAT Data Structure].
func (g geometry) bits() int {
	if g.typ == FAT32 {
		return 28
	}
	return int(g.typ)
}

// entryAt is the offset in the table of the entry of a cluster, and how many
// bytes hold it.
func (g geometry) entryAt(cluster uint32) (offset int64, size int) {
	switch g.typ {
	case FAT12:
		return int64(cluster) * 3 / 2, 2
	case FAT16:
		return int64(cluster) * 2, 2
	default:
		return int64(cluster) * 4, 4
	}
}

// decode reads the entry of a cluster from the bytes that hold it.
func (g geometry) decode(b []byte, cluster uint32) uint32 {
	switch {
	case g.typ == FAT32:
		return binary.LittleEndian.Uint32(b) & g.end()
	case g.typ == FAT12 && cluster%2 == 1:
		return uint32(binary.LittleEndian.Uint16(b) >> 4)
	default:
		return uint32(binary.LittleEndian.Uint16(b)) & g.end()
	}
}

// encodeEntry changes the entry of a cluster in the bytes that hold it, and
// keeps the bits that belong to others.
func (g geometry) encodeEntry(b []byte, cluster, value uint32) {
	switch {
	case g.typ == FAT32:
		binary.LittleEndian.PutUint32(b, binary.LittleEndian.Uint32(b)&^g.end()|value)
	case g.typ == FAT12 && cluster%2 == 1:
		binary.LittleEndian.PutUint16(b, binary.LittleEndian.Uint16(b)&0x000f|uint16(value<<4))
	case g.typ == FAT12:
		binary.LittleEndian.PutUint16(b, binary.LittleEndian.Uint16(b)&0xf000|uint16(value))
	default:
		binary.LittleEndian.PutUint16(b, uint16(value))
	}
}

// setEntry changes the entry of a cluster in a table.
func (g geometry) setEntry(table []byte, cluster, value uint32) {
	at, size := g.entryAt(cluster)
	if int(at)+size <= len(table) {
		g.encodeEntry(table[at:], cluster, value)
		return
	}
	// The last entry of a FAT12 table that ends in the middle of a byte pair.
	var pair [2]byte
	copy(pair[:], table[at:])
	g.encodeEntry(pair[:], cluster, value)
	copy(table[at:], pair[:])
}
