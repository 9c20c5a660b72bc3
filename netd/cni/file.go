// Package cni writes the files by which container runtimes and flannel's
// tools learn of the pod network: a CNI configuration list and flannel's
// subnet.env.
//
// What the files say are plain functions over values; this package runs no
// plugin.
package cni

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile makes the file at path hold data, in one step: a reader sees the
// old file or the new one, also after a power cut. It reports whether
// anything was written; a file that already holds data is left alone, since
// runtimes reload their network when it is touched.
func WriteFile(path string, data []byte) (written bool, err error) {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
		return false, nil
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	// CNI runtimes read every file of the folder that ends in .conf, .json or
	// .conflist; a name that starts with a dot and ends otherwise is safe. It
	// is always the same, so that a power cut leaves one at most.
	tmp := filepath.Join(dir, "."+filepath.Base(path)+".tmp")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	file, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp) // fails when the rename has succeeded
	_, err = file.Write(data)
	err = cmp.Or(err, file.Chmod(0o644), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	return true, nil
}

// syncDir makes a rename in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
