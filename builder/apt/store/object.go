package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"weft/builder/apt/deb"
	"weft/builder/apt/debfs"
	"weft/builder/apt/fault"
)

// healTime bounds how long a package found rotten while it is read may take
// to be made anew, downloading included.
const healTime = 10 * time.Minute

// An Item says which package is wanted and how to get it.
type Item struct {
	// Name is used in messages.
	Name string
	// SHA256 identifies the .deb file.
	SHA256 [32]byte
	// Limits bound what it unpacks to.
	Limits deb.Limits
	// Fetch gets the .deb file when the cache lacks it.
	Fetch Fetch
	// Unpacking is called when the package is about to be unpacked; it may
	// wait for its turn. It returns what is told the number of bytes written,
	// from several goroutines, and what is told the end. It may be nil.
	Unpacking func(context.Context) (written func(n int), done func(error), err error)
}

// Package returns the files of a package. Everything unpacked before, it
// costs reading the index. Otherwise the package is fetched, if need be, and
// unpacked. The caller closes it.
func (s *Store) Package(ctx context.Context, item Item) (*debfs.Package, error) {
	data, entries, err := s.openObject(item)
	if err != nil {
		if data, entries, err = s.makeObject(ctx, item, nil); err != nil {
			return nil, err
		}
	}
	current := data
	heal := func() (debfs.Data, error) {
		// The build's context may be over; reading goes on.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTime)
		defer cancel()
		s.log.Warn("a cached package has rotten; unpacking it anew", "package", item.Name)
		made, _, err := s.makeObject(ctx, item, current)
		if err != nil {
			return nil, err
		}
		current = made
		return made, nil
	}
	return debfs.New(item.Name, entries, data, heal), nil
}

// path is the folder of an unpacked package.
func (s *Store) path(item Item) string {
	return filepath.Join(s.dir, objects, format+"-"+hex.EncodeToString(item.SHA256[:]))
}

// openObject opens an unpacked package that is there and looks sound; the
// contents of its files are verified when they are read.
func (s *Store) openObject(item Item) (*os.File, []deb.Entry, error) {
	dir := s.path(item)
	index, err := os.ReadFile(filepath.Join(dir, "index"))
	if err != nil {
		return nil, nil, err
	}
	size, entries, err := decodeIndex(index, item.SHA256)
	if err != nil {
		return nil, nil, err
	}
	data, err := os.Open(filepath.Join(dir, "data"))
	if err != nil {
		return nil, nil, err
	}
	info, err := data.Stat()
	if err == nil && info.Size() != size {
		err = fmt.Errorf("data of %d bytes, want %d", info.Size(), size)
	}
	if err != nil {
		data.Close()
		return nil, nil, err
	}
	return data, entries, nil
}

// makeObject unpacks a package unless another build just did. rotten is the
// data of an object that must not be used again; nil if there is none.
func (s *Store) makeObject(ctx context.Context, item Item, rotten *os.File) (*os.File, []deb.Entry, error) {
	key := hex.EncodeToString(item.SHA256[:])
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	data, entries, err := s.openObject(item)
	if err == nil && !sameFile(data, rotten) {
		return data, entries, nil
	}
	if err == nil {
		data.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("a cached package is unusable; unpacking it anew", "package", item.Name, "reason", err)
	}
	if err := os.RemoveAll(s.path(item)); err != nil {
		return nil, nil, fmt.Errorf("drop the rotten cache object of %s: %w", item.Name, err)
	}
	file, err := s.download(ctx, item.SHA256, item.Fetch)
	if err != nil {
		return nil, nil, err
	}
	if err := s.unpack(ctx, item, key, file); err != nil {
		return nil, nil, err
	}
	return s.openObject(item)
}

// sameFile tells whether a and b are one file on disk.
func sameFile(a, b *os.File) bool {
	if a == nil || b == nil {
		return false
	}
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

// unpack makes the object of a package from its .deb file. The caller holds
// the lock, so the temporary folder is its own.
func (s *Store) unpack(ctx context.Context, item Item, key, file string) (err error) {
	work := filepath.Join(s.dir, tmp, key)
	if err := os.RemoveAll(work); err != nil {
		return fmt.Errorf("clear the temporary folder of %s: %w", item.Name, err)
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		return fmt.Errorf("unpack %s: %w", item.Name, err)
	}
	defer os.RemoveAll(work)

	written, done := func(int) {}, func(error) {}
	if item.Unpacking != nil {
		if written, done, err = item.Unpacking(ctx); err != nil {
			return fmt.Errorf("unpack %s: %w", item.Name, err)
		}
	}
	defer func() { done(err) }()

	src, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", item.Name, err)
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return fmt.Errorf("unpack %s: %w", item.Name, err)
	}
	var index []byte
	err = writeFile(filepath.Join(work, "data"), func(data *os.File) error {
		size, entries, err := deb.Unpack(ctx, data, src, info.Size(), item.Limits, written)
		index = encodeIndex(item.SHA256, size, entries)
		return err
	})
	if err == nil {
		err = writeFile(filepath.Join(work, "index"), func(f *os.File) error {
			_, err := f.Write(index)
			return err
		})
	}
	if err == nil {
		err = os.Rename(work, s.path(item))
	}
	if err != nil {
		return refused(item, err)
	}
	return nil
}

// refused turns what is wrong with a package into a fault.
func refused(item Item, err error) error {
	kind := fault.Malformed
	switch {
	case errors.Is(err, deb.ErrTooLarge):
		kind = fault.TooLarge
	case !errors.Is(err, deb.ErrFormat) && !errors.Is(err, deb.ErrUnsafe):
		return fmt.Errorf("unpack %s: %w", item.Name, err)
	}
	return &fault.Error{Kind: kind, File: "unpack " + item.Name, Reason: "it is refused", Err: err,
		Fix: "use another version of the package"}
}

// writeFile makes a file, has fill write it, and brings it to the disk.
func writeFile(path string, fill func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
