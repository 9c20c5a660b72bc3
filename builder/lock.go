package builder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"weft/builder/apt"
	"weft/builder/file"
	"weft/builder/plan"
	"weft/document"
)

// Request is what a plan asks of the Debian archive.
func Request(p plan.Plan) apt.Request {
	return apt.Request{
		Suite:      p.Board.Suite,
		Components: p.Board.Components,
		Arch:       p.Board.Arch,
		Kernel:     p.Kernel,
		Packages:   p.Packages,
	}
}

// lock reads the lock, or makes it when there is none.
func (o Options) lock(ctx context.Context) (*apt.Lock, error) {
	data, err := document.ReadFile(o.LockFile)
	if errors.Is(err, fs.ErrNotExist) {
		lock, err := o.Source.Resolve(ctx, Request(o.Plan))
		if err != nil {
			return nil, err
		}
		return lock, WriteLock(o.LockFile, lock)
	}
	if err != nil {
		return nil, err
	}
	return apt.ReadLock(o.LockFile, data)
}

// WriteLock writes a lock file, whole or not at all.
func WriteLock(path string, lock *apt.Lock) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return file.Write(path, func(f *os.File) error {
		_, err := f.Write(lock.Bytes())
		return err
	})
}

// Relock looks up what the plans need anew and returns a lock in which those
// packages replace the ones old has; other packages stay as they are. old may
// be nil.
func Relock(ctx context.Context, source *apt.Source, old *apt.Lock, plans ...plan.Plan) (*apt.Lock, error) {
	requests := make([]apt.Request, len(plans))
	for i, p := range plans {
		requests[i] = Request(p)
	}
	lock, err := source.Resolve(ctx, requests...)
	if err != nil {
		return nil, err
	}
	return merge(old, lock), nil
}

// merge is fresh with what old has beyond it.
func merge(old, fresh *apt.Lock) *apt.Lock {
	if old == nil {
		return fresh
	}
	merged := *fresh
	merged.Epoch = max(old.Epoch, fresh.Epoch)
	merged.Packages = slices.Clone(fresh.Packages)
	for _, e := range old.Packages {
		if !slices.ContainsFunc(fresh.Packages, func(f apt.Entry) bool { return replaces(f, e) }) {
			merged.Packages = append(merged.Packages, e)
		}
	}
	return &merged
}

// replaces reports whether f takes the place of e: it has the same name, or
// the same meta package leads to both, as to an old and a new kernel.
func replaces(f, e apt.Entry) bool {
	if f.Arch != e.Arch || f.Suite != e.Suite {
		return false
	}
	shared := func(name string) bool { return slices.Contains(e.For, name) }
	return f.Name == e.Name || slices.ContainsFunc(f.For, shared)
}
