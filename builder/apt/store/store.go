// Package store is the cache of Debian packages on disk: what was downloaded,
// and what was unpacked from it, by SHA-256.
//
// An object is made under a temporary name and renamed when it is whole, so
// that none is ever seen half made, even after kill -9. A file lock for each
// object lets several builds share the cache. What was left by dead builds is
// swept when the cache is opened. It does not download anything itself, and
// it never deletes whole objects to save space.
//
// The folder holds
//
//	downloads/SHA256         a verified file as the mirror had it
//	downloads/SHA256.part    the beginning of one, to be resumed
//	objects/FORMAT-SHA256/   an unpacked package: data and index
//	derived/NAME             other files made from downloads
//	tmp/SHA256/              an object in the making
//	locks/NAME               the locks
package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The folders of a store.
const (
	downloads = "downloads"
	objects   = "objects"
	derived   = "derived"
	tmp       = "tmp"
	locks     = "locks"
)

// partAge is how long the beginning of a download is kept for resuming.
const partAge = 7 * 24 * time.Hour

// A Store is a cache folder. Its methods may be called from several
// goroutines, and several processes may use one folder.
type Store struct {
	dir string
	log *slog.Logger
}

// Dir is the folder of the cache: override if it is not empty, else the
// folder weft in the user's cache folder.
func Dir(override string) (string, error) {
	if override != "" {
		return filepath.Abs(override)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w\nfix: set WEFT_CACHE to a folder you can write", err)
	}
	return filepath.Join(base, "weft"), nil
}

// Open opens the cache in the folder dir, makes it if needed, and sweeps what
// dead builds left. now tells the age of abandoned downloads; a nil log
// discards.
func Open(dir string, now time.Time, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Store{dir: dir, log: log}
	for _, sub := range []string{downloads, objects, derived, tmp, locks} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("make the package cache: %w\nfix: set WEFT_CACHE to a folder you can write", err)
		}
	}
	if err := s.sweep(now); err != nil {
		return nil, fmt.Errorf("sweep the package cache: %w", err)
	}
	return s, nil
}

// sweep removes objects in the making whose maker is dead, and old beginnings
// of downloads. What another build is working on is locked, and stays.
func (s *Store) sweep(now time.Time) error {
	made, err := os.ReadDir(filepath.Join(s.dir, tmp))
	if err != nil {
		return err
	}
	for _, e := range made {
		key, _, _ := strings.Cut(e.Name(), ".")
		if unlock, ok := s.tryLock(key); ok {
			err := os.RemoveAll(filepath.Join(s.dir, tmp, e.Name()))
			unlock()
			if err != nil {
				return err
			}
		}
	}
	files, err := os.ReadDir(filepath.Join(s.dir, downloads))
	if err != nil {
		return err
	}
	for _, e := range files {
		key, part, _ := strings.Cut(e.Name(), ".")
		info, err := e.Info()
		if part == "" || err != nil || now.Sub(info.ModTime()) < partAge {
			continue
		}
		if unlock, ok := s.tryLock(key); ok {
			os.Remove(filepath.Join(s.dir, downloads, e.Name()))
			unlock()
		}
	}
	return nil
}

// Fetch is how a file that the store lacks gets there: it writes it to the
// path part, going on from what is already there, and returns nil only if the
// contents are verified.
type Fetch func(ctx context.Context, part string) error

// download returns the path of the verified file with the checksum sum. The
// caller holds the lock of sum. A file that is already there is verified
// again, since it may have lain there for months; one that is rotten is
// fetched anew.
func (s *Store) download(ctx context.Context, sum [32]byte, fetch Fetch) (string, error) {
	path := filepath.Join(s.dir, downloads, hex.EncodeToString(sum[:]))
	switch err := verifyFile(path, sum); {
	case err == nil:
		return path, nil
	case errors.Is(err, errRotten):
		s.log.Warn("a cached download does not match its SHA-256; fetching it anew", "file", path)
		if err := os.Remove(path); err != nil {
			return "", fmt.Errorf("remove a rotten download: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	if fetch == nil {
		return "", fmt.Errorf("%s is not in the cache", filepath.Base(path))
	}
	part := path + ".part"
	if err := fetch(ctx, part); err != nil {
		return "", err
	}
	if err := os.Rename(part, path); err != nil {
		return "", fmt.Errorf("keep a download: %w", err)
	}
	return path, nil
}

// errRotten: a file does not have the checksum in its name.
var errRotten = errors.New("contents do not match the checksum")

// verifyFile checks the contents of the file at path.
func verifyFile(path string, sum [32]byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return fmt.Errorf("%w: %w", errRotten, err)
	}
	if [32]byte(hash.Sum(nil)) != sum {
		return errRotten
	}
	return nil
}

// Derived returns the contents of a file that follows from the download with
// the checksum sum. If the store lacks it, the download is fetched and make
// turns it, open and with its size, into the contents. name says what is
// made of it, and by which version of which rule; it is part of the file's
// name. The download is not kept. Contents that do not match their checksum
// are dropped and made anew.
func (s *Store) Derived(ctx context.Context, name string, sum [32]byte, fetch Fetch,
	make func(ctx context.Context, src *os.File, size int64, scratch *os.File) ([]byte, error)) ([]byte, error) {
	key := hex.EncodeToString(sum[:])
	path := filepath.Join(s.dir, derived, name+"-"+key)
	if data, ok := readSealed(path); ok {
		return data, nil
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if data, ok := readSealed(path); ok {
		return data, nil
	}
	file, err := s.download(ctx, sum, fetch)
	if err != nil {
		return nil, err
	}
	data, err := s.derive(ctx, key, file, make)
	if err != nil {
		return nil, err
	}
	if err := s.writeSealed(path, key, data); err != nil {
		return nil, fmt.Errorf("keep %s: %w", name, err)
	}
	if err := os.Remove(file); err != nil {
		return nil, fmt.Errorf("remove a used download: %w", err)
	}
	return data, nil
}

// derive runs make on file with a scratch file.
func (s *Store) derive(ctx context.Context, key, file string,
	make func(context.Context, *os.File, int64, *os.File) ([]byte, error)) ([]byte, error) {
	src, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return nil, err
	}
	name := filepath.Join(s.dir, tmp, key+".scratch")
	scratch, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	defer os.Remove(name)
	defer scratch.Close()
	return make(ctx, src, info.Size(), scratch)
}

// readSealed reads a file that begins with the checksum of the rest; ok tells
// whether it is there and sound.
func readSealed(path string) (data []byte, ok bool) {
	all, err := os.ReadFile(path)
	if err != nil || len(all) < sha256.Size {
		return nil, false
	}
	data = all[sha256.Size:]
	return data, sha256.Sum256(data) == [32]byte(all[:sha256.Size])
}

// writeSealed writes such a file, whole or not at all. The caller holds the
// lock of key.
func (s *Store) writeSealed(path, key string, data []byte) error {
	sum := sha256.Sum256(data)
	name := filepath.Join(s.dir, tmp, key+".sealed")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(sum[:])
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		os.Remove(name)
	}
	return err
}
