// Package debfs presents unpacked Debian packages as fs.FS: one package, or
// several merged into one tree.
//
// Symbolic links are followed within the tree, never out of it. /usr is
// merged: usr/lib/x and lib/x name the same file whichever of them the
// package lists, and walking the tree meets it once, under usr. Every file's
// SHA-256 is verified before its first byte is handed out.
package debfs

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"weft/builder/apt/deb"
	"weft/builder/apt/fault"
)

// Data holds the contents of a package's files; see [deb.Entry] for where in
// it each lies.
type Data interface {
	io.ReaderAt
	io.Closer
}

// A Package is the file tree of one package. Its methods may be called from
// several goroutines.
//
// Open returns files that are also io.ReaderAt and io.Seeker. The Sys of a
// file's FileInfo is its *[deb.Entry], whose SHA256 identifies the contents.
type Package struct {
	name    string
	entries []deb.Entry
	index   map[string]int
	heal    func() (Data, error)

	data     atomic.Pointer[Data]
	verified []atomic.Bool

	mu     sync.Mutex // guards what follows, and serialises healing
	opened []Data

	childrenOnce sync.Once
	children     map[string][]int
}

var (
	_ fs.ReadDirFS  = (*Package)(nil)
	_ fs.ReadFileFS = (*Package)(nil)
	_ fs.StatFS     = (*Package)(nil)
	_ fs.ReadLinkFS = (*Package)(nil)
)

// New returns the tree of entries, sorted by path as [deb.Unpack] returns
// them, over data. name says which package it is in errors. heal is called
// when contents do not match their checksum: it makes the data anew, or
// fails. With a nil heal such a file cannot be read.
func New(name string, entries []deb.Entry, data Data, heal func() (Data, error)) *Package {
	p := &Package{
		name:     name,
		entries:  entries,
		index:    make(map[string]int, len(entries)),
		heal:     heal,
		verified: make([]atomic.Bool, len(entries)),
		opened:   []Data{data},
	}
	p.data.Store(&data)
	for i := range entries {
		p.index[entries[i].Path] = i
	}
	return p
}

// Name is the name the package was made with.
func (p *Package) Name() string { return p.name }

// Close releases the data. Files opened from p can no longer be read.
func (p *Package) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var first error
	for _, d := range p.opened {
		if err := d.Close(); err != nil && first == nil {
			first = err
		}
	}
	p.opened = nil
	return first
}

// Open opens a file or directory, following symbolic links.
func (p *Package) Open(name string) (fs.File, error) {
	i, err := p.find("open", name, true)
	if err != nil {
		return nil, err
	}
	info := p.info(name, i)
	if info.IsDir() {
		return &dir{info: info, list: func() ([]fs.DirEntry, error) { return p.list(i), nil }}, nil
	}
	return &file{p: p, i: i, info: info}, nil
}

// ReadFile returns the contents of a file, following symbolic links.
func (p *Package) ReadFile(name string) ([]byte, error) {
	i, err := p.find("read", name, true)
	if err != nil {
		return nil, err
	}
	if i < 0 || !p.entries[i].Mode.IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errNoFile}
	}
	buf := make([]byte, p.entries[i].Size)
	if err := p.readAll(i, buf); err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return buf, nil
}

// ReadDir lists a directory by name, following symbolic links.
func (p *Package) ReadDir(name string) ([]fs.DirEntry, error) {
	i, err := p.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if i >= 0 && !p.entries[i].Mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNoDir}
	}
	return p.list(i), nil
}

// Stat describes a file, following symbolic links.
func (p *Package) Stat(name string) (fs.FileInfo, error) {
	i, err := p.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return p.info(name, i), nil
}

// Lstat describes a file. A symbolic link that name itself is is not
// followed.
func (p *Package) Lstat(name string) (fs.FileInfo, error) {
	i, err := p.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return p.info(name, i), nil
}

// ReadLink returns the target of a symbolic link. It is relative to the
// link's directory and stays inside the tree.
func (p *Package) ReadLink(name string) (string, error) {
	i, err := p.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if i < 0 || p.entries[i].Mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return p.entries[i].Link, nil
}

// find returns the number of the entry that name leads to, -1 being the root.
func (p *Package) find(op, name string, follow bool) (int, error) {
	if !fs.ValidPath(name) {
		return 0, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if i, ok := p.index[name]; ok && (!follow || p.entries[i].Mode&fs.ModeSymlink == 0) {
		return i, nil
	}
	real, err := resolve(name, follow, p.lookup)
	if err != nil {
		return 0, &fs.PathError{Op: op, Path: name, Err: err}
	}
	if real == "." {
		return -1, nil
	}
	return p.index[real], nil
}

// lookup is what resolve asks about one path without links before its end.
func (p *Package) lookup(name string) (mode fs.FileMode, target string, ok bool) {
	i, ok := p.index[name]
	if !ok {
		return 0, "", false
	}
	return p.entries[i].Mode, p.entries[i].Link, true
}

// info describes entry i under the last element of name.
func (p *Package) info(name string, i int) fileInfo {
	if i < 0 {
		return fileInfo{name: path.Base(name), mode: fs.ModeDir | 0o755}
	}
	return fileInfo{name: path.Base(name), mode: p.entries[i].Mode, entry: &p.entries[i]}
}

// list returns the children of directory i by name.
func (p *Package) list(i int) []fs.DirEntry {
	p.childrenOnce.Do(p.listChildren)
	name := "."
	if i >= 0 {
		name = p.entries[i].Path
	}
	list := make([]fs.DirEntry, 0, len(p.children[name]))
	for _, c := range p.children[name] {
		list = append(list, fs.FileInfoToDirEntry(p.info(p.entries[c].Path, c)))
	}
	return list
}

// listChildren groups the entries by directory. The entries are sorted by
// path, so each group is sorted by name.
func (p *Package) listChildren() {
	p.children = make(map[string][]int)
	for i := range p.entries {
		parent := "."
		if cut := strings.LastIndexByte(p.entries[i].Path, '/'); cut >= 0 {
			parent = p.entries[i].Path[:cut]
		}
		p.children[parent] = append(p.children[parent], i)
	}
}

// readAll fills buf with the whole of file i, and verifies it.
func (p *Package) readAll(i int, buf []byte) error {
	return p.attempt(i, func(data Data, e *deb.Entry) bool {
		if _, err := data.ReadAt(buf, e.Offset); err != nil && (err != io.EOF || len(buf) > 0) {
			return false
		}
		return sha256.Sum256(buf) == e.SHA256
	})
}

// verify makes sure that file i has the contents it was packaged with. Only
// the first call for a file reads it.
func (p *Package) verify(i int) error {
	if p.verified[i].Load() {
		return nil
	}
	return p.attempt(i, func(data Data, e *deb.Entry) bool {
		sum := sha256.New()
		n, err := io.Copy(sum, io.NewSectionReader(data, e.Offset, e.Size))
		return err == nil && n == e.Size && [32]byte(sum.Sum(nil)) == e.SHA256
	})
}

// attempt runs good, which tells whether file i reads as it should; if not,
// the data is made anew and good runs once more.
func (p *Package) attempt(i int, good func(Data, *deb.Entry) bool) error {
	e := &p.entries[i]
	data := p.data.Load()
	if !good(*data, e) {
		if err := p.renew(data); err != nil {
			return &fault.Error{Kind: fault.Rotten, File: p.name + ": " + e.Path,
				Reason: "the cached contents do not match their SHA-256", Err: err,
				Fix: "run the build again; if it happens again, check the disk that holds the cache"}
		}
		if !good(*p.data.Load(), e) {
			return fault.New(fault.Rotten, p.name+": "+e.Path,
				"the cached contents do not match their SHA-256, even unpacked anew",
				"check the disk and the memory of this machine")
		}
	}
	p.verified[i].Store(true)
	return nil
}

// renew replaces the data bad, unless another goroutine already has.
func (p *Package) renew(bad *Data) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.data.Load() != bad {
		return nil
	}
	if p.heal == nil {
		return fmt.Errorf("no way to unpack it anew")
	}
	data, err := p.heal()
	if err != nil {
		return err
	}
	for i := range p.verified {
		p.verified[i].Store(false)
	}
	p.opened = append(p.opened, data)
	p.data.Store(&data)
	return nil
}
