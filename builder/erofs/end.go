package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrNotOurs says that a file system is none that [Write] makes.
var ErrNotOurs = errors.New("no EROFS file system as weft writes it")

// End returns how many bytes the file system in r takes, from its first on. It
// reads one block. Only what has the form that [Write] gives it is believed:
// blocks of [BlockSize], no incompatible feature, a right checksum.
func End(r io.ReaderAt) (int64, error) {
	const ( // [erofs_fs.h: struct erofs_super_block]
		blockBitsOffset = superOffset + 12
		blocksOffset    = superOffset + 36
		incompatOffset  = superOffset + 80
	)
	var block [BlockSize]byte
	if _, err := r.ReadAt(block[:], 0); err != nil {
		return 0, fmt.Errorf("erofs: superblock: %w", err)
	}
	le := binary.LittleEndian
	if le.Uint32(block[magicOffset:]) != superMagic || le.Uint32(block[compatOffset:])&compatSum == 0 || le.Uint32(block[sumOffset:]) != checksum(&block) ||
		1<<block[blockBitsOffset] != BlockSize || le.Uint32(block[incompatOffset:]) != 0 {
		return 0, fmt.Errorf("erofs: superblock: %w", ErrNotOurs)
	}
	return int64(le.Uint32(block[blocksOffset:])) * BlockSize, nil
}
