package fat

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// MaxUpdate is the most bytes [FS.WriteFile] writes. It is meant for
// configuration files; images are written whole.
const MaxUpdate = 1 << 20

// WriteFile replaces the file name, or makes it in a directory that exists,
// with the given bytes and time. It works so that losing power at any moment
// leaves the old file or the new one: the data goes to free clusters first,
// then the directory entry changes, then the old clusters become free. What an
// interrupted call leaves behind is at most space that fsck.vfat gives back.
//
// A file that is replaced keeps its name as it stands on the volume. After an
// error the volume is as sound as before, but may hold either file.
func (f *FS) WriteFile(name string, data []byte, mod time.Time) error {
	if err := f.writeFile(name, data, newStamp(mod)); err != nil {
		return fmt.Errorf("fat: write %s: %w", name, err)
	}
	return nil
}

func (f *FS) writeFile(name string, data []byte, s stamp) error {
	switch {
	case f.w == nil:
		return errors.New("the volume is open for reading; use OpenWritable")
	case !f.mirrored:
		return errors.New("the volume keeps its FATs apart, as a repair tool left it; run fsck.vfat")
	case len(data) > MaxUpdate:
		return fmt.Errorf("%d bytes; at most %d can be put into an existing volume", len(data), MaxUpdate)
	case !fs.ValidPath(name) || name == ".":
		return fs.ErrInvalid
	}
	parent, err := f.lookup("open", path.Dir(name))
	if err != nil {
		return err
	}
	if !parent.dir() {
		return fmt.Errorf("%s is not a directory", path.Dir(name))
	}
	d, records, err := f.list(parent)
	if err != nil {
		return err
	}
	base := path.Base(name)
	i := find(records, base)
	var old []uint32
	switch {
	case i < 0:
		if err := checkName(base); err != nil {
			return err
		}
	case records[i].dir():
		return errors.New("it is a directory")
	case records[i].cluster != 0:
		if old, err = f.chain(records[i].cluster, int64(f.clusters), nil); err != nil {
			return err
		}
	}
	a := &allocator{walker: walker{f: f}, next: firstData}
	if err := a.start(); err != nil {
		return err
	}
	first, err := f.store(a, data)
	if err != nil {
		return err
	}
	if i < 0 {
		err = f.insert(a, d, records, base, s.entry(shortName{}, attrArchive, first, uint32(len(data))))
	} else {
		err = f.replace(d, records[i], s, first, uint32(len(data)))
	}
	if err != nil {
		return err
	}
	if err := f.sync(); err != nil {
		return err
	}
	if err := f.release(old); err != nil {
		return err
	}
	if err := f.updateInfo(a, len(old)); err != nil {
		return err
	}
	return f.sync()
}

// sync asks the volume to keep what was written so far before what follows.
func (f *FS) sync() error {
	if s, ok := f.w.(interface{ Sync() error }); ok {
		return s.Sync()
	}
	return nil
}

// store writes data to free clusters and returns the first, 0 for no data.
func (f *FS) store(a *allocator, data []byte) (uint32, error) {
	count := (int64(len(data)) + f.clusterSize - 1) / f.clusterSize
	clusters, err := a.take(int(count))
	if err != nil || count == 0 {
		return 0, err
	}
	padded := make([]byte, count*f.clusterSize)
	copy(padded, data)
	for i, c := range clusters {
		at := int64(i) * f.clusterSize
		if _, err := f.w.WriteAt(padded[at:at+f.clusterSize], f.clusterOffset(c)); err != nil {
			return 0, err
		}
	}
	if err := f.link(clusters); err != nil {
		return 0, err
	}
	return clusters[0], f.sync()
}

// replace points an entry at new data. One entry never crosses a sector, so
// the change is there or not.
func (f *FS) replace(d *contents, r record, s stamp, first, size uint32) error {
	e := r.entry
	e.cluster, e.size, e.modified, e.accessed = first, size, s, s.date
	e.attr |= attrArchive
	b := make([]byte, entrySize)
	copy(b, d.slot(r.last))
	e.update(b, f.typ)
	_, err := f.w.WriteAt(b, d.offset(r.last))
	return err
}

// insert adds an entry with its long name. The short entry is written last:
// long entries without it are ignored by everyone.
func (f *FS) insert(a *allocator, d *contents, records []record, name string, e entry) error {
	al := &aliaser{names: map[string]bool{}, tails: map[string]int{}}
	for _, r := range records {
		al.names[fold(r.name)] = true
		al.names[fold(r.short.String())] = true
	}
	short, long := al.alias(name)
	e.name = short
	var b []byte
	if long {
		b = appendLong(b, name, short)
	}
	b = e.append(b)
	at, err := f.room(a, d, len(b)/entrySize)
	if err != nil {
		return err
	}
	// When the new entries use up the end mark, everything up to the slot
	// after them has to be one, whatever stood there before, or a cut between
	// two writes would bring it back to life.
	if end, after := d.end(), at+len(b)/entrySize; after > end {
		last := min(after+1, d.slots())
		if err := f.writeSlots(d, end, make([]byte, (last-end)*entrySize)); err != nil {
			return err
		}
	}
	return f.writeSlots(d, at, b)
}

// writeSlots writes entries from a slot on, front to back, each sector in one
// piece.
func (f *FS) writeSlots(d *contents, at int, b []byte) error {
	for len(b) > 0 {
		offset := d.offset(at)
		n := int(min(int64(len(b)), f.sectorSize-offset%f.sectorSize))
		if _, err := f.w.WriteAt(b[:n], offset); err != nil {
			return err
		}
		b, at = b[n:], at+n/entrySize
	}
	return nil
}

// room finds count free slots in a row, and makes the directory longer when
// there are none.
func (f *FS) room(a *allocator, d *contents, count int) (int, error) {
	end, run := d.end(), 0
	for i := range d.slots() {
		if i >= end || d.slot(i)[0] == entryFree {
			run++
		} else {
			run = 0
		}
		if run == count {
			return i - count + 1, nil
		}
	}
	at := d.slots() - run
	if d.clusters == nil {
		return 0, fmt.Errorf("the root directory of %d entries is full: %w", d.slots(), ErrNoSpace)
	}
	bytes := int64(count-run) * entrySize
	more := (bytes + f.clusterSize - 1) / f.clusterSize
	if int64(len(d.data))+more*f.clusterSize > maxDirectory {
		return 0, fmt.Errorf("the directory has the most entries FAT allows, %d: %w", d.slots(), ErrNoSpace)
	}
	return at, f.extend(a, d, int(more))
}

// extend appends empty clusters to a directory.
func (f *FS) extend(a *allocator, d *contents, count int) error {
	clusters, err := a.take(count)
	if err != nil {
		return err
	}
	zero := make([]byte, f.clusterSize)
	for _, c := range clusters {
		if _, err := f.w.WriteAt(zero, f.clusterOffset(c)); err != nil {
			return err
		}
	}
	if err := f.link(clusters); err != nil {
		return err
	}
	if err := f.sync(); err != nil {
		return err
	}
	if err := f.set(d.clusters[len(d.clusters)-1], clusters[0]); err != nil {
		return err
	}
	d.clusters = append(d.clusters, clusters...)
	d.data = append(d.data, make([]byte, count*int(f.clusterSize))...)
	return nil
}

// link makes clusters a chain, its end first.
func (f *FS) link(clusters []uint32) error {
	next := f.geometry.end()
	for i := len(clusters) - 1; i >= 0; i-- {
		if err := f.set(clusters[i], next); err != nil {
			return err
		}
		next = clusters[i]
	}
	return nil
}

// release marks clusters as free.
func (f *FS) release(clusters []uint32) error {
	for _, c := range clusters {
		if err := f.set(c, 0); err != nil {
			return err
		}
	}
	return nil
}

// set changes the entry of a cluster in every copy of the FAT.
func (f *FS) set(cluster, value uint32) error {
	at, n := f.entryAt(cluster)
	b := make([]byte, n)
	for i := range f.fats {
		if _, err := f.r.ReadAt(b, f.fatOffset(i)+at); err != nil {
			return err
		}
		f.encodeEntry(b, cluster, value)
		if _, err := f.w.WriteAt(b, f.fatOffset(i)+at); err != nil {
			return err
		}
	}
	return nil
}
