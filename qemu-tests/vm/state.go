package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	statePrefix = "weft-vm-"
	// stateAge is how old a directory must be before it is taken for left
	// behind; a younger one may be about to be locked.
	stateAge = time.Hour
)

// makeState makes a directory for one guest's files under parent, and removes
// what guests of programs that were killed have left there. The directory is
// locked while its guest lives, which is how others tell; release removes it.
func makeState(parent string, now time.Time) (dir string, release func(), err error) {
	removeStale(parent, now)
	dir, err = os.MkdirTemp(parent, statePrefix)
	if err != nil {
		return "", nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("state directory: %w", err), os.Remove(dir))
	}
	return dir, func() {
		_ = os.RemoveAll(dir) // what is left of it, the next start removes
		_ = lock.Close()
	}, nil
}

// removeStale removes old directories that nobody has locked.
func removeStale(parent string, now time.Time) {
	dirs, err := filepath.Glob(filepath.Join(parent, statePrefix+"*"))
	if err != nil {
		return // parent holds a pattern's characters; nothing depends on it
	}
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || now.Sub(info.ModTime()) < stateAge {
			continue
		}
		lock, err := lockDir(dir)
		if err != nil {
			continue // in use, or another user's
		}
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}
}

// lockDir locks a directory against every other lockDir, without waiting.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}
