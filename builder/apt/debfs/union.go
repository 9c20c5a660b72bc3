package debfs

import (
	"io/fs"
	"slices"
	"strings"
)

// A Merged tree shows several trees as one, as if all packages were unpacked
// in one place.
type Merged struct{ members []fs.FS }

var (
	_ fs.ReadDirFS  = (*Merged)(nil)
	_ fs.ReadFileFS = (*Merged)(nil)
	_ fs.StatFS     = (*Merged)(nil)
	_ fs.ReadLinkFS = (*Merged)(nil)
)

// Union merges trees. Directories are merged; of files with the same path
// the first member's is seen. Symbolic links may lead from one member to
// another. Files are those of the members, with all they can do.
func Union(members ...fs.FS) *Merged {
	return &Merged{members: slices.Clone(members)}
}

// Open opens a file or directory, following symbolic links.
func (m *Merged) Open(name string) (fs.File, error) {
	member, real, info, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return &dir{info: info, list: func() ([]fs.DirEntry, error) { return m.list(real) }}, nil
	}
	return member.Open(real)
}

// ReadFile returns the contents of a file, following symbolic links.
func (m *Merged) ReadFile(name string) ([]byte, error) {
	member, real, _, err := m.find("read", name)
	if err != nil {
		return nil, err
	}
	return fs.ReadFile(member, real)
}

// ReadDir lists a directory by name, following symbolic links.
func (m *Merged) ReadDir(name string) ([]fs.DirEntry, error) {
	_, real, info, err := m.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNoDir}
	}
	return m.list(real)
}

// Stat describes a file, following symbolic links.
func (m *Merged) Stat(name string) (fs.FileInfo, error) {
	_, _, info, err := m.find("stat", name)
	return info, err
}

// Lstat describes a file. A symbolic link that name itself is is not
// followed.
func (m *Merged) Lstat(name string) (fs.FileInfo, error) {
	_, info, err := m.lstat("lstat", name)
	return info, err
}

// ReadLink returns the target of a symbolic link.
func (m *Merged) ReadLink(name string) (string, error) {
	read, info, err := m.lstat("readlink", name)
	if err != nil {
		return "", err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return read()
}

// lstat describes what lies at name, with a way to read it as a link.
func (m *Merged) lstat(op, name string) (readLink func() (string, error), info fs.FileInfo, err error) {
	if !fs.ValidPath(name) {
		return nil, nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	real, err := resolve(name, false, m.lookup)
	if err != nil {
		return nil, nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	for _, member := range m.members {
		if info, err := fs.Lstat(member, real); err == nil {
			return func() (string, error) { return fs.ReadLink(member, real) }, info, nil
		}
	}
	if real == "." {
		return nil, fileInfo{name: ".", mode: fs.ModeDir | 0o755}, nil
	}
	return nil, nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// find returns the first member that has name, and the path it has it under.
func (m *Merged) find(op, name string) (fs.FS, string, fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, "", nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	member, info, err := m.first(name)
	if err == nil {
		return member, name, info, nil
	}
	if !missing(err) {
		return nil, "", nil, err
	}
	// No member has it by itself: a link may lead from one to another.
	real, err := resolve(name, true, m.lookup)
	if err == nil {
		if member, info, err = m.first(real); err == nil {
			return member, real, info, nil
		}
	}
	return nil, "", nil, &fs.PathError{Op: op, Path: name, Err: err}
}

// first returns the first member in which name leads to something.
func (m *Merged) first(name string) (fs.FS, fs.FileInfo, error) {
	for _, member := range m.members {
		info, err := fs.Stat(member, name)
		if err == nil {
			return member, info, nil
		}
		if !missing(err) {
			return nil, nil, err
		}
	}
	if name == "." {
		return nil, fileInfo{name: ".", mode: fs.ModeDir | 0o755}, nil
	}
	return nil, nil, fs.ErrNotExist
}

// lookup is what resolve asks about one path.
func (m *Merged) lookup(name string) (mode fs.FileMode, target string, ok bool) {
	for _, member := range m.members {
		info, err := fs.Lstat(member, name)
		if err != nil {
			continue
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err = fs.ReadLink(member, name)
			if err != nil {
				continue
			}
		}
		return info.Mode(), target, true
	}
	return 0, "", false
}

// list merges what the members have in the directory name.
func (m *Merged) list(name string) ([]fs.DirEntry, error) {
	var all []fs.DirEntry
	seen := map[string]bool{}
	for _, member := range m.members {
		if info, err := fs.Stat(member, name); err != nil || !info.IsDir() {
			continue
		}
		list, err := fs.ReadDir(member, name)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if !seen[e.Name()] {
				seen[e.Name()] = true
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all, nil
}
