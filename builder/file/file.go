// Package file writes files whole or not at all.
//
// Disk images are sparse and have a writer of their own in package disk.
package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write makes the file path by fill: beside it under another name, flushed to
// the disk and then renamed. path holds either what it held before or all
// that fill wrote; everybody may read it.
func Write(path string, fill func(*os.File) error) error { return write(path, 0o644, fill) }

// WritePrivate is [Write] of a file that only its owner may read.
func WritePrivate(path string, fill func(*os.File) error) error { return write(path, 0o600, fill) }

func write(path string, mode os.FileMode, fill func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	// CreateTemp makes files that only their owner reads.
	if err := errors.Join(fill(f), f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
