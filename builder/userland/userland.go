// Package userland picks, out of Debian packages, the programs that a profile
// needs beside weft's own, with the libraries they need, and nothing else.
//
// It installs no packages: it runs no maintainer script, and leaves behind
// documentation, translations and every file that no program asks for. What
// scripts would have done and is needed, such as the links that Debian's
// alternatives make, is in a table with its reason ([Sets]). That the pick is
// complete is proved by reading the programs (ELF): the interpreter and every
// library that one names must be among the files, for the right machine.
package userland

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"weft/builder/apt/deb"
	"weft/builder/apt/debfs"
	"weft/builder/cache"
	"weft/builder/tree"
)

// A Package is an unpacked Debian package.
type Package struct {
	Name   string
	SHA256 string
	Files  fs.FS
}

// An Input is what files are picked from.
type Input struct {
	// Arch is the Debian architecture of the node.
	Arch string
	// Roots are the packages that are asked for by name, each of which may
	// have a set in Sets.
	Roots []string
	// Packages are these and all they need.
	Packages []Package
	// Cache keeps what was picked.
	Cache cache.Dir
}

// A File is one that goes into the root, or a symbolic link.
type File struct {
	// Path is where it lies, below usr.
	Path string `json:"path"`
	// Mode is that of a file; 0 for a link.
	Mode fs.FileMode `json:"mode,omitempty"`
	// Target is where a link points.
	Target string `json:"target,omitempty"`
	// Package is the name of the package it comes from; empty for a link
	// that comes from the table.
	Package string `json:"package,omitempty"`
	// Size is that of a file, in bytes.
	Size int64 `json:"size,omitempty"`
}

// A Missing is something that a program needs and no package has.
type Missing struct {
	// What is the file or the library, By the file that names it.
	What, By string
	// Reason says what is wrong.
	Reason string
}

// Error names what is missing, for what, and what to do.
func (m *Missing) Error() string {
	return fmt.Sprintf("%s: %s %s; fix: add the package that has it to builder/userland, or make the lock anew: weft lock --update", m.By, m.What, m.Reason)
}

// Pick returns the files for the root, sorted by path. What is missing comes
// back as [Missing] errors, all at once.
func Pick(in Input) ([]File, error) {
	if len(in.Roots) == 0 {
		return nil, nil
	}
	key := in.key()
	if data, ok := in.Cache.Get(key); ok {
		var files []File
		if json.Unmarshal(data, &files) == nil {
			return files, nil
		}
	}
	machine, known := machines[in.Arch]
	if !known {
		return nil, fmt.Errorf("userland: architecture %s is not known", in.Arch)
	}
	members := make([]fs.FS, len(in.Packages))
	for i, p := range in.Packages {
		members[i] = p.Files
	}
	p := picker{in: in, machine: machine, all: debfs.Union(members...), files: map[string]File{}, loaded: map[string]bool{}, programs: map[string]program{}}
	for _, root := range in.Roots {
		p.pickSet(root)
	}
	p.pickLibraries()
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	files := make([]File, 0, len(p.files))
	for _, f := range p.files {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	data, err := json.Marshal(files)
	if err != nil {
		return nil, fmt.Errorf("userland: %w", err)
	}
	in.Cache.Put(key, data)
	return files, nil
}

// Size is how much the files take, in bytes.
func Size(files []File) int64 {
	size := int64(0)
	for _, f := range files {
		size += f.Size
	}
	return size
}

// AddTo puts files into a tree. The tree has bin, sbin and lib as links into
// usr, as every merged /usr; lib64 is added where something is below it.
func AddTo(t *tree.Tree, files []File, packages []Package) error {
	byName := map[string]fs.FS{}
	for _, p := range packages {
		byName[p.Name] = p.Files
	}
	lib64 := false
	for _, f := range files {
		lib64 = lib64 || strings.HasPrefix(f.Path, "usr/lib64/")
		if f.Target != "" {
			t.Symlink(f.Path, f.Target)
			continue
		}
		content, err := tree.FromFS(byName[f.Package], f.Path)
		if err != nil {
			return fmt.Errorf("userland: package %s: %w", f.Package, err)
		}
		t.File(f.Path, f.Mode, content)
	}
	if lib64 {
		t.Symlink("lib64", "usr/lib64")
	}
	return nil
}

// key names what Pick returns in the cache.
func (in Input) key() string {
	sets := map[string]Set{}
	for _, r := range in.Roots {
		sets[r] = setOf(r)
	}
	// JSON of structs and string maps is canonical.
	data, _ := json.Marshal(sets)
	key := "userland-1 " + in.Arch + " " + string(data)
	for _, p := range in.Packages {
		key += " " + p.Name + " " + p.SHA256
	}
	return key
}

// A picker collects files.
type picker struct {
	in      Input
	machine machine
	all     *debfs.Merged
	files   map[string]File
	// loaded are the names of libraries that are in the process of some
	// program before its plugins are.
	loaded   map[string]bool
	programs map[string]program // read already
	queue    []string           // files whose libraries are yet to be picked
	errs     []error
}

func (p *picker) fail(what, by, reason string) {
	p.errs = append(p.errs, &Missing{What: what, By: by, Reason: reason})
}

// pickSet picks the files of the set that belongs to a package.
func (p *picker) pickSet(root string) {
	set := setOf(root)
	// A set may name files of what the package needs; without a set, only the
	// package's own files are meant.
	from := fs.FS(p.all)
	if _, listed := Sets[root]; !listed {
		i := slices.IndexFunc(p.in.Packages, func(q Package) bool { return q.Name == root })
		if i < 0 {
			p.fail("package "+root, "the lock", "is not among the packages")
			return
		}
		from = p.in.Packages[i].Files
	}
	for _, k := range set.Keep {
		pattern := strings.ReplaceAll(k.Pattern, "TRIPLET", p.machine.triplet)
		names, err := glob(from, pattern)
		if err != nil {
			p.errs = append(p.errs, fmt.Errorf("userland: %s: %w", root, err))
		}
		if len(names) == 0 && !k.Optional {
			p.fail(pattern, "package "+root, "is in none of the packages")
		}
		for _, name := range names {
			p.pick(name, "package "+root)
		}
	}
	for _, l := range set.Links {
		p.files[l.Path] = File{Path: l.Path, Target: l.Target}
		if to := leadsTo(l.Path, l.Target); p.files[to] == (File{}) {
			p.fail(to, l.Path, "is not there, where the link points")
		}
	}
}

// pick picks a file; of a link, also what it leads to.
func (p *picker) pick(name, by string) {
	const maxLinks = 40 // as in Linux (MAXSYMLINKS)
	for range maxLinks {
		if _, there := p.files[name]; there {
			return
		}
		info, err := p.all.Lstat(name)
		if err != nil {
			p.fail(name, by, "is in none of the packages")
			return
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			p.pickFile(name, info)
			return
		}
		target, err := p.all.ReadLink(name)
		if err != nil {
			p.fail(name, by, err.Error())
			return
		}
		p.files[name] = File{Path: name, Target: target, Package: p.owner(name)}
		by, name = name, leadsTo(name, target)
	}
	p.fail(name, by, "is behind too many links")
}

// leadsTo is the path that a link at name leads to.
func leadsTo(name, target string) string {
	if !path.IsAbs(target) {
		target = path.Join("/", path.Dir(name), target)
	}
	return deb.MergedUsr(strings.TrimPrefix(path.Clean(target), "/"))
}

// pickFile picks a regular file.
func (p *picker) pickFile(name string, info fs.FileInfo) {
	if !info.Mode().IsRegular() {
		return // directories come with what is in them
	}
	p.files[name] = File{Path: name, Mode: info.Mode().Perm(), Package: p.owner(name), Size: info.Size()}
	p.queue = append(p.queue, name)
}

// owner is the package that has a path.
func (p *picker) owner(name string) string {
	for _, q := range p.in.Packages {
		if _, err := fs.Lstat(q.Files, name); err == nil {
			return q.Name
		}
	}
	return ""
}

// glob finds files by a pattern as of [path.Match]; a pattern that ends in
// "/**" matches all that is below.
func glob(fsys fs.FS, pattern string) ([]string, error) {
	dir, deep := strings.CutSuffix(pattern, "/**")
	if !deep {
		return fs.Glob(fsys, pattern)
	}
	var names []string
	err := fs.WalkDir(fsys, dir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == dir {
			return fs.SkipAll
		}
		if err == nil && !d.IsDir() && !left(name) {
			names = append(names, name)
		}
		return err
	})
	return names, err
}
