package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"
)

// ErrCorrupt is wrapped by every error that says the volume breaks the rules
// of the format: it is damaged, made by someone ill-meaning, or not FAT.
var ErrCorrupt = errors.New("not a sound FAT file system")

// maxEntries is the most directory entries a volume may have in all; a boot
// partition has a few hundred. The limit bounds the time [Open] takes.
const maxEntries = 1 << 20

// An FS is a FAT file system that exists. Names are found in any case and by
// their short form too, as on every system that reads FAT.
//
// An FS may be used by several goroutines, except while [FS.WriteFile] runs.
type FS struct {
	geometry
	r io.ReaderAt
	w io.WriterAt // nil when the file system is only read

	rootCluster uint32 // of FAT32
	info        uint32 // sector of FAT32's information; 0 means none
	activeFAT   uint32 // the copy to read
	mirrored    bool   // all copies are kept the same
	volumeID    uint32
	label       string
}

var (
	_ fs.FS         = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
)

// Info describes a file system as a whole.
type Info struct {
	// Type is the kind of FAT.
	Type Type
	// VolumeID is the serial number.
	VolumeID uint32
	// Label is the volume's name, empty when it has none. It is whatever
	// stands on the volume; quote it when printing.
	Label string
	// Size is what the file system takes, in bytes.
	Size int64
	// ClusterSize is in bytes, Clusters the count of them.
	ClusterSize, Clusters int
	// HiddenSectors is the start of the partition, as the volume says.
	HiddenSectors uint32
}

// A ReadWriterAt is a volume that can be changed. If it also has a method
// Sync() error, as [os.File] does, that is called between the steps of a
// change, so that losing power loses at most the change.
type ReadWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// Open reads the file system in the first size bytes of r. It follows every
// directory once and refuses volumes in which directories form a loop or
// share clusters, so walking the result always ends. The errors wrap
// [ErrCorrupt] or come from r.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	f := &FS{r: r}
	if err := f.parse(size); err != nil {
		return nil, fmt.Errorf("fat: boot sector: %w", err)
	}
	if err := f.scan(); err != nil {
		return nil, fmt.Errorf("fat: %w", err)
	}
	return f, nil
}

// OpenWritable is [Open] for a volume that [FS.WriteFile] may change.
func OpenWritable(rw ReadWriterAt, size int64) (*FS, error) {
	f, err := Open(rw, size)
	if err != nil {
		return nil, err
	}
	f.w = rw
	return f, nil
}

// Info says what the boot sector and the root directory say of the volume.
func (f *FS) Info() Info {
	return Info{
		Type:          f.typ,
		VolumeID:      f.volumeID,
		Label:         f.label,
		Size:          int64(f.sectors) * f.sectorSize,
		ClusterSize:   int(f.clusterSize),
		Clusters:      int(f.clusters),
		HiddenSectors: f.hiddenSectors,
	}
}

// corrupt makes an error that wraps [ErrCorrupt].
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrCorrupt)
}

// parse reads and checks the boot sector [FAT 1.03: Boot Sector and BPB].
// The type is FAT32 when the 16-bit size of the FAT is 0, as Linux decides
// [linux fs/fat/inode.c: fat_fill_super]: there are FAT32 volumes with fewer
// clusters than the document allows.
func (f *FS) parse(size int64) error {
	b := make([]byte, sectorSize)
	if size < sectorSize {
		return corrupt("the volume has %d bytes", size)
	}
	if _, err := f.r.ReadAt(b, 0); err != nil {
		return err
	}
	le := binary.LittleEndian
	if le.Uint16(b[510:]) != bootSignature {
		return corrupt("the signature 55 aa is missing")
	}
	f.sectorSize = int64(le.Uint16(b[11:]))
	f.clusterSize = int64(b[13]) * f.sectorSize
	f.reserved = uint32(le.Uint16(b[14:]))
	f.fats = uint32(b[16])
	f.rootEntries = uint32(le.Uint16(b[17:]))
	f.sectors = uint32(le.Uint16(b[19:]))
	if f.sectors == 0 {
		f.sectors = le.Uint32(b[32:])
	}
	f.fatSectors = uint32(le.Uint16(b[22:]))
	f.hiddenSectors = le.Uint32(b[28:])
	f.mirrored = true
	rest := b[oldRest:]
	if f.fatSectors == 0 {
		f.typ = FAT32
		f.parse32(b)
		rest = b[64:]
	}
	if rest[2] == extendedBoot {
		f.volumeID = le.Uint32(rest[3:])
		if label := string(rest[7:18]); label != noLabel {
			f.label = strings.TrimRight(label, " \x00")
		}
	}
	return f.check(size, le.Uint16(b[42:]))
}

// parse32 reads what only FAT32 has.
func (f *FS) parse32(b []byte) {
	le := binary.LittleEndian
	f.fatSectors = le.Uint32(b[newRest:])
	f.rootCluster = le.Uint32(b[44:])
	f.info = uint32(le.Uint16(b[48:]))
	if f.info == math.MaxUint16 {
		f.info = 0
	}
	// BPB_ExtFlags: bit 7 turns mirroring off, bits 0..3 name the active FAT.
	if flags := le.Uint16(b[40:]); flags&0x80 != 0 {
		f.mirrored = false
		f.activeFAT = uint32(flags & 0xf)
	}
}

// check refuses a boot sector whose numbers do not fit together or go beyond
// the volume.
func (f *FS) check(size int64, version uint16) error {
	switch s := f.sectorSize; {
	case s != 512 && s != 1024 && s != 2048 && s != 4096:
		return corrupt("sectors of %d bytes", s)
	case f.clusterSize == 0 || f.clusterSize&(f.clusterSize-1) != 0:
		return corrupt("clusters of %d bytes", f.clusterSize)
	case f.reserved == 0 || f.fatSectors == 0 || f.fats == 0 || f.fats > 4 || f.activeFAT >= f.fats:
		return corrupt("%d reserved sectors, %d FATs of %d sectors, number %d active", f.reserved, f.fats, f.fatSectors, f.activeFAT)
	case f.typ == FAT32 && version != 0:
		return corrupt("FAT32 of version %#x", version)
	case f.typ == FAT32 && f.rootEntries != 0, f.typ != FAT32 && f.rootEntries == 0:
		return corrupt("%d fixed root entries", f.rootEntries)
	case f.sectors == 0 || int64(f.sectors)*f.sectorSize > size:
		return corrupt("it says %d sectors of %d bytes and the volume has %d bytes; the image is cut short or the wrong partition", f.sectors, f.sectorSize, size)
	}
	data := int64(f.sectors)*f.sectorSize - f.dataOffset()
	if data < f.clusterSize {
		return corrupt("no room for a single cluster")
	}
	count := data / f.clusterSize
	if count > maxClusters {
		return corrupt("%d clusters", count)
	}
	f.clusters = uint32(count)
	if f.typ != FAT32 {
		f.typ = FAT16
		if count < minFAT16 {
			f.typ = FAT12
		} else if count >= minFAT32 {
			return corrupt("%d clusters are too many for 16 bits", count)
		}
	}
	last, n := f.entryAt(f.clusters + 1)
	if last+int64(n) > int64(f.fatSectors)*f.sectorSize {
		return corrupt("a FAT of %d sectors is too small for %d clusters", f.fatSectors, f.clusters)
	}
	if f.typ == FAT32 && !f.valid(f.rootCluster) {
		return corrupt("the root directory is in cluster %d of %d", f.rootCluster, f.clusters)
	}
	if f.info >= f.reserved {
		f.info = 0
	}
	return nil
}

// scan follows every directory once. A cluster that two of them use, or one
// of them twice, is refused.
func (f *FS) scan() error {
	seen := make([]uint64, (int64(f.clusters)+63)/64)
	queue := []node{f.rootNode()}
	entries := 0
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		d, err := f.readDirectory(n, func(cluster uint32) error {
			word, bit := &seen[(cluster-firstData)/64], uint64(1)<<((cluster-firstData)%64)
			if *word&bit != 0 {
				return corrupt("cluster %d is part of two directories", cluster)
			}
			*word |= bit
			return nil
		})
		if err != nil {
			return fmt.Errorf("directory %q: %w", n.name, err)
		}
		records, err := d.parse()
		if err != nil {
			return fmt.Errorf("directory %q: %w", n.name, err)
		}
		if entries += len(records); entries > maxEntries {
			return corrupt("more than %d directory entries", maxEntries)
		}
		if d.label != "" && n.root {
			f.label = d.label
		}
		for _, r := range records {
			if r.node.dir() {
				queue = append(queue, r.node)
			}
		}
	}
	return nil
}
