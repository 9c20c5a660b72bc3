// Package keep writes files so that pulling the plug leaves either the old
// content or the new, never half of it.
package keep

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Unfinished ends the name of a file that is being written.
const Unfinished = ".new"

// Sweep removes the unfinished files in dir, which a power cut left there, and
// returns their names. It must run before anybody writes there.
func Sweep(dir string) (removed []string, err error) {
	found, err := filepath.Glob(filepath.Join(dir, "*"+Unfinished))
	if err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	var errs []error
	for _, path := range found {
		if err := os.Remove(path); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, path)
	}
	return removed, errors.Join(errs...)
}

// Write replaces the file at path with data: a temporary file beside it is
// written, synced and renamed over it, then the directory is synced. Only one
// writer of a path may be at work at a time.
func Write(path string, data []byte, mode fs.FileMode) (err error) {
	tmp := path + Unfinished
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("keep %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	_, werr := f.Write(data)
	// The mode is set apart from the creation so that it does not depend on
	// the umask or on a leftover temporary file.
	cerr := f.Chmod(mode)
	serr := f.Sync()
	if err := errors.Join(werr, cerr, serr, f.Close()); err != nil {
		return fmt.Errorf("keep %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("keep %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the entries of a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("keep: sync directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("keep: sync directory %s: %w", path, err)
	}
	return nil
}

// ErrTooLong says that a file is longer than its reader allows.
var ErrTooLong = errors.New("file is too long")

// Read returns the content of a file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: %w (limit %d bytes)", path, ErrTooLong, limit)
	}
	return data, nil
}
