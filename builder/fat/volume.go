package fat

import (
	"fmt"
	"io"
	"math"
	"path"
	"strings"
	"time"

	"weft/builder/tree"
)

// maxDirectory is the most bytes a directory may have [FAT 1.03: "16-bit
// DirectoryEntryCount", 65,536 entries].
const maxDirectory = 65536 * entrySize

// A volume is a file system that is fully planned and not yet written.
type volume struct {
	geometry
	params Params
	stamp  stamp
	root   *directory
	dirs   []*directory // root first, each after its parent
	files  []*file
	next   uint32 // first cluster that nothing uses
}

// A directory is what will stand in one directory.
type directory struct {
	path   string     // "." for the root
	parent *directory // nil for the root
	items  []*item
	run    run
}

// An item is a file or directory and its names.
type item struct {
	name  string
	short shortName
	long  bool // a long name is needed
	file  *file
	dir   *directory
}

// A file is a regular file and where it goes.
type file struct {
	path    string
	content tree.Content
	run     run
}

// A run is a row of clusters; count 0 means none at all.
type run struct{ first, count uint32 }

// newVolume plans where everything of the tree goes.
func newVolume(g geometry, t *tree.Tree, p Params) (*volume, error) {
	v := &volume{
		geometry: g,
		params:   p,
		stamp:    newStamp(t.Epoch()),
		root:     &directory{path: "."},
		next:     firstData,
	}
	v.dirs = []*directory{v.root}
	if err := v.collect(t); err != nil {
		return nil, err
	}
	if err := v.name(); err != nil {
		return nil, err
	}
	return v, v.allocate()
}

// collect sorts the tree's entries into directories.
func (v *volume) collect(t *tree.Tree) error {
	byPath := map[string]*directory{".": v.root}
	for e := range t.All() {
		if err := checkName(e.Name()); err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
		it := &item{name: e.Name()}
		parent := byPath[path.Dir(e.Path)]
		switch {
		case e.Mode.IsDir():
			it.dir = &directory{path: e.Path, parent: parent}
			byPath[e.Path] = it.dir
			v.dirs = append(v.dirs, it.dir)
		case e.Mode.IsRegular():
			if e.Size() > math.MaxUint32 {
				return fmt.Errorf("%s has %d bytes; FAT ends at 4 GiB less one", e.Path, e.Size())
			}
			it.file = &file{path: e.Path, content: e.Content}
			v.files = append(v.files, it.file)
		default:
			return fmt.Errorf("%s is %v; FAT holds only files and directories", e.Path, e.Mode)
		}
		parent.items = append(parent.items, it)
	}
	return nil
}

// name gives every item its short name.
func (v *volume) name() error {
	for _, d := range v.dirs {
		names := make([]string, len(d.items))
		for i, it := range d.items {
			names[i] = it.name
		}
		a, err := newAliaser(names)
		if err != nil {
			return fmt.Errorf("directory %s: %w", d.path, err)
		}
		for _, it := range d.items {
			it.short, it.long = a.alias(it.name)
		}
	}
	return nil
}

// allocate gives directories and then files their clusters, in order, so
// that all directories are read in one go.
func (v *volume) allocate() error {
	var need int64
	take := func(bytes int64) run {
		n := (bytes + v.clusterSize - 1) / v.clusterSize
		need += n
		r := run{v.next, uint32(n)}
		v.next += uint32(n)
		return r
	}
	for _, d := range v.dirs {
		size := v.directorySize(d)
		if d == v.root && v.typ != FAT32 {
			if fixed := int64(v.rootEntries) * entrySize; size > fixed {
				return fmt.Errorf("the root directory needs %d entries and %v has %d; use FAT32 or a directory: %w", size/entrySize, v.typ, v.rootEntries, ErrNoSpace)
			}
			continue
		}
		if size > maxDirectory {
			return fmt.Errorf("directory %s with %d files needs %d entries; FAT takes %d", d.path, len(d.items), size/entrySize, maxDirectory/entrySize)
		}
		d.run = take(max(size, 1))
	}
	for _, f := range v.files {
		if size := f.content.Size(); size > 0 {
			f.run = take(size)
		}
		if need > int64(v.clusters) {
			return fmt.Errorf("%s no longer fits: the volume has %d clusters of %d bytes (%d MiB); make the partition larger: %w",
				f.path, v.clusters, v.clusterSize, int64(v.clusters)*v.clusterSize>>20, ErrNoSpace)
		}
	}
	if need > int64(v.clusters) {
		return fmt.Errorf("the directories need %d clusters and the volume has %d; make the partition larger: %w", need, v.clusters, ErrNoSpace)
	}
	return nil
}

// directorySize is the length of a directory in bytes.
func (v *volume) directorySize(d *directory) int64 {
	n := 2 // "." and ".."
	if d == v.root {
		n = 0
		if v.params.Label != "" {
			n = 1
		}
	}
	for _, it := range d.items {
		n++
		if it.long {
			n += longEntries(it.name)
		}
	}
	return int64(n) * entrySize
}

// layout says where everything went.
func (v *volume) layout() *Layout {
	l := &Layout{
		Type:        v.typ,
		ClusterSize: int(v.clusterSize),
		Clusters:    int(v.clusters),
		Free:        int(v.free()),
		extents:     map[string]extent{},
	}
	for _, f := range v.files {
		e := extent{size: f.content.Size()}
		if f.run.count > 0 {
			e.offset = v.clusterOffset(f.run.first)
		}
		l.extents[f.path] = e
	}
	return l
}

// free is the count of clusters that nothing uses.
func (v *volume) free() uint32 { return v.clusters - (v.next - firstData) }

// write writes everything, front to back.
func (v *volume) write(w io.WriterAt) error {
	if err := v.writeBoot(w); err != nil {
		return fmt.Errorf("boot sector: %w", err)
	}
	table := v.table()
	for n := range v.fats {
		if _, err := w.WriteAt(table, v.fatOffset(n)); err != nil {
			return fmt.Errorf("file allocation table: %w", err)
		}
	}
	for _, d := range v.dirs {
		at := v.clusterOffset(d.run.first)
		if d.run.count == 0 {
			at = v.rootOffset()
		}
		if _, err := w.WriteAt(v.encode(d), at); err != nil {
			return fmt.Errorf("directory %s: %w", d.path, err)
		}
	}
	for _, f := range v.files {
		if f.run.count == 0 {
			continue
		}
		if err := tree.Copy(io.NewOffsetWriter(w, v.clusterOffset(f.run.first)), f.content); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
	}
	return nil
}

// table is the part of the file allocation table that is not zero.
func (v *volume) table() []byte {
	b := make([]byte, (int64(v.next)*int64(v.typ)+7)/8)
	// The first entry repeats the media byte, the second is an end mark whose
	// upper bits say that the volume was unmounted cleanly and had no errors
	// [FAT 1.03: FAT Data Structure].
	v.setEntry(b, 0, v.end()&^0xff|media)
	v.setEntry(b, 1, v.end())
	mark := func(r run) {
		for i := uint32(0); i < r.count; i++ {
			next := r.first + i + 1
			if i == r.count-1 {
				next = v.end()
			}
			v.setEntry(b, r.first+i, next)
		}
	}
	for _, d := range v.dirs {
		mark(d.run)
	}
	for _, f := range v.files {
		mark(f.run)
	}
	return b
}

// encode is a directory's bytes.
func (v *volume) encode(d *directory) []byte {
	var b []byte
	if d == v.root {
		if v.params.Label != "" {
			var label shortName
			copy(label[:], v.params.Label+strings.Repeat(" ", len(label)))
			b = v.stamp.entry(label, attrVolume, 0, 0).append(b)
		}
	} else {
		var up uint32 // 0 means the root, whatever cluster that has
		if d.parent != v.root {
			up = d.parent.run.first
		}
		b = v.stamp.entry(makeShort(".", ""), attrDirectory, d.run.first, 0).append(b)
		b = v.stamp.entry(makeShort("..", ""), attrDirectory, up, 0).append(b)
	}
	for _, it := range d.items {
		if it.long {
			b = appendLong(b, it.name, it.short)
		}
		if it.dir != nil {
			b = v.stamp.entry(it.short, attrDirectory, it.dir.run.first, 0).append(b)
		} else {
			b = v.stamp.entry(it.short, attrArchive, it.file.run.first, uint32(it.file.content.Size())).append(b)
		}
	}
	return b
}

// A stamp is a time as directory entries hold it.
type stamp struct {
	date, time uint16
	tenths     byte // hundredths of a second, 0..199, beside the two-second time
}

// newStamp turns a time into a stamp in UTC, moved into the years FAT can say
// [FAT 1.03: Date and Time Formats].
func newStamp(t time.Time) stamp {
	t = t.UTC()
	if t.Year() < 1980 {
		t = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if t.Year() > 2107 {
		t = time.Date(2107, 12, 31, 23, 59, 58, 0, time.UTC)
	}
	return stamp{
		date:   uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day()),
		time:   uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2),
		tenths: byte(t.Second() % 2 * 100),
	}
}

// moment is the time of a date and a time field, or the zero time when they
// say none.
func moment(date, clock uint16) time.Time {
	year, month, day := int(date>>9)+1980, time.Month(date>>5&15), int(date&31)
	if month < 1 || month > 12 || day < 1 {
		return time.Time{}
	}
	return time.Date(year, month, day, int(clock>>11), int(clock>>5&63), int(clock&31)*2, 0, time.UTC)
}

// entry makes a directory entry with all three times the same.
func (s stamp) entry(name shortName, attr byte, cluster, size uint32) entry {
	return entry{
		name: name, attr: attr, cluster: cluster, size: size,
		created: s, modified: s, accessed: s.date,
	}
}
