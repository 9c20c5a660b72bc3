// Package erofs writes a tree as an EROFS file system and reads such file
// systems: weft's read-only root.
//
// It is a thin layer over github.com/erofs/go-erofs, which lays the files
// out. This package adds what that library leaves out of the superblock (the
// UUID, the volume name and the checksum) and feeds contents to it one at a
// time, without a spool file. Files are stored uncompressed, small ones beside
// their inodes; no incompatible feature is used, so every kernel with EROFS
// mounts the result.
//
// The superblock follows fs/erofs/erofs_fs.h of Linux 6.12, cited as
// [erofs_fs.h].
package erofs

import (
	"errors"
	"fmt"
	"io"

	erofs "github.com/erofs/go-erofs"

	"weft/builder/tree"
)

// BlockSize is the block size of every file system that [Write] makes, and
// what their sizes are multiples of. The kernel mounts no larger blocks than
// its pages, which are 4 KiB on every machine weft knows.
const BlockSize = 4096

// Params are the parts of a file system that no tree says.
type Params struct {
	// UUID identifies the file system, as in /dev/disk/by-uuid.
	UUID [16]byte
	// Label is the volume's name, at most 15 bytes of UTF-8.
	Label string
}

// Write writes the tree to w from offset 0 and returns the size of the file
// system in bytes, a multiple of [BlockSize]. Every inode's time is the
// tree's epoch. Trees that cannot be written are refused before the first
// byte.
func Write(w io.WriterAt, t *tree.Tree, p Params) (int64, error) {
	if err := t.Err(); err != nil {
		return 0, fmt.Errorf("erofs: %w", err)
	}
	if len(p.Label) > maxLabel {
		return 0, fmt.Errorf("erofs: label %q has %d bytes; at most %d fit", p.Label, len(p.Label), maxLabel)
	}
	out := &output{w: w}
	lib := erofs.Create(out,
		erofs.WithBlockSize(BlockSize),
		erofs.WithBuildTime(uint64(t.Epoch().Unix()), 0))
	if err := lib.CopyFrom(newSource(t)); err != nil {
		return 0, fmt.Errorf("erofs: %w", err)
	}
	if err := lib.Close(); err != nil {
		return 0, fmt.Errorf("erofs: %w", err)
	}
	if err := out.finish(p); err != nil {
		return 0, fmt.Errorf("erofs: %w", err)
	}
	return out.size, nil
}

// An output gives the library the seekable file it wants, and holds back the
// first block: it is written last and once, with the superblock completed.
type output struct {
	w      io.WriterAt
	offset int64
	size   int64
	first  [BlockSize]byte
}

// Write takes bytes at the current offset.
func (o *output) Write(p []byte) (int, error) {
	n := 0
	if o.offset < BlockSize {
		n = copy(o.first[o.offset:], p)
	}
	if n < len(p) {
		m, err := o.w.WriteAt(p[n:], o.offset+int64(n))
		if err != nil {
			return n + m, err
		}
	}
	o.offset += int64(len(p))
	o.size = max(o.size, o.offset)
	return len(p), nil
}

// Seek goes to a position from the start, the only kind the library asks for.
func (o *output) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart || offset < 0 {
		return 0, errors.New("unexpected seek by go-erofs")
	}
	o.offset = offset
	return offset, nil
}

// finish completes the superblock and writes the first block.
func (o *output) finish(p Params) error {
	if o.size%BlockSize != 0 {
		return fmt.Errorf("go-erofs wrote %d bytes, not whole blocks", o.size)
	}
	if err := patch(&o.first, p); err != nil {
		return err
	}
	_, err := o.w.WriteAt(o.first[:], 0)
	return err
}
