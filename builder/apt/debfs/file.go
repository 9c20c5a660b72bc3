package debfs

import (
	"errors"
	"io"
	"io/fs"
	"time"

	"weft/builder/apt/deb"
)

// fileInfo describes an entry, or a directory that is none: the root.
type fileInfo struct {
	name  string
	mode  fs.FileMode
	entry *deb.Entry
}

func (i fileInfo) Name() string      { return i.name }
func (i fileInfo) Mode() fs.FileMode { return i.mode }
func (i fileInfo) IsDir() bool       { return i.mode.IsDir() }

func (i fileInfo) Size() int64 {
	if i.entry == nil {
		return 0
	}
	return i.entry.Size
}

func (i fileInfo) ModTime() time.Time {
	if i.entry == nil {
		return time.Time{}
	}
	return i.entry.ModTime
}

// Sys returns the *deb.Entry, or nil for the root.
func (i fileInfo) Sys() any {
	if i.entry == nil {
		return nil
	}
	return i.entry
}

// file is an open regular file, or a link whose target is not there.
type file struct {
	p    *Package
	i    int
	info fileInfo
	at   int64
}

var (
	_ io.ReaderAt = (*file)(nil)
	_ io.Seeker   = (*file)(nil)
)

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

// Read reads on from where the last Read or Seek ended.
func (f *file) Read(b []byte) (int, error) {
	n, err := f.ReadAt(b, f.at)
	f.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt reads from an offset. The first read of a file verifies all of it.
func (f *file) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.info.entry.Path, Err: fs.ErrInvalid}
	}
	if err := f.p.verify(f.i); err != nil {
		return 0, &fs.PathError{Op: "read", Path: f.info.entry.Path, Err: err}
	}
	left := f.info.entry.Size - off
	if left <= 0 {
		return 0, io.EOF
	}
	short := int64(len(b)) > left
	if short {
		b = b[:left]
	}
	n, err := (*f.p.data.Load()).ReadAt(b, f.info.entry.Offset+off)
	if err == io.EOF && n == len(b) {
		err = nil
	}
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// Seek sets where the next Read begins.
func (f *file) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.info.entry.Size
	}
	if offset < 0 {
		return 0, &fs.PathError{Op: "seek", Path: f.info.entry.Path, Err: fs.ErrInvalid}
	}
	f.at = offset
	return offset, nil
}

// dir is an open directory.
type dir struct {
	info fs.FileInfo
	list func() ([]fs.DirEntry, error)
	rest []fs.DirEntry
	read bool
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *dir) Close() error               { return nil }

func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.Name(), Err: errNoFile}
}

// ReadDir returns the next n entries, all of them if n is not positive.
func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.read {
		list, err := d.list()
		if err != nil {
			return nil, err
		}
		d.rest, d.read = list, true
	}
	if n <= 0 || n > len(d.rest) {
		if n > 0 && len(d.rest) == 0 {
			return nil, io.EOF
		}
		n = len(d.rest)
	}
	list := d.rest[:n:n]
	d.rest = d.rest[n:]
	return list, nil
}

// missing tells whether err says only that there is no such file.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
