package ext4

import "encoding/binary"

// journalSuperblock is the first block of an empty journal. Everything in it
// is big-endian [include/linux/jbd2.h: struct journal_superblock_s].
//
// The checksum feature is the one the kernel sets itself on file systems with
// metadata_csum when it mounts them [fs/ext4/super.c:
// set_journal_csum_feature_set]; set now, the very first transaction is
// protected as well.
func (f *filesystem) journalSuperblock() []byte {
	const (
		magic          = 0xc03b3998
		superblockV2   = 4
		feature64bit   = 0x2
		featureSumV3   = 0x10
		checksumCRC32C = 4
		size           = 1024
		sumAt          = 0xfc
	)
	block := make([]byte, BlockSize)
	s := block[:size]
	put := func(at int, v uint32) { binary.BigEndian.PutUint32(s[at:], v) }
	put(0x00, magic)
	put(0x04, superblockV2)
	put(0x0c, BlockSize)
	put(0x10, f.journal)
	put(0x14, 1) // first block of the log
	put(0x18, 1) // first transaction expected
	put(0x1c, 0) // start of the log: nothing to replay
	put(0x28, feature64bit|featureSumV3)
	// The journal's checksums start from its UUID, so blocks of another file
	// system's journal, left in the same place, are never valid here.
	copy(s[0x30:], f.UUID[:])
	put(0x40, 1) // file systems that use it
	s[0x50] = checksumCRC32C
	put(sumAt, crc32c(^uint32(0), s))
	return block
}
