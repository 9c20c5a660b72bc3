package builder

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"weft/builder/apt"
	"weft/builder/image"
	"weft/builder/kmod"
	"weft/document"
	"weft/profiles"
)

// check applies the rules about profiles with what is known of the kernel and
// of the programs by now. Errors are returned, warnings told. A kernel of
// another architecture, and modules that are missing, are left to
// [image.Write], which says more of them.
func (o Options) check(in image.Input) error {
	if in.Kernel.Arch != o.Plan.Board.Arch {
		return nil
	}
	facts, err := in.Facts()
	if err != nil {
		return err
	}
	problems := slices.DeleteFunc(o.Plan.Check(facts), func(p document.Problem) bool { return p.Rule == image.RuleKernel })
	problems, _ = profiles.Silence(problems, o.Overrides, func(document.Problem) bool { return false })
	if problems.Errors() != nil {
		return problems
	}
	if o.Warn == nil || len(problems) == 0 {
		return nil
	}
	return o.Warn(problems)
}

// Check opens the kernel of a plan and the packages it takes programs from,
// and returns what breaks a rule there that is not known to be broken from the
// files alone. Nothing is built, and no lock is written. Without a LockFile, or
// when there is none at its path, the newest packages of the board's suite are
// taken.
func Check(ctx context.Context, o Options) (document.Problems, error) {
	lock, err := o.readLock(ctx)
	if err != nil {
		return nil, err
	}
	in := image.Input{Plan: o.Plan, Packages: map[string]fs.FS{}, Cache: o.Results}
	closeAll, err := o.fetch(ctx, lock, &in)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	if in.Kernel, err = o.openKernel(in.KernelFiles, in.KernelDigest); err != nil {
		return nil, err
	}
	facts, err := in.Facts()
	if err != nil {
		return nil, err
	}
	return o.Plan.Check(facts), nil
}

// readLock reads the lock, or looks up what would be in it.
func (o Options) readLock(ctx context.Context) (*apt.Lock, error) {
	data, err := document.ReadFile(o.LockFile)
	switch {
	case o.LockFile == "" || errors.Is(err, fs.ErrNotExist):
		return o.Source.Resolve(ctx, Request(o.Plan))
	case err != nil:
		return nil, err
	}
	return apt.ReadLock(o.LockFile, data)
}

// openKernel opens the kernel that lies in files, whose content digest names.
func (o Options) openKernel(files fs.FS, digest string) (*kmod.Kernel, error) {
	k, err := kmod.Open(files, kmod.WithCache(o.Results), kmod.WithDigest(digest))
	if err != nil {
		return nil, document.Problems{o.Plan.BoardProblem("kernel", err.Error()).
			WithFix("name a package, file or folder that holds one kernel and its modules, laid out as Debian's packages are; links that lead out of a folder are not followed")}
	}
	return k, nil
}
