package apt

import (
	"context"
	"fmt"
	"slices"
)

// A Request says what is wanted from one suite.
type Request struct {
	// Suite is a suite or code name, such as trixie.
	Suite string
	// Components are the archive areas that are searched; main when empty.
	Components []string
	// Arch is a Debian architecture, such as amd64.
	Arch string
	// Kernel is a kernel package or meta package; may be empty. KernelSuite is
	// the suite that it is taken from, Suite when empty.
	Kernel, KernelSuite string
	// Packages are the names of further packages.
	Packages []string
	// Closures are the names of packages that are wanted with all they need
	// to run, except for what Without names.
	Closures, Without []string
}

// Resolve looks up what is asked for and pins it. It reads InRelease anew
// each time; indexes that did not change are not read again.
func (s *Source) Resolve(ctx context.Context, requests ...Request) (*Lock, error) {
	l := &Lock{Weft: LockVersion}
	for _, r := range requests {
		index, date, err := s.Index(ctx, r.Suite, r.Arch, r.Components...)
		if err != nil {
			return nil, err
		}
		l.Epoch = max(l.Epoch, date.Unix())
		if err := l.resolve(index, r); err != nil {
			return nil, err
		}
		if r.Kernel == "" {
			continue
		}
		kernel := r.kernel()
		if kernel.Suite != r.Suite {
			if index, date, err = s.Index(ctx, kernel.Suite, r.Arch, r.Components...); err != nil {
				return nil, err
			}
			l.Epoch = max(l.Epoch, date.Unix())
		}
		if err := l.resolveKernel(index, kernel); err != nil {
			return nil, err
		}
	}
	sortEntries(l.Packages)
	return l, nil
}

// kernel is the part of a request that asks for the kernel.
func (r Request) kernel() Request {
	suite := r.KernelSuite
	if suite == "" {
		suite = r.Suite
	}
	return Request{Suite: suite, Components: r.Components, Arch: r.Arch, Kernel: r.Kernel}
}

// resolveKernel adds the kernel that a request asks for.
func (l *Lock) resolveKernel(index *Index, r Request) error {
	parts, err := index.Kernel(r.Kernel)
	if err != nil {
		return err
	}
	for _, p := range parts {
		l.add(r, p, r.Kernel)
	}
	return nil
}

// resolve adds what a request asks for beside the kernel.
func (l *Lock) resolve(index *Index, r Request) error {
	for _, name := range r.Packages {
		p, err := index.Package(name)
		if err != nil {
			return err
		}
		l.add(r, p, "")
	}
	for _, name := range r.Closures {
		all, err := index.Closure(name, r.Without)
		if err != nil {
			return err
		}
		for _, p := range all {
			l.add(r, p, name)
		}
	}
	return nil
}

// add pins a package that wanted led to, if that is another.
func (l *Lock) add(r Request, p Package, wanted string) {
	e := Entry{Name: p.Name, Version: p.Version, Arch: r.Arch, Suite: r.Suite, Component: p.Component,
		Path: p.Path, Size: p.Size, SHA256: fmt.Sprintf("%x", p.SHA256)}
	i := slices.IndexFunc(l.Packages, func(o Entry) bool {
		return o.Name == e.Name && o.Arch == e.Arch && o.Suite == e.Suite
	})
	if i < 0 {
		l.Packages = append(l.Packages, e)
		i = len(l.Packages) - 1
	}
	if old := &l.Packages[i]; wanted != "" && wanted != e.Name && !slices.Contains(old.For, wanted) {
		old.For = append(old.For, wanted)
		slices.Sort(old.For)
	}
}
