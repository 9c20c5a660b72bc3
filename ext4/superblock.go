package ext4

import "hash/crc32"

// Features of a new file system [fs/ext4/ext4.h: EXT4_FEATURE_*]. Left out
// are features newer than Linux 4.0 and those that save nothing here.
//
// 64bit is set although no disk of weft's needs block numbers that long: only
// with its larger descriptors are the checksums of bitmaps stored in full
// (fs/ext4/bitmap.c keeps 16 bits otherwise), and cards do rot.
const (
	compat = 0x0004 | // has_journal
		0x0008 | // ext_attr
		0x0010 | // resize_inode: reserved group descriptors
		0x0020 // dir_index
	incompat = 0x0002 | // filetype
		0x0040 | // extents
		0x0080 | // 64bit
		0x0200 // flex_bg
	roCompat = 0x0001 | // sparse_super: copies in groups 1 and powers of 3, 5, 7
		0x0002 | // large_file: the resize inode's size needs it
		0x0008 | // huge_file
		0x0020 | // dir_nlink
		0x0040 | // extra_isize
		0x0400 // metadata_csum
)

// Offsets into the superblock that more than one function uses
// [fs/ext4/ext4.h: struct ext4_super_block].
const (
	superblockOffset = 1024 // into the file system
	superblockSize   = 1024
	magicAt          = 0x38
	magic            = 0xef53
	checksumAt       = 0x3fc
	checksumCRC32C   = 1 // EXT4_CRC32C_CHKSUM
)

// superblock is block 0: the boot area, empty, and the superblock.
func (f *filesystem) superblock() []byte {
	block := make(record, BlockSize)
	s := block[superblockOffset:][:superblockSize]
	s.put32(0x00, inodesPerGroup)
	s.put32(0x04, f.blocks)
	s.put32(0x08, 0) // reserved for root: everything on the partition is root's
	s.put32(0x0c, f.blocks-f.used())
	s.put32(0x10, inodesPerGroup-usedInodes)
	s.put32(0x14, 0) // first data block
	s.put32(0x18, 2) // block size, 1024 << 2
	s.put32(0x1c, 2) // cluster size, the same
	s.put32(0x20, blocksPerGroup)
	s.put32(0x24, blocksPerGroup) // clusters per group
	s.put32(0x28, inodesPerGroup)
	s.put32(0x30, f.epoch) // written
	s.put16(0x36, 0xffff)  // mounts between checks: no limit
	s.put16(magicAt, magic)
	s.put16(0x3a, stateClean)
	s.put16(0x3c, 2)       // on errors: remount read-only
	s.put32(0x40, f.epoch) // checked
	s.put32(0x4c, 1)       // revision with inode sizes and features
	s.put32(0x54, firstInode)
	s.put16(0x58, inodeSize)
	s.put32(0x5c, compat)
	s.put32(0x60, incompat)
	s.put32(0x64, roCompat)
	copy(s[0x68:], f.UUID[:])
	copy(s[0x78:], f.Label)
	s.put16(0xce, reservedBlocks)
	s.put32(0xe0, journalInode)
	copy(s[0xec:], f.HashSeed[:])
	s[0xfc] = 1 // hash of directories: half MD4
	s[0xfd] = 1 // what follows at 0x10c is a copy of the journal's inode
	s.put16(0xfe, descriptorSize)
	s.put32(0x100, 0x0004|0x0008) // mount options: user_xattr, acl
	s.put32(0x108, f.epoch)       // made
	f.journalBackup(s[0x10c:])
	s.put16(0x15c, extraSize) // every inode has at least
	s.put16(0x15e, extraSize) // new inodes should have
	s.put32(0x160, 1)         // directory hashes treat characters as signed
	s[0x174] = logGroupsFlex
	s[0x175] = checksumCRC32C
	s.put32(checksumAt, crc32c(^uint32(0), s[:checksumAt]))
	return block
}

// journalBackup is the copy of the journal inode's blocks and size, by which
// e2fsck finds the journal when the inode is lost [e2fsprogs lib/ext2fs/
// ext2_fs.h: s_jnl_blocks].
func (f *filesystem) journalBackup(b record) {
	inode := f.journalNode()
	copy(b, inode[blockMapAt:blockMapAt+blockMapSize])
	copy(b[blockMapSize:], inode[sizeHighAt:sizeHighAt+4])
	copy(b[blockMapSize+4:], inode[sizeAt:sizeAt+4])
}

// descriptor is the block with the group's descriptor [fs/ext4/ext4.h: struct
// ext4_group_desc].
func (f *filesystem) descriptor(blockBitmap, inodeBitmap []byte) []byte {
	const (
		sumAt       = 0x1e
		inodeZeroed = 0x4 // EXT4_BG_INODE_ZEROED: no need to clear the table
	)
	block := make(record, BlockSize)
	d := block[:descriptorSize]
	blockSum := crc32c(f.seed, blockBitmap)
	inodeSum := crc32c(f.seed, inodeBitmap[:inodesPerGroup/8])
	d.put32(0x00, blockBitmapAt)
	d.put32(0x04, inodeBitmapAt)
	d.put32(0x08, inodeTableAt)
	d.put16(0x0c, uint16(f.blocks-f.used())) // free
	d.put16(0x0e, inodesPerGroup-usedInodes) // free
	d.put16(0x10, 2)                         // directories
	d.put16(0x12, inodeZeroed)
	d.put16(0x18, uint16(blockSum))
	d.put16(0x1a, uint16(inodeSum))
	d.put16(0x1c, inodesPerGroup-usedInodes) // never used, at the table's end
	d.put16(0x38, uint16(blockSum>>16))
	d.put16(0x3a, uint16(inodeSum>>16))
	var group [4]byte // number 0
	sum := crc32c(crc32c(f.seed, group[:]), d)
	d.put16(sumAt, uint16(sum))
	return block
}

// castagnoli is the polynomial of all checksums here.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32c continues a checksum as the kernel does: without the inversion before
// and after that the standard library makes.
func crc32c(sum uint32, b []byte) uint32 { return ^crc32.Update(^sum, castagnoli, b) }
