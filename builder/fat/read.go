package fat

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// lookup finds the node at a valid path.
func (f *FS) lookup(op, name string) (node, error) {
	if !fs.ValidPath(name) {
		return node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n := f.rootNode()
	if name == "." {
		return n, nil
	}
	for elem := range strings.SplitSeq(name, "/") {
		if !n.dir() {
			return node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		_, records, err := f.list(n)
		if err != nil {
			return node{}, &fs.PathError{Op: op, Path: name, Err: err}
		}
		i := find(records, elem)
		if i < 0 {
			return node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		n = records[i].node
	}
	return n, nil
}

// list reads and parses a directory.
func (f *FS) list(n node) (*contents, []record, error) {
	d, err := f.readDirectory(n, nil)
	if err != nil {
		return nil, nil, err
	}
	records, err := d.parse()
	return d, records, err
}

// find returns the index of the record with the name, or -1.
func find(records []record, name string) int {
	folded := fold(name)
	return slices.IndexFunc(records, func(r record) bool { return r.matches(folded) })
}

// Open implements [fs.FS].
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if n.dir() {
		entries, err := f.entries(n)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &openDir{node: n, rest: entries}, nil
	}
	r, err := f.open(n)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return r, nil
}

// Stat implements [fs.StatFS].
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadDir implements [fs.ReadDirFS].
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.lookup("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.dir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	entries, err := f.entries(n)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return entries, nil
}

// ReadFile implements [fs.ReadFileFS].
func (f *FS) ReadFile(name string) ([]byte, error) {
	n, err := f.lookup("read", name)
	if err != nil {
		return nil, err
	}
	if n.dir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	r, err := f.open(n)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	b := make([]byte, n.size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return b, nil
}

// entries lists a directory by name.
func (f *FS) entries(n node) ([]fs.DirEntry, error) {
	_, records, err := f.list(n)
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, len(records))
	for i, r := range records {
		entries[i] = fs.FileInfoToDirEntry(r.node)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// open starts reading a file. A size that the volume cannot hold is refused,
// so nobody allocates more than the volume has.
func (f *FS) open(n node) (*openFile, error) {
	need := (int64(n.size) + f.clusterSize - 1) / f.clusterSize
	if need > int64(f.clusters) {
		return nil, corrupt("%s says it has %d bytes, more than the volume", n.name, n.size)
	}
	if need > 0 && !f.valid(n.cluster) {
		return nil, corrupt("%s starts at cluster %d of %d", n.name, n.cluster, f.clusters)
	}
	return &openFile{node: n, walker: walker{f: f}}, nil
}

// An openFile reads a file from front to back. It takes at most as many steps
// through the FAT as the file has clusters, whatever the FAT says.
type openFile struct {
	node   // its cluster is the one of the last byte read
	walker walker
	pos    int64
	err    error
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.node, nil }

func (o *openFile) Close() error {
	if o.err == fs.ErrClosed {
		return fs.ErrClosed
	}
	o.err = fs.ErrClosed
	return nil
}

// Read reads clusters that follow each other on the volume in one go.
func (o *openFile) Read(p []byte) (int, error) {
	left := int64(o.size) - o.pos
	if o.err == nil && left == 0 {
		return 0, io.EOF
	}
	if o.err != nil || len(p) == 0 {
		return 0, o.err
	}
	size := o.walker.f.clusterSize
	if o.pos > 0 && o.pos%size == 0 {
		if o.err = o.step(); o.err != nil {
			return 0, o.err
		}
	}
	at := o.walker.f.clusterOffset(o.cluster) + o.pos%size
	want, have := min(left, int64(len(p))), size-o.pos%size
	for have < want {
		next, end, err := o.walker.next(o.cluster)
		if err != nil || end || next != o.cluster+1 {
			break // the next Read meets it again
		}
		o.cluster = next
		have += size
	}
	n, err := o.walker.f.r.ReadAt(p[:min(want, have)], at)
	o.pos += int64(n)
	if int64(n) == min(want, have) {
		err = nil
	}
	o.err = err
	return n, err
}

// step goes to the next cluster, which has to be there.
func (o *openFile) step() error {
	next, end, err := o.walker.next(o.cluster)
	if end {
		return corrupt("%s has %d bytes and its clusters end after %d", o.name, o.size, o.pos)
	}
	o.cluster = next
	return err
}

// An openDir is a directory that was opened as a file.
type openDir struct {
	node
	rest []fs.DirEntry
}

func (o *openDir) Stat() (fs.FileInfo, error) { return o.node, nil }
func (o *openDir) Close() error               { return nil }

func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.name, Err: errors.New("is a directory")}
}

// ReadDir implements [fs.ReadDirFile].
func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(o.rest) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(o.rest) {
		n = len(o.rest)
	}
	some := o.rest[:n]
	o.rest = o.rest[n:]
	return some, nil
}
