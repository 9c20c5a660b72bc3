package builder

import (
	"context"
	"io"
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
	files, closer, err := o.kernelFiles(ctx)
	if err != nil {
		return nil, nil, err
	}
	k, err = kmod.Open(files, kmod.WithCache(o.Results))
	if err != nil {
		closer()
		return nil, nil, document.Problems{o.Plan.BoardProblem("kernel", err.Error()).
			WithFix("name a package, file or folder that holds one kernel and its modules, laid out as Debian's packages are")}
	}
	return k, closer, nil
}

// kernelFiles are the files of the plan's kernel.
func (o Options) kernelFiles(ctx context.Context) (fs.FS, func(), error) {
	if o.Plan.Kernel == "" {
		files, own, _, err := o.ownKernel(ctx)
		if err != nil {
			return nil, nil, err
		}
		return files, func() { own.Close() }, nil
	}
	request := apt.Request{Suite: o.Plan.Board.Suite, Components: o.Plan.Board.Components, Arch: o.Plan.Board.Arch, Kernel: o.Plan.Kernel}
	entries, err := o.kernelEntries(ctx, request)
	if err != nil {
		return nil, nil, err
	}
	opened, err := o.Source.FetchAll(ctx, entries)
	if err != nil {
		return nil, nil, err
	}
	var closers []io.Closer
	var parts []fs.FS
	for _, p := range opened {
		closers, parts = append(closers, p), append(parts, p)
	}
	return debfs.Union(parts...), func() {
		for _, c := range closers {
			c.Close()
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
