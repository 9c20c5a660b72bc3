package ext4

// Directory blocks [fs/ext4/ext4.h: struct ext4_dir_entry_2 and
// ext4_dir_entry_tail]. Each block ends with an entry that is no file but
// holds the block's checksum.
const (
	tailSize      = 12
	tailType      = 0xde // EXT4_FT_DIR_CSUM
	fileDirectory = 2    // EXT4_FT_DIR
)

// root is the block of the root directory.
func (f *filesystem) root() []byte {
	b := make(record, BlockSize)
	b.entry(0, 12, rootInode, ".")
	b.entry(12, 12, rootInode, "..")
	b.entry(24, BlockSize-tailSize-24, lostFoundInode, "lost+found")
	f.tail(b, rootInode)
	return b
}

// lostFound is the blocks of lost+found: one with "." and "..", the others
// with one empty entry.
func (f *filesystem) lostFound() []byte {
	blocks := make(record, lostFoundSize*BlockSize)
	for i := range lostFoundSize {
		b := blocks[i*BlockSize:][:BlockSize]
		if i == 0 {
			b.entry(0, 12, lostFoundInode, ".")
			b.entry(12, BlockSize-tailSize-12, rootInode, "..")
		} else {
			b.put16(4, BlockSize-tailSize)
		}
		f.tail(b, lostFoundInode)
	}
	return blocks
}

// entry writes a directory's entry of the given length.
func (r record) entry(at, length int, inode uint32, name string) {
	r.put32(at, inode)
	r.put16(at+4, uint16(length))
	r[at+6] = byte(len(name))
	r[at+7] = fileDirectory
	copy(r[at+8:], name)
}

// tail ends a directory's block with its checksum [fs/ext4/namei.c:
// ext4_dirblock_csum].
func (f *filesystem) tail(block record, inode uint32) {
	at := BlockSize - tailSize
	block.put16(at+4, tailSize)
	block[at+7] = tailType
	block.put32(at+8, crc32c(f.seedOf(inode), block[:at]))
}
