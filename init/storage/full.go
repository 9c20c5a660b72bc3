package storage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Usage is how much a directory holds.
type Usage struct {
	// Path is relative to the top, Bytes what its files take on the disk.
	Path  string
	Bytes int64
}

// Bounds of a look for what is largest: deep enough to tell the logs of pods
// from K3s's own (var/log/pods, var/lib/rancher), and no walk of a disk with
// millions of files.
const (
	usageDepth   = 3
	usageEntries = 200_000
)

// Largest lists the n directories below top that hold most, largest first.
// Each file counts to one: that usageDepth below top, or the one it is in when
// that is higher. It does not leave top's file system. Of a disk with very
// many files it looks at part; it goes on over what it cannot read.
func Largest(top string, n int) []Usage {
	var root unix.Stat_t
	if unix.Lstat(top, &root) != nil {
		return nil
	}
	sums := make(map[string]int64)
	seen := 0
	_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if seen++; seen > usageEntries {
			return filepath.SkipAll
		}
		var st unix.Stat_t
		if err != nil || unix.Lstat(path, &st) != nil {
			return nil // it went, or cannot be read
		}
		if st.Dev != root.Dev {
			return filepath.SkipDir
		}
		if rel, err := filepath.Rel(top, path); err == nil && !d.IsDir() {
			parts := strings.Split(filepath.Dir(rel), "/")
			sums[filepath.Join(parts[:min(len(parts), usageDepth)]...)] += st.Blocks * Sector
		}
		return nil
	})
	all := make([]Usage, 0, len(sums))
	for path, bytes := range sums {
		if bytes >= 1<<20 { // the rest would not help
			all = append(all, Usage{path, bytes})
		}
	}
	slices.SortFunc(all, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Path, b.Path))
	})
	return all[:min(len(all), n)]
}

// String is such as "var/log/pods 812 MiB".
func (u Usage) String() string { return fmt.Sprintf("%s %d MiB", u.Path, u.Bytes>>20) }

// Full reports whether a file system is so full that the node's own state is
// at risk: less than the reserve and 1 in 100 blocks is free, or hardly any
// file can be made. Kubelet begins to evict at 10 % free, long before.
func Full(st unix.Statfs_t) bool {
	if st.Bsize <= 0 || st.Blocks == 0 {
		return false
	}
	free := int64(st.Bavail) * st.Bsize
	return free < ReserveSize || st.Bavail < st.Blocks/100 || st.Files > 0 && st.Ffree < st.Files/200
}

// ReserveSize is how much room is kept for the node's own state, in bytes: its
// files are a few KiB, written whole beside the old ones.
const ReserveSize = 4 << 20

// Reserve takes the room at path, if it is not taken. The blocks are really
// allocated.
func Reserve(path string) error {
	if info, err := os.Stat(path); err == nil && info.Size() == ReserveSize {
		return nil // allocating again would write to the disk
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, ReserveSize)
	if err := errors.Join(err, f.Close()); err != nil {
		// Half a reserve would only take what others may need.
		return fmt.Errorf("reserve %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}

// Keep calls save. When that fails because the disk is full, the reserve at
// path is given up and save is called once more. It reports whether the
// reserve was needed.
func Keep(path string, save func() error) (full bool, err error) {
	err = save()
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return false, err
	}
	if rerr := os.Remove(path); rerr != nil {
		return true, err // it was given up before
	}
	return true, save()
}
