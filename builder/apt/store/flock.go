package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPoll is how often a held lock is tried again. flock(2) cannot be both
// waited for and cancelled, and those who wait do so for seconds.
const lockPoll = 20 * time.Millisecond

// lock takes the lock called key against all other users of the cache, in
// this process and in others, and returns how to release it. The kernel
// releases it when the process dies, however it dies.
func (s *Store) lock(ctx context.Context, key string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, locks, key), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock cache object %s: %w", key, err)
	}
	for told := false; ; {
		err := flock(f)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock cache object %s: %w", key, err)
		}
		if !told {
			s.log.Info("waiting for another build that makes the same cache object", "object", key)
			told = true
		}
		timer := time.NewTimer(lockPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			f.Close()
			return nil, fmt.Errorf("wait for cache object %s, which another build is making: %w", key, ctx.Err())
		case <-timer.C:
		}
	}
}

// tryLock takes the lock called key if nobody holds it.
func (s *Store) tryLock(key string) (unlock func(), ok bool) {
	f, err := os.OpenFile(filepath.Join(s.dir, locks, key), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, false
	}
	if flock(f) != nil {
		f.Close()
		return nil, false
	}
	return func() { f.Close() }, true
}

// flock locks an open file without waiting.
func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			return err
		}
	}
}
