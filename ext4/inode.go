package ext4

import "encoding/binary"

// Parts of an inode that more than one function uses [fs/ext4/ext4.h: struct
// ext4_inode].
const (
	sizeAt       = 0x04
	sizeHighAt   = 0x6c
	blockMapAt   = 0x28
	blockMapSize = 60
	sumLowAt     = 0x7c
	sumHighAt    = 0x82
	extraSize    = 32 // bytes of the inode in use after the first 128
	flagExtents  = 0x80000
	sectorSize   = 512 // i_blocks counts these
)

// Modes [sys/stat.h].
const (
	modeDirectory = 0o040000
	modeRegular   = 0o100000
)

// A record is little-endian data with fields at offsets.
type record []byte

func (r record) put16(at int, v uint16) { binary.LittleEndian.PutUint16(r[at:], v) }
func (r record) put32(at int, v uint32) { binary.LittleEndian.PutUint32(r[at:], v) }
func (r record) get16(at int) uint16    { return binary.LittleEndian.Uint16(r[at:]) }
func (r record) get32(at int) uint32    { return binary.LittleEndian.Uint32(r[at:]) }

// inodes is the start of the inode table, up to the last inode in use.
func (f *filesystem) inodes() []byte {
	table := make([]byte, usedInodes*inodeSize)
	for _, n := range []struct {
		number uint32
		inode  record
	}{
		{rootInode, f.directoryNode(0o755, 3, rootAt, 1)},
		{resizeInode, f.resizeNode()},
		{journalInode, f.journalNode()},
		{lostFoundInode, f.directoryNode(0o700, 2, lostFoundAt, lostFoundSize)},
	} {
		f.sign(n.inode, n.number)
		copy(table[(n.number-1)*inodeSize:], n.inode)
	}
	return table
}

// node is an inode with what all of them have. blocks counts those of the
// file and those that index it.
func (f *filesystem) node(mode uint16, links uint16, size uint64, blocks uint32) record {
	n := make(record, inodeSize)
	n.put16(0x00, mode)
	n.put32(sizeAt, uint32(size))
	for _, at := range []int{0x08, 0x0c, 0x10, 0x90} { // accessed, changed, modified, made
		n.put32(at, f.epoch)
	}
	n.put16(0x1a, links)
	n.put32(0x1c, blocks*(BlockSize/sectorSize))
	n.put32(sizeHighAt, uint32(size>>32))
	n.put16(0x80, extraSize)
	// Seconds are signed; the lowest two bits of the extra fields carry what
	// is beyond 2038 [fs/ext4/ext4.h: ext4_encode_extra_time].
	if f.epoch >= 1<<31 {
		for _, at := range []int{0x84, 0x88, 0x8c, 0x94} {
			n.put32(at, 1)
		}
	}
	return n
}

// directoryNode is the inode of a directory in one run of blocks.
func (f *filesystem) directoryNode(permissions, links uint16, block, count uint32) record {
	n := f.node(modeDirectory|permissions, links, uint64(count)*BlockSize, count)
	n.extent(block, count)
	return n
}

// journalNode is the inode of the journal.
func (f *filesystem) journalNode() record {
	n := f.node(modeRegular|0o600, 1, uint64(f.journal)*BlockSize, f.journal)
	n.extent(journalAt, f.journal)
	return n
}

// extent maps the whole file to one run of blocks, with the extent inside the
// inode [fs/ext4/ext4_extents.h]. An initialized extent has at most 32,768
// blocks, as many as the file system.
func (r record) extent(block, count uint32) {
	r.put32(0x20, flagExtents)
	m := r[blockMapAt:][:blockMapSize]
	m.put16(0, 0xf30a) // magic
	m.put16(2, 1)      // extents in use
	m.put16(4, 4)      // room for
	m.put16(6, 0)      // depth: these are leaves
	m.put32(12, 0)     // first block of the file
	m.put16(16, uint16(count))
	m.put16(18, 0) // upper bits of the block
	m.put32(20, block)
}

// resizeNode is the inode that owns the reserved group descriptors: a file
// whose double indirect block lists them, each being the list of its copies in
// other groups. As there is only one group, those lists are empty
// [fs/ext4/resize.c: add_new_gdb, verify_reserved_gdb; e2fsprogs lib/ext2fs/
// res_gdt.c: ext2fs_create_resize_inode].
func (f *filesystem) resizeNode() record {
	const (
		direct   = 12
		perBlock = BlockSize / pointerSize
		size     = (direct + perBlock + perBlock*perBlock) * BlockSize
		double   = blockMapAt + (direct+1)*pointerSize
	)
	n := f.node(modeRegular|0o600, 1, size, 1+reservedBlocks)
	n.put32(double, reservedIndexAt)
	return n
}

// reservedIndex is the resize inode's double indirect block. The block of
// descriptors number i is entry i, the one in use included in the count.
func (f *filesystem) reservedIndex() []byte {
	b := make(record, BlockSize)
	for i := range uint32(reservedBlocks) {
		b.put32(int(1+i)*pointerSize, reservedAt+i)
	}
	return b
}

// seedOf is what the checksums of an inode and its blocks start from. New
// inodes have generation 0 [fs/ext4/inode.c: __ext4_iget, i_csum_seed].
func (f *filesystem) seedOf(number uint32) uint32 {
	var b [8]byte // number and generation
	binary.LittleEndian.PutUint32(b[:], number)
	return crc32c(f.seed, b[:])
}

// sign puts the checksum into an inode [fs/ext4/inode.c: ext4_inode_csum].
func (f *filesystem) sign(inode record, number uint32) {
	sum := crc32c(f.seedOf(number), inode)
	inode.put16(sumLowAt, uint16(sum))
	inode.put16(sumHighAt, uint16(sum>>16))
}
