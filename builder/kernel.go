package builder

import (
	"context"
	"io/fs"

	"weft/builder/apt"
	"weft/builder/apt/debfs"
	"weft/builder/kmod"
	"weft/document"
)

// OpenKernel fetches the kernel of a plan and opens it, for looking at it
// without building anything. Without a LockFile, or when there is none at its
// path, the newest kernel of the board's suite is taken, and no lock is
// written. The caller calls done in the end.
func OpenKernel(ctx context.Context, o Options) (k *kmod.Kernel, done func(), err error) {
	files, digest, closer, err := o.kernelFiles(ctx)
	if err != nil {
		return nil, nil, err
	}
	if k, err = o.openKernel(files, digest); err != nil {
		closer()
		return nil, nil, err
	}
	return k, closer, nil
}

// kernelFiles are the files of the plan's kernel, and a digest of them.
func (o Options) kernelFiles(ctx context.Context) (files fs.FS, digest string, done func(), err error) {
	if o.Plan.Kernel == "" {
		files, own, digest, err := o.ownKernel(ctx)
		if err != nil {
			return nil, "", nil, err
		}
		return files, digest, func() { own.Close() }, nil
	}
	request := Request(o.Plan)
	request.Packages, request.Closures = nil, nil
	entries, err := o.kernelEntries(ctx, request)
	if err != nil {
		return nil, "", nil, err
	}
	opened, err := o.Source.FetchAll(ctx, entries)
	if err != nil {
		return nil, "", nil, err
	}
	var parts []fs.FS
	for _, p := range opened {
		parts = append(parts, p)
	}
	return debfs.Union(parts...), digestEntries(entries), func() {
		for _, p := range opened {
			p.Close()
		}
	}, nil
}

// kernelEntries are the packages of a kernel, by the lock if there is one.
func (o Options) kernelEntries(ctx context.Context, request apt.Request) ([]apt.Entry, error) {
	if data, err := document.ReadFile(o.LockFile); o.LockFile != "" && err == nil {
		lock, err := apt.ReadLock(o.LockFile, data)
		if err != nil {
			return nil, err
		}
		kernel, _, err := lock.Select(request)
		return kernel, err
	}
	lock, err := o.Source.Resolve(ctx, request)
	if err != nil {
		return nil, err
	}
	kernel, _, err := lock.Select(request)
	return kernel, err
}
