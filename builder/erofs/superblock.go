package erofs

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Offsets into the image [erofs_fs.h: EROFS_SUPER_OFFSET and struct
// erofs_super_block].
const (
	superOffset  = 1024
	magicOffset  = superOffset + 0
	sumOffset    = superOffset + 4
	compatOffset = superOffset + 8
	uuidOffset   = superOffset + 48
	nameOffset   = superOffset + 64
	maxLabel     = 15 // of the 16 bytes of volume_name; the last stays NUL
	superMagic   = 0xE0F5E1E2
	compatSum    = 0x1 // EROFS_FEATURE_COMPAT_SB_CHKSUM
	compatMtime  = 0x2 // EROFS_FEATURE_COMPAT_MTIME: times are mtimes
)

// patch fills in the UUID, the volume name, the compatible features and the
// checksum of the superblock in the first block of an image.
func patch(block *[BlockSize]byte, p Params) error {
	if binary.LittleEndian.Uint32(block[magicOffset:]) != superMagic {
		return errors.New("go-erofs wrote no superblock where one belongs")
	}
	copy(block[uuidOffset:], p.UUID[:])
	copy(block[nameOffset:], p.Label)
	compat := binary.LittleEndian.Uint32(block[compatOffset:])
	binary.LittleEndian.PutUint32(block[compatOffset:], compat|compatSum|compatMtime)
	binary.LittleEndian.PutUint32(block[sumOffset:], checksum(block))
	return nil
}

// checksum is the superblock's: CRC-32C with the start value ~0 and no final
// inversion, over the rest of the block from the superblock on, with the
// checksum itself as zero [fs/erofs/super.c: erofs_superblock_csum_verify].
func checksum(block *[BlockSize]byte) uint32 {
	area := *block
	binary.LittleEndian.PutUint32(area[sumOffset:], 0)
	return ^crc32.Checksum(area[superOffset:], crc32.MakeTable(crc32.Castagnoli))
}
