// Package fat writes FAT12, FAT16 and FAT32 file systems in one pass, reads
// them, and replaces single files in them.
//
// [Write] makes what a boot partition needs: short and long names,
// directories, files laid out contiguously so that a loader can read them by
// block number, one timestamp for all. [Open] reads any FAT file system,
// whoever made it, and trusts nothing in it. [FS.WriteFile] replaces or makes
// one small file in a directory that exists. The package does not delete,
// rename, make directories in an existing file system, or repair; sectors of
// a file system that it writes are 512 bytes.
//
// The structures follow Microsoft's "FAT: General Overview of On-Disk
// Format", version 1.03 of December 2000, cited as [FAT 1.03].
package fat

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"weft/builder/tree"
)

// A Type is one of the three kinds of FAT, named by the bits of a cluster
// number. The kind follows from the count of clusters and nothing else
// [FAT 1.03: FAT Type Determination].
type Type int

// The kinds of FAT. [Auto] is FAT32 when the size allows it, then FAT16, then
// FAT12.
const (
	Auto  Type = 0
	FAT12 Type = 12
	FAT16 Type = 16
	FAT32 Type = 32
)

// String is "FAT32" for [FAT32], and so on.
func (t Type) String() string {
	if t == Auto {
		return "FAT"
	}
	return fmt.Sprintf("FAT%d", int(t))
}

// Params are the parts of a file system that neither its tree nor its size
// says.
type Params struct {
	// Type is the kind of FAT. A size that cannot be that kind is refused.
	Type Type
	// VolumeID is the serial number, which Linux shows as the UUID.
	VolumeID uint32
	// Label is the volume's name: at most 11 upper-case letters, digits,
	// spaces and the signs of a short name. Empty means none.
	Label string
	// ClusterSize is a power of two from 512 to 32768 bytes. 0 chooses: the
	// largest that keeps the type, or for FAT12 the smallest.
	ClusterSize int
	// HiddenSectors is the number of 512-byte sectors before the volume: the
	// start of its partition. Code in a BIOS boot sector relies on it.
	HiddenSectors uint32
}

// A Layout says where [Write] put things.
type Layout struct {
	// Type is the kind of FAT that was written.
	Type Type
	// ClusterSize is in bytes.
	ClusterSize int
	// Clusters is how many clusters the volume has, Free how many of them
	// nothing uses.
	Clusters, Free int

	extents map[string]extent
}

// An extent is a run of bytes of the volume.
type extent struct{ offset, size int64 }

// Extent returns where the bytes of the file at path are: their offset from
// the start of the volume, a multiple of 512, and their count. Empty files
// are at offset 0. Directories and paths that are not there are not ok.
func (l *Layout) Extent(path string) (offset, size int64, ok bool) {
	e, ok := l.extents[strings.TrimPrefix(path, "/")]
	return e.offset, e.size, ok
}

// ErrNoSpace is wrapped by the errors of [Write] and [FS.WriteFile] when the
// volume is too small for what it should hold.
var ErrNoSpace = errors.New("no space on the FAT volume")

// Write makes a file system of size bytes with the files and directories of
// the tree. Anything wrong with the tree, the size or the parameters is
// refused before the first byte is written. FAT holds no owners, permissions,
// links or devices: the first two are dropped, the others refused.
//
// The volume must read as zeros where nothing was written, as a new file does:
// areas of zeros are not written, so that images stay sparse.
func Write(w io.WriterAt, size int64, t *tree.Tree, p Params) (*Layout, error) {
	l, err := write(w, size, t, p)
	if err != nil {
		return nil, fmt.Errorf("fat: %w", err)
	}
	return l, nil
}

func write(w io.WriterAt, size int64, t *tree.Tree, p Params) (*Layout, error) {
	if err := t.Err(); err != nil {
		return nil, err
	}
	if err := checkLabel(p.Label); err != nil {
		return nil, err
	}
	g, err := newGeometry(size, p)
	if err != nil {
		return nil, err
	}
	v, err := newVolume(g, t, p)
	if err != nil {
		return nil, err
	}
	if err := v.write(w); err != nil {
		return nil, err
	}
	return v.layout(), nil
}
