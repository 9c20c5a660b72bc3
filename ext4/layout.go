package ext4

import "io"

// The one group's layout, in blocks:
//
//	0          boot area and superblock
//	1          group descriptors
//	2..257     reserved group descriptors
//	258        block bitmap
//	259        inode bitmap
//	260..771   inode table
//	772        root directory
//	773..776   lost+found
//	777        index of the reserved group descriptors
//	778..      journal
//
// Growing uses the reserved group descriptors: as the file system grows, they
// become group descriptors, which then stay next to each other at the front
// [fs/ext4/resize.c: add_new_gdb]. It is the way mke2fs prepares every small
// file system, so the one most used. 256 blocks of 64 descriptors of 128 MiB
// each reach 2 TiB; beyond, the kernel turns to meta_bg by itself
// [fs/ext4/resize.c: ext4_resize_fs, ext4_convert_meta_bg]. Setting meta_bg
// from the start would spread descriptors over the disk for nothing, and the
// two cannot be had together (same function).
const (
	blocksPerGroup  = 8 * BlockSize
	inodesPerGroup  = 8192 // one for 16 KiB, as mke2fs: 2 million on 32 GiB
	inodeSize       = 256
	descriptorSize  = 64
	reservedBlocks  = 256 // for group descriptors
	inodeTableSize  = inodesPerGroup * inodeSize / BlockSize
	lostFoundSize   = 4 // blocks, so that a repair seldom has to allocate
	pointerSize     = 4
	logGroupsFlex   = 4 // inode tables of 16 groups together, as mke2fs
	descriptorsAt   = 1
	reservedAt      = descriptorsAt + 1
	blockBitmapAt   = reservedAt + reservedBlocks
	inodeBitmapAt   = blockBitmapAt + 1
	inodeTableAt    = inodeBitmapAt + 1
	rootAt          = inodeTableAt + inodeTableSize
	lostFoundAt     = rootAt + 1
	reservedIndexAt = lostFoundAt + lostFoundSize
	journalAt       = reservedIndexAt + 1
)

// Inode numbers [fs/ext4/ext4.h: Special inodes].
const (
	rootInode      = 2
	resizeInode    = 7
	journalInode   = 8
	firstInode     = 11 // the first that is not special: lost+found
	lostFoundInode = firstInode
	usedInodes     = firstInode
)

// A filesystem is a new file system before it is written.
type filesystem struct {
	Params
	epoch   uint32
	blocks  uint32 // in all
	journal uint32 // blocks of the journal
	seed    uint32 // of every metadata checksum but the superblock's
}

// newFilesystem derives what the parts share.
func newFilesystem(p Params) *filesystem {
	return &filesystem{
		Params:  p,
		epoch:   uint32(p.Epoch.Unix()),
		blocks:  uint32(p.Size / BlockSize),
		journal: uint32(p.Journal / BlockSize),
		seed:    crc32c(^uint32(0), p.UUID[:]),
	}
}

// used is the count of blocks that are not free: they are the first ones.
func (f *filesystem) used() uint32 { return journalAt + f.journal }

// write writes every block that is not zero and, unless the place is zeroed
// already, all other blocks that mean something. The superblock is last: until
// it is there, nobody takes the rest for a file system.
func (f *filesystem) write(w io.WriterAt) error {
	if !f.Zeroed {
		if err := zero(w, f.used()); err != nil {
			return err
		}
	}
	blockBitmap, inodeBitmap := f.blockBitmap(), f.inodeBitmap()
	for _, part := range []struct {
		block uint32
		data  []byte
	}{
		{blockBitmapAt, blockBitmap},
		{inodeBitmapAt, inodeBitmap},
		{inodeTableAt, f.inodes()},
		{rootAt, f.root()},
		{lostFoundAt, f.lostFound()},
		{reservedIndexAt, f.reservedIndex()},
		{journalAt, f.journalSuperblock()},
		{descriptorsAt, f.descriptor(blockBitmap, inodeBitmap)},
		{0, f.superblock()},
	} {
		if _, err := w.WriteAt(part.data, int64(part.block)*BlockSize); err != nil {
			return err
		}
	}
	return nil
}

// zero clears blocks from the start.
func zero(w io.WriterAt, blocks uint32) error {
	chunk := make([]byte, 64*BlockSize)
	for at, end := int64(0), int64(blocks)*BlockSize; at < end; at += int64(len(chunk)) {
		if _, err := w.WriteAt(chunk[:min(int64(len(chunk)), end-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// blockBitmap marks the blocks in use, and those of the group that lie
// beyond the end of the file system.
func (f *filesystem) blockBitmap() []byte {
	b := make([]byte, BlockSize)
	setBits(b, 0, f.used())
	setBits(b, f.blocks, blocksPerGroup)
	return b
}

// inodeBitmap marks the special inodes and lost+found, and the bits that
// stand for no inode.
func (f *filesystem) inodeBitmap() []byte {
	b := make([]byte, BlockSize)
	setBits(b, 0, usedInodes)
	setBits(b, inodesPerGroup, 8*BlockSize)
	return b
}

// setBits sets the bits from (included) to (excluded).
func setBits(b []byte, from, to uint32) {
	for i := from; i < to; i++ {
		b[i/8] |= 1 << (i % 8)
	}
}
