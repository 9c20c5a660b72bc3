// Package builder turns a plan into a disk image: it pins packages in a lock,
// fetches them, opens the kernel, and has the image assembled.
//
// It is the order of a build and nothing else; each step lives in a package
// of its own below.
package builder

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weft/builder/apt"
	"weft/builder/apt/debfs"
	"weft/builder/apt/fault"
	"weft/builder/cache"
	"weft/builder/image"
	"weft/builder/payload"
	"weft/builder/plan"
	"weft/builder/userland"
	"weft/document"
	"weft/profiles"
)

// Options say how a plan is built.
type Options struct {
	// Plan is what is built.
	Plan plan.Plan
	// Source fetches packages.
	Source *apt.Source
	// Payloads fetches what the profile names by path or URL.
	Payloads *payload.Store
	// Results keeps what is costly to compute.
	Results cache.Dir
	// Program returns the node's programs; see [image.Input].
	Program func(arch, name string) ([]byte, error)
	// LockFile is the path of the lock; it is made when it does not exist.
	LockFile string
	// Beside are other plans that are built from the same lock: one that is
	// made pins what all of them need, for each architecture.
	Beside []plan.Plan
	// Epoch replaces the lock's when not nil, in seconds since 1970.
	Epoch *int64
	// BaseDir is what relative kernel paths of the board are relative to.
	BaseDir string
	// Out is the path of the image.
	Out string
	// Overrides are those of the cluster that the image is for, beside those
	// of its profile.
	Overrides []profiles.Override
	// Warn is told what does not stop the build; nil to hear nothing.
	Warn func(document.Problems) error
}

// Build builds the image of a plan. It is written whole or not at all.
func Build(ctx context.Context, o Options) (image.Result, error) {
	payloads, err := o.payloads(ctx)
	if err != nil {
		return image.Result{}, err
	}
	lock, err := o.lock(ctx)
	if err != nil {
		return image.Result{}, err
	}
	in := image.Input{
		Plan:     o.Plan,
		Packages: map[string]fs.FS{},
		Epoch:    time.Unix(lock.Epoch, 0).UTC(),
		Program:  o.Program,
		Cache:    o.Results,
		Payloads: payloads,
	}
	for _, f := range payloads {
		in.Digests = append(in.Digests, fmt.Sprintf("payload %s %x", f.To, f.Content.Digest()))
	}
	if o.Epoch != nil {
		in.Epoch = time.Unix(*o.Epoch, 0).UTC()
	}
	in.Digests = append(in.Digests, fmt.Sprint("epoch ", in.Epoch.Unix()))
	closeAll, err := o.fetch(ctx, lock, &in)
	if err != nil {
		return image.Result{}, err
	}
	defer closeAll()
	if err := o.addOverlays(&in); err != nil {
		return image.Result{}, err
	}
	for _, name := range []string{"init", "netd"} {
		program, err := o.Program(o.Plan.Board.Arch, name)
		if err != nil {
			return image.Result{}, err
		}
		in.Digests = append(in.Digests, fmt.Sprintf("%s %x", name, sha256.Sum256(program)))
	}
	if in.Kernel, err = o.openKernel(in.KernelFiles, in.KernelDigest); err != nil {
		return image.Result{}, err
	}
	if err := o.check(in); err != nil {
		return image.Result{}, err
	}
	return image.Write(ctx, in, o.Out)
}

// Fetch makes the lock when there is none, and downloads and unpacks what it
// names; a later [Build] needs no network.
func Fetch(ctx context.Context, o Options) error {
	if _, err := o.payloads(ctx); err != nil {
		return err
	}
	lock, err := o.lock(ctx)
	if err != nil {
		return err
	}
	closeAll, err := o.fetch(ctx, lock, &image.Input{Packages: map[string]fs.FS{}})
	if err != nil {
		return err
	}
	closeAll()
	return nil
}

// fetch puts the plan's packages into in. The caller closes them.
func (o Options) fetch(ctx context.Context, lock *apt.Lock, in *image.Input) (closeAll func(), err error) {
	kernel, packages, err := lock.Select(Request(o.Plan))
	if err != nil {
		return nil, err
	}
	closures, err := lock.Closure(Request(o.Plan))
	if err != nil {
		return nil, err
	}
	entries := slices.Concat(kernel, packages)
	for _, e := range closures {
		if !slices.ContainsFunc(entries, func(o apt.Entry) bool { return o.Name == e.Name }) {
			entries = append(entries, e)
		}
	}
	opened, err := o.Source.FetchAll(ctx, entries)
	if err != nil {
		return nil, err
	}
	var own io.Closer
	closeAll = func() {
		for _, p := range opened {
			p.Close()
		}
		if own != nil {
			own.Close()
		}
	}
	for _, e := range closures {
		i := slices.IndexFunc(entries, func(o apt.Entry) bool { return o.Name == e.Name })
		in.Userland = append(in.Userland, userland.Package{Name: e.Name, SHA256: e.SHA256, Files: opened[i]})
	}
	var parts []fs.FS
	for i, e := range entries {
		in.Packages[e.Name] = opened[i]
		in.Digests = append(in.Digests, e.Name+" "+e.SHA256)
		if i < len(kernel) {
			parts = append(parts, opened[i])
		}
	}
	if len(kernel) > 0 {
		in.KernelFiles, in.KernelDigest = debfs.Union(parts...), digestEntries(kernel)
		return closeAll, nil
	}
	var digest string
	if in.KernelFiles, own, digest, err = o.ownKernel(ctx); err != nil {
		closeAll()
		return nil, err
	}
	in.KernelDigest = digest
	in.Digests = append(in.Digests, "kernel "+digest)
	if p, ok := in.KernelFiles.(*debfs.Package); ok {
		// Its copyright file is named for the package it was made as.
		in.Packages["kernel"] = p
	}
	return closeAll, nil
}

// ownKernel opens a kernel that a person brings, as a .deb file or a folder,
// and returns a digest of its content. The caller closes it.
func (o Options) ownKernel(ctx context.Context) (fs.FS, io.Closer, string, error) {
	if o.Plan.Board.Kernel.Deb != "" {
		return o.kernelDeb(ctx, o.path(o.Plan.Board.Kernel.Deb))
	}
	return o.kernelDir(o.path(o.Plan.Board.Kernel.Dir))
}

// kernelDeb opens a .deb file.
func (o Options) kernelDeb(ctx context.Context, path string) (fs.FS, io.Closer, string, error) {
	digest, err := digestFile(path)
	if err != nil {
		return nil, nil, "", o.kernelProblem("kernel.deb", err)
	}
	files, err := o.Source.Deb(ctx, path)
	if err != nil {
		return nil, nil, "", o.kernelProblem("kernel.deb", err)
	}
	return files, files, digest, nil
}

// kernelDir opens a folder. Links that lead out of it are not followed: what
// they lead to would not be in the digest.
func (o Options) kernelDir(path string) (fs.FS, io.Closer, string, error) {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return nil, nil, "", o.kernelProblem("kernel.dir", fmt.Errorf("%s is no folder: %w", path, fs.ErrInvalid))
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, nil, "", o.kernelProblem("kernel.dir", err)
	}
	digest, err := digestFolder(root.FS())
	if err != nil {
		root.Close()
		return nil, nil, "", o.kernelProblem("kernel.dir", fmt.Errorf("%s: %w", path, err))
	}
	return root.FS(), root, digest, nil
}

// path is a path of the board file seen from here.
func (o Options) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(o.BaseDir, name)
}

// kernelProblem points an error at the board's line that led to it. Faults of
// the disk stay what they are.
func (o Options) kernelProblem(key string, err error) error {
	var broken *fault.Error
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid):
		return document.Problems{o.Plan.BoardProblem(key, err.Error()).
			WithFix("name the path of a kernel; it is relative to the board file")}
	case errors.As(err, &broken) && broken.Kind != fault.Rotten:
		message, fix, _ := strings.Cut(err.Error(), "\nfix: ")
		return document.Problems{o.Plan.BoardProblem(key, message).WithFix(fix)}
	}
	return fmt.Errorf("board %s: %s: %w", o.Plan.Board.Name, key, err)
}

// digestEntries names the content of packages.
func digestEntries(list []apt.Entry) string {
	h := sha256.New()
	for _, e := range list {
		fmt.Fprintln(h, e.SHA256)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// digestFile is the SHA-256 of a file.
func digestFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return digest(f)
}

// digest is the SHA-256 of what r holds.
func digest(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// digestFolder is the SHA-256 of the names of all files and links of a
// folder, and of what they hold or lead to.
func digestFolder(fsys fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch d.Type() {
		case fs.ModeSymlink:
			target, err := fs.ReadLink(fsys, name)
			fmt.Fprintf(h, "link %q %q\n", name, target)
			return err
		case 0:
			f, err := fsys.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			sum, err := digest(f)
			fmt.Fprintf(h, "file %q %s\n", name, sum)
			return err
		}
		return nil
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err
}
