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
	"weft/builder/userland"
	"weft/document"
)

// Request is what a plan asks of the Debian archive.
func Request(p plan.Plan) apt.Request {
	r := apt.Request{
		Suite:       p.Board.Suite,
		Components:  p.Board.Components,
		Arch:        p.Board.Arch,
		Kernel:      p.Kernel,
		KernelSuite: p.Board.Kernel.Suite,
		Packages:    p.Packages,
	}
	for _, u := range p.Userland {
		r.Closures = append(r.Closures, u.Name)
	}
	if len(r.Closures) > 0 {
		r.Without = userland.WithoutNames()
	}
	return r
}

// lock reads the lock, or makes it when there is none.
func (o Options) lock(ctx context.Context) (*apt.Lock, error) {
	data, err := document.ReadFile(o.LockFile)
	if errors.Is(err, fs.ErrNotExist) {
		lock, err := Relock(ctx, o.Source, nil, append([]plan.Plan{o.Plan}, o.Beside...)...)
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

// Pins reports whether a lock, which may be nil, has all that plans need.
func Pins(lock *apt.Lock, plans ...plan.Plan) bool {
	if lock == nil {
		return false
	}
	return !slices.ContainsFunc(plans, func(p plan.Plan) bool {
		_, _, err := lock.Select(Request(p))
		if err == nil {
			_, err = lock.Closure(Request(p))
		}
		return err != nil
	})
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
		// Something was asked for that led to it, and to what it leads now is
		// in the fresh lock.
		asked := slices.ContainsFunc(e.For, func(name string) bool { return leads(fresh, e, name) })
		left := slices.DeleteFunc(slices.Clone(e.For), func(name string) bool { return leads(fresh, e, name) })
		i := slices.IndexFunc(merged.Packages, func(f apt.Entry) bool {
			return f.Name == e.Name && f.Arch == e.Arch && f.Suite == e.Suite
		})
		switch {
		case i >= 0:
			// What was not asked for anew still needs it.
			f := &merged.Packages[i]
			f.For = slices.Compact(slices.Sorted(slices.Values(slices.Concat(f.For, left))))
		case !asked || len(left) > 0:
			e.For = left
			merged.Packages = append(merged.Packages, e)
		}
	}
	return &merged
}

// leads reports whether a package asked for by name, as a kernel's meta
// package or one that is wanted with all it needs, was looked up for a lock,
// in the suite and for the architecture of e.
func leads(l *apt.Lock, e apt.Entry, name string) bool {
	return slices.ContainsFunc(l.Packages, func(f apt.Entry) bool {
		return f.Arch == e.Arch && f.Suite == e.Suite && (f.Name == name || slices.Contains(f.For, name))
	})
}
