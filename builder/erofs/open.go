package erofs

import (
	"fmt"
	"io"
	"io/fs"

	erofs "github.com/erofs/go-erofs"
)

// Open reads a file system, to look into an image. The result also implements
// [fs.ReadLinkFS]. Opening a name follows symbolic links within the image. The
// Sys method of a [fs.FileInfo] gives go-erofs' *Stat with the owner and the
// device numbers. Damage is reported when it is met, not all at once.
func Open(r io.ReaderAt) (fs.FS, error) {
	lib, err := erofs.Open(r)
	if err != nil {
		return nil, fmt.Errorf("erofs: not a file system this program can read: %w", err)
	}
	full, ok := lib.(fullFS)
	if !ok {
		return nil, fmt.Errorf("erofs: go-erofs gave a %T that lacks methods of io/fs", lib)
	}
	return view{full}, nil
}

// fullFS is what the library's file system can do.
type fullFS interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	fs.ReadLinkFS
}

// A view keeps the promises of package fs that the library does not: names
// that are not valid are refused, and modes have the bits of [fs.FileMode].
type view struct{ lib fullFS }

var _ fullFS = view{}

// valid refuses names that package fs does not allow.
func valid(op, name string) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return nil
}

func (v view) Open(name string) (fs.File, error) {
	if err := valid("open", name); err != nil {
		return nil, err
	}
	f, err := v.lib.Open(name)
	if err != nil {
		return nil, err
	}
	if d, ok := f.(fs.ReadDirFile); ok {
		return viewDir{d}, nil
	}
	return viewFile{f}, nil
}

func (v view) ReadFile(name string) ([]byte, error) {
	if err := valid("read", name); err != nil {
		return nil, err
	}
	return v.lib.ReadFile(name)
}

func (v view) ReadLink(name string) (string, error) {
	if err := valid("readlink", name); err != nil {
		return "", err
	}
	return v.lib.ReadLink(name)
}

func (v view) Stat(name string) (fs.FileInfo, error) {
	if err := valid("stat", name); err != nil {
		return nil, err
	}
	return viewed(v.lib.Stat(name))
}

func (v view) Lstat(name string) (fs.FileInfo, error) {
	if err := valid("lstat", name); err != nil {
		return nil, err
	}
	return viewed(v.lib.Lstat(name))
}

func (v view) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := valid("readdir", name); err != nil {
		return nil, err
	}
	entries, err := v.lib.ReadDir(name)
	return viewedEntries(entries), err
}

// A viewFile is a file with a right mode.
type viewFile struct{ fs.File }

func (f viewFile) Stat() (fs.FileInfo, error) { return viewed(f.File.Stat()) }

// A viewDir is a directory whose entries have right modes.
type viewDir struct{ fs.ReadDirFile }

func (d viewDir) Stat() (fs.FileInfo, error) { return viewed(d.ReadDirFile.Stat()) }

func (d viewDir) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := d.ReadDirFile.ReadDir(n)
	return viewedEntries(entries), err
}

// A viewEntry is a directory entry whose info has a right mode.
type viewEntry struct{ fs.DirEntry }

func (e viewEntry) Info() (fs.FileInfo, error) { return viewed(e.DirEntry.Info()) }

// viewedEntries wraps what the library lists.
func viewedEntries(entries []fs.DirEntry) []fs.DirEntry {
	for i, e := range entries {
		entries[i] = viewEntry{e}
	}
	return entries
}

// A viewInfo takes the mode from where the library has it right.
type viewInfo struct{ fs.FileInfo }

func (i viewInfo) Mode() fs.FileMode {
	if st, ok := i.Sys().(*erofs.Stat); ok {
		return st.Mode
	}
	return i.FileInfo.Mode()
}

// viewed wraps what the library says about a file.
func viewed(info fs.FileInfo, err error) (fs.FileInfo, error) {
	if err != nil {
		return nil, err
	}
	return viewInfo{info}, nil
}
