package ext4

import (
	"errors"
	"fmt"
	"io"
)

// ErrNotOurs says that a file system is not as [Make] leaves it.
var ErrNotOurs = errors.New("no ext4 file system as weft makes it")

// End returns where the blocks in use of a new file system end, in bytes;
// those behind are free, and what is in them means nothing. It reads the
// superblock and the block bitmap, in this order. Only a file system as [Make]
// leaves it is believed: clean, never mounted, one group, all free blocks
// behind the others.
func End(r io.ReaderAt) (int64, error) {
	i, err := Probe(r)
	if err != nil {
		return 0, err
	}
	if !i.Clean || i.HasErrors || i.Mounts != 0 || !i.Checksummed || !i.ChecksumValid || i.BlockSize != BlockSize || i.Size > blocksPerGroup*BlockSize {
		return 0, fmt.Errorf("ext4: superblock: %w", ErrNotOurs)
	}
	bitmap := make([]byte, BlockSize)
	if _, err := r.ReadAt(bitmap, blockBitmapAt*BlockSize); err != nil {
		return 0, fmt.Errorf("ext4: read the block bitmap: %w", err)
	}
	used, blocks := (i.Size-i.Free)/BlockSize, i.Size/BlockSize
	for n := range blocks {
		if set := bitmap[n/8]>>(n%8)&1 == 1; set != (n < used) {
			return 0, fmt.Errorf("ext4: block bitmap: %w", ErrNotOurs)
		}
	}
	return used * BlockSize, nil
}
