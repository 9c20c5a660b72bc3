package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// ErrNotExt4 is returned, wrapped, by [Probe] for anything that does not start
// like an ext2, ext3 or ext4 file system: an empty partition or another file
// system.
var ErrNotExt4 = errors.New("no ext4 file system")

// States of a file system [fs/ext4/ext4.h: EXT4_VALID_FS, EXT4_ERROR_FS].
const (
	stateClean  = 0x1
	stateErrors = 0x2
)

// Features that [Info] explains.
const (
	incompatRecover = 0x4   // EXT4_FEATURE_INCOMPAT_RECOVER
	incompat64bit   = 0x80  // EXT4_FEATURE_INCOMPAT_64BIT
	roCompatSums    = 0x400 // EXT4_FEATURE_RO_COMPAT_METADATA_CSUM
)

// maxBlockShift is the largest s_log_block_size: blocks of 64 KiB
// [fs/ext4/ext4.h: EXT4_MAX_BLOCK_LOG_SIZE].
const maxBlockShift = 6

// Info is what the superblock says.
type Info struct {
	// UUID and Label identify the file system. The label is whatever stands
	// there, made valid UTF-8; quote it when printing.
	UUID  [16]byte
	Label string
	// BlockSize, Size and Free are in bytes. While the file system is
	// mounted, Free on the disk is out of date.
	BlockSize  int
	Size, Free int64
	// Inodes and FreeInodes count files that can be and can still be made.
	Inodes, FreeInodes uint32
	// Clean says that the file system was unmounted in order. One that was
	// not is sound after its journal is replayed, which mounting does.
	Clean bool
	// NeedsRecovery says that the journal holds changes to replay.
	NeedsRecovery bool
	// HasErrors says that the kernel has met damage: run e2fsck.
	HasErrors bool
	// Errors counts how often the kernel has met damage since the last check;
	// LastError is the latest, zero for none.
	Errors    int
	LastError Damage
	// Checksummed says that the superblock has a checksum, ChecksumValid that
	// it is right, or that there is none.
	Checksummed, ChecksumValid bool
	// Compat, Incompat and ROCompat are the feature flags.
	Compat, Incompat, ROCompat uint32
	// Made, Mounted and Written are the times of those events, zero for none.
	Made, Mounted, Written time.Time
	// Mounts counts the mounts since the last check.
	Mounts int
}

// Damage is one fault that the kernel met in a file system.
type Damage struct {
	// Function is where in the kernel, such as ext4_lookup; quote it when
	// printing. Time is when, by the clock of that moment.
	Function string
	Time     time.Time
}

// Probe reads the superblock of the file system in r. It reads 2 KiB, whatever
// they say, and returns an error that wraps [ErrNotExt4] when they are no
// superblock. A wrong checksum is no error but told in the result.
func Probe(r io.ReaderAt) (Info, error) {
	s := make(record, superblockSize)
	if _, err := r.ReadAt(s, superblockOffset); errors.Is(err, io.EOF) {
		return Info{}, fmt.Errorf("ext4: less than %d bytes: %w", superblockOffset+superblockSize, ErrNotExt4)
	} else if err != nil {
		return Info{}, fmt.Errorf("ext4: read the superblock: %w", err)
	}
	if s.get16(magicAt) != magic {
		return Info{}, fmt.Errorf("ext4: the magic number is missing: %w", ErrNotExt4)
	}
	i := Info{
		Inodes:     s.get32(0x00),
		FreeInodes: s.get32(0x10),
		Compat:     s.get32(0x5c),
		Incompat:   s.get32(0x60),
		ROCompat:   s.get32(0x64),
		Mounts:     int(s.get16(0x34)),
		Errors:     int(min(s.get32(0x194), math.MaxInt32)),
		LastError:  Damage{s.text(0x1e0, 32), s.time(0x1cc, 0x279)},
		Mounted:    s.time(0x2c, 0x275),
		Written:    s.time(0x30, 0x274),
		Made:       s.time(0x108, 0x276),
	}
	copy(i.UUID[:], s[0x68:])
	i.Label = s.text(0x78, MaxLabel)
	state := s.get16(0x3a)
	i.HasErrors = state&stateErrors != 0
	i.NeedsRecovery = i.Incompat&incompatRecover != 0
	i.Clean = state&stateClean != 0 && !i.NeedsRecovery
	i.Checksummed = i.ROCompat&roCompatSums != 0
	i.ChecksumValid = !i.Checksummed || s.get32(checksumAt) == crc32c(^uint32(0), s[:checksumAt])
	return i, i.sizes(s)
}

// sizes works out the sizes, and refuses numbers no file system can have.
func (i *Info) sizes(s record) error {
	shift := s.get32(0x18)
	if shift > maxBlockShift {
		return fmt.Errorf("ext4: block size of 1024<<%d bytes: %w", shift, ErrNotExt4)
	}
	i.BlockSize = 1024 << shift
	blocks, free := uint64(s.get32(0x04)), uint64(s.get32(0x0c))
	if i.Incompat&incompat64bit != 0 {
		blocks |= uint64(s.get32(0x150)) << 32
		free |= uint64(s.get32(0x158)) << 32
	}
	if blocks == 0 || blocks > math.MaxInt64/uint64(i.BlockSize) || free > blocks {
		return fmt.Errorf("ext4: %d blocks, %d of them free: %w", blocks, free, ErrNotExt4)
	}
	i.Size, i.Free = int64(blocks)*int64(i.BlockSize), int64(free)*int64(i.BlockSize)
	return nil
}

// text reads a text of at most size bytes, made valid UTF-8.
func (r record) text(at, size int) string {
	b, _, _ := bytes.Cut(r[at:at+size], []byte{0})
	return string(bytes.ToValidUTF8(b, []byte("\ufffd")))
}

// time reads a time of 32 bits and 8 more elsewhere.
func (r record) time(low, high int) time.Time {
	seconds := int64(r.get32(low)) | int64(r[high])<<32
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
