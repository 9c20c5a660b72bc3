// Package cache keeps results that are costly to compute and follow entirely
// from their key: decompressed kernel modules, module metadata, a compressed
// initramfs.
//
// It is not the store of downloaded packages; that is package builder/apt. An
// entry may vanish at any time and nothing but time is lost.
package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A Dir is a cache in a folder. It is safe for use by several goroutines and
// several processes at once. Its zero value keeps nothing.
type Dir struct {
	path string
}

// Open returns the cache in the folder path, making the folder if needed.
func Open(path string) (Dir, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return Dir{}, fmt.Errorf("cache %s: %w", path, err)
	}
	return Dir{path: path}, nil
}

// Get returns what was put under key. An entry whose content no longer
// matches the checksum stored with it counts as absent and is removed.
func (d Dir) Get(key string) ([]byte, bool) {
	if d.path == "" {
		return nil, false
	}
	data, err := os.ReadFile(d.file(key))
	if err != nil || len(data) < sha256.Size {
		return nil, false
	}
	sum, value := data[:sha256.Size], data[sha256.Size:]
	if got := sha256.Sum256(value); string(got[:]) != string(sum) {
		os.Remove(d.file(key))
		return nil, false
	}
	return value, true
}

// Put stores value under key. A failure to store costs time later and nothing
// else, so there is no error to handle.
func (d Dir) Put(key string, value []byte) {
	if d.path == "" {
		return
	}
	sum := sha256.Sum256(value)
	d.write(d.file(key), append(sum[:], value...))
}

// write makes the file whole or not at all. It does not wait for the disk: a
// torn entry fails its checksum.
func (d Dir) write(name string, data []byte) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return
	}
	_, werr := tmp.Write(data)
	cerr := tmp.Close()
	if errors.Join(werr, cerr) != nil || os.Rename(tmp.Name(), name) != nil {
		os.Remove(tmp.Name())
	}
}

// file is where the entry of key lives. Keys are hashed: they may hold any
// byte and be of any length.
func (d Dir) file(key string) string {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:])
	return filepath.Join(d.path, name[:2], name)
}
