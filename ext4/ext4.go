// Package ext4 makes an empty ext4 file system of one block group, and reads
// the superblock of any: weft's data partition.
//
// What it makes is small (32 to 128 MiB) and meant to be grown by the kernel
// while mounted, to whatever the disk has: no user-land tool is needed. It has
// a journal, extents and checksums of all metadata. The package does not put
// files into the file system, check it or repair it, and does not grow it;
// growing is the ioctl EXT4_IOC_RESIZE_FS of the mounted file system.
//
// It is linked into init as well as into the builder, so it uses little of
// the standard library. Structures follow the Linux 6.12 source, cited by file,
// and what mke2fs 1.47 of e2fsprogs makes.
package ext4

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Limits and fixed properties of what [Make] makes.
const (
	// BlockSize is the block size in bytes.
	BlockSize = 4096
	// MinSize and MaxSize bound the size of a new file system. One group is
	// 8 blocks' worth of bits in a bitmap of one block: 32,768 blocks.
	MinSize = 32 << 20
	MaxSize = blocksPerGroup * BlockSize
	// MinJournal is the smallest journal the kernel takes
	// [include/linux/jbd2.h: JBD2_MIN_JOURNAL_BLOCKS, 1024].
	MinJournal = 1024 * BlockSize
	// MaxLabel is the longest label, in bytes [fs/ext4/ext4.h: EXT4_LABEL_MAX].
	MaxLabel = 16
)

// Params describe a new file system. Equal parameters give equal bytes.
type Params struct {
	// Size is in bytes, a multiple of [BlockSize] from [MinSize] to [MaxSize].
	Size int64
	// UUID identifies the file system; it also seeds the checksums.
	UUID [16]byte
	// HashSeed makes the hashes of names in large directories unguessable.
	HashSeed [16]byte
	// Label is the volume's name, at most [MaxLabel] bytes of UTF-8.
	Label string
	// Epoch is the time of making, from 1970 to 2106-02-07.
	Epoch time.Time
	// Journal is the size of the journal in bytes, a multiple of [BlockSize]
	// and at least [MinJournal]. It does not grow with the file system. 0 is
	// an eighth of Size, rounded down: 16 MiB for 128 MiB.
	Journal int64
	// Zeroed says that the place already reads as zeros, as a new file does.
	// Then only what is not zero is written, less than 100 KiB, and the image
	// stays sparse. Otherwise the metadata and the journal are written in
	// full, so nothing that lay there before can be taken for this file
	// system's.
	Zeroed bool
}

// Make writes an empty file system to w from offset 0. Wrong parameters are
// refused before the first byte.
func Make(w io.WriterAt, p Params) error {
	if p.Journal == 0 {
		p.Journal = max(p.Size/8/BlockSize*BlockSize, MinJournal)
	}
	if err := p.check(); err != nil {
		return fmt.Errorf("ext4: %w", err)
	}
	f := newFilesystem(p)
	if err := f.write(w); err != nil {
		return fmt.Errorf("ext4: %w", err)
	}
	return nil
}

// check refuses what cannot be made.
func (p Params) check() error {
	switch seconds := p.Epoch.Unix(); {
	case p.Size < MinSize || p.Size > MaxSize || p.Size%BlockSize != 0:
		return fmt.Errorf("size of %d bytes: it must be a multiple of %d from %d to %d (%d to %d MiB); make it small and let the kernel grow it",
			p.Size, BlockSize, MinSize, MaxSize, MinSize>>20, MaxSize>>20)
	case p.Journal < MinJournal || p.Journal > p.Size/2 || p.Journal%BlockSize != 0:
		return fmt.Errorf("journal of %d bytes: it must be a multiple of %d from %d (%d MiB) to half the size", p.Journal, BlockSize, MinJournal, MinJournal>>20)
	case len(p.Label) > MaxLabel:
		return fmt.Errorf("label %q has %d bytes; at most %d fit", p.Label, len(p.Label), MaxLabel)
	case p.UUID == [16]byte{}:
		return errors.New("the UUID is all zeros; derive one from what makes this disk unique")
	case seconds < 0 || seconds > math.MaxUint32:
		return fmt.Errorf("epoch %s is outside 1970-01-01 to 2106-02-07", p.Epoch.UTC().Format(time.DateOnly))
	}
	return nil
}
