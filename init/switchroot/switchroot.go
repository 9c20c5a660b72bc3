// Package switchroot leaves the initramfs for the real root.
//
// It does what switch_root(8) does: moves the mounts, frees the initramfs,
// puts the new root over the old and starts the program there. pivot_root(2)
// cannot leave an initramfs, and containers need a root they can pivot.
package switchroot

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Moved are the mounts that go along, each to the same path of the new root.
var Moved = []string{"/dev", "/proc", "/sys", "/run"}

// InInitramfs reports whether the root is the kernel's first one, where an
// initramfs is unpacked: ramfs or tmpfs, told by their magic numbers
// (include/uapi/linux/magic.h).
func InInitramfs() (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs("/", &st); err != nil {
		return false, fmt.Errorf("statfs /: %w", err)
	}
	return uint32(st.Type) == unix.RAMFS_MAGIC || uint32(st.Type) == unix.TMPFS_MAGIC, nil
}

// Into makes newRoot the root. Afterwards the process is in it and the
// initramfs is empty; only the running program's own pages remain of it.
func Into(newRoot string) error {
	for _, m := range Moved {
		if err := unix.Mount(m, filepath.Join(newRoot, m), "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("switch root: move %s: %w", m, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat("/", &st); err != nil {
		return fmt.Errorf("switch root: %w", err)
	}
	// What cannot be removed costs memory, nothing else.
	_ = Empty("/", st.Dev)
	if err := os.Chdir(newRoot); err != nil {
		return fmt.Errorf("switch root: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("switch root: move %s to /: %w", newRoot, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("switch root: chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("switch root: %w", err)
	}
	return nil
}

// Empty removes everything below dir that lies on device dev; mount points
// and what is in them stay. It returns the first error and goes on.
func Empty(dir string, dev uint64) error {
	entries, first := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Dev != dev {
			continue
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			if err := Empty(path, dev); err != nil && first == nil {
				first = err
			}
		}
		// A directory that still holds a mount point stays; that is expected.
		if err := os.Remove(path); err != nil && first == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			first = err
		}
	}
	return first
}
