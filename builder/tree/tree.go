// Package tree is a file tree held in memory: the common input of every file
// system and archive writer of the builder.
//
// A tree knows names, modes, owners and one timestamp for everything in it.
// It does not hold file contents: a [Content] is opened when a writer reads
// it, so a tree of a gigabyte costs a few hundred kilobytes. It has no hard
// links, no extended attributes and no sockets or pipes, because no image
// that weft builds needs them.
//
// Mistakes in building a tree (a name twice, a file below a file, "..") are
// collected and returned by [Tree.Err]. Writers check it first, so callers add
// entries without looking at an error after each.
package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// DirMode is the mode of directories that are made because something below
// them was added.
const DirMode = fs.FileMode(0o755)

// permissions are the mode bits a caller may set; the type of an entry
// follows from the method that adds it.
const permissions = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// maxName and maxTarget are the longest name and symbolic link target that
// Linux takes, in bytes [limits.h: NAME_MAX, PATH_MAX less the final NUL].
const (
	maxName   = 255
	maxTarget = 4095
)

// A Tree is a directory with everything below it. The root directory itself
// belongs to 0:0, has mode [DirMode] and is not listed by [Tree.All].
//
// A tree may be read by several goroutines at once, but not while it is being
// changed.
type Tree struct {
	epoch time.Time
	root  *node
	errs  []error
}

// An Entry is one file, directory, symbolic link or device of a tree.
type Entry struct {
	// Path is slash-separated and relative to the root: "etc/hosts".
	Path string
	// Mode holds the type and the permissions, as in [fs.FileInfo].
	Mode fs.FileMode
	// UID and GID are the owner; 0 unless [Tree.Owner] said otherwise.
	UID, GID uint32
	// Content is what a regular file holds; nil for everything else.
	Content Content
	// Target is where a symbolic link points; empty for everything else.
	Target string
	// Major and Minor are a device's numbers; 0 for everything else.
	Major, Minor uint32
}

// Name is the last element of the entry's path.
func (e Entry) Name() string {
	return e.Path[strings.LastIndexByte(e.Path, '/')+1:]
}

// Size is the length of a regular file in bytes, and 0 for everything else.
func (e Entry) Size() int64 {
	if e.Content == nil {
		return 0
	}
	return e.Content.Size()
}

// A node is an entry and, for directories, what is in it.
type node struct {
	entry    Entry
	children map[string]*node
	// implied says that the directory exists only because of what is below
	// it, so a later call may still give it another mode.
	implied bool
}

// New returns an empty tree in which everything carries the time epoch, cut
// to whole seconds. Epochs before 1970 or after 2106-02-07 are an error of the
// tree, as cpio archives cannot say them.
func New(epoch time.Time) *Tree {
	t := &Tree{
		epoch: epoch.UTC().Truncate(time.Second),
		root: &node{
			entry:    Entry{Mode: fs.ModeDir | DirMode},
			children: map[string]*node{},
		},
	}
	if s := epoch.Unix(); s < 0 || s > math.MaxUint32 {
		t.fail("", fmt.Errorf("epoch %s is outside 1970-01-01 to 2106-02-07", t.epoch.Format(time.DateOnly)))
	}
	return t
}

// Epoch is the one timestamp of the tree, in UTC.
func (t *Tree) Epoch() time.Time { return t.epoch }

// Err returns everything that went wrong while the tree was built, joined,
// or nil.
func (t *Tree) Err() error { return errors.Join(t.errs...) }

// Dir adds a directory with the given permissions. Adding a directory that
// exists is fine when its mode is the same, or when it was made as the parent
// of something else.
func (t *Tree) Dir(path string, mode fs.FileMode) {
	parent, name := t.place(path, mode)
	if parent == nil {
		return
	}
	mode |= fs.ModeDir
	if old, ok := parent.children[name]; ok {
		if old.children == nil || (!old.implied && old.entry.Mode != mode) {
			t.fail(path, fmt.Errorf("already there as %v; add it once", old.entry.Mode))
			return
		}
		old.entry.Mode = mode
		old.implied = false
		return
	}
	parent.children[name] = &node{
		entry:    Entry{Path: clean(path), Mode: mode},
		children: map[string]*node{},
	}
}

// File adds a regular file with the given permissions and content.
func (t *Tree) File(path string, mode fs.FileMode, content Content) {
	if content == nil {
		t.fail(path, errors.New("file without content; use tree.Bytes(nil) for an empty one"))
		return
	}
	t.add(path, mode, Entry{Content: content})
}

// Symlink adds a symbolic link to target, which is stored as it is.
func (t *Tree) Symlink(path, target string) {
	if target == "" || len(target) > maxTarget || strings.IndexByte(target, 0) >= 0 {
		t.fail(path, fmt.Errorf("symbolic link to %.40q: a target is 1 to %d bytes without NUL", target, maxTarget))
		return
	}
	t.add(path, 0o777, Entry{Mode: fs.ModeSymlink, Target: target})
}

// Device adds a device node. The mode holds its permissions and
// [fs.ModeDevice], with [fs.ModeCharDevice] for a character device, as
// [fs.FileMode] defines them. Linux has 12 bits for the major number and 20
// for the minor [include/linux/kdev_t.h].
func (t *Tree) Device(path string, mode fs.FileMode, major, minor uint32) {
	kind := mode & (fs.ModeDevice | fs.ModeCharDevice)
	if kind&fs.ModeDevice == 0 {
		t.fail(path, errors.New("device mode lacks fs.ModeDevice"))
		return
	}
	if major >= 1<<12 || minor >= 1<<20 {
		t.fail(path, fmt.Errorf("device %d:%d is beyond Linux's 4095:1048575", major, minor))
		return
	}
	t.add(path, mode&^kind, Entry{Mode: kind, Major: major, Minor: minor})
}

// Owner sets who owns an entry that is already in the tree.
func (t *Tree) Owner(path string, uid, gid uint32) {
	n := t.find(path)
	if n == nil || n == t.root {
		t.fail(path, errors.New("no such entry to give an owner; add it first"))
		return
	}
	n.entry.UID, n.entry.GID = uid, gid
}

// Lookup returns the entry at path, and whether there is one.
func (t *Tree) Lookup(path string) (Entry, bool) {
	n := t.find(path)
	if n == nil || n == t.root {
		return Entry{}, false
	}
	return n.entry, true
}

// All yields every entry below the root, each directory before what is in it,
// and the entries of one directory in byte order of their names.
func (t *Tree) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) { t.root.walk(yield) }
}

// walk yields everything below n and reports whether to go on.
func (n *node) walk(yield func(Entry) bool) bool {
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		c := n.children[name]
		if !yield(c.entry) || !c.walk(yield) {
			return false
		}
	}
	return true
}

// add puts an entry that is not a directory at path.
func (t *Tree) add(path string, mode fs.FileMode, e Entry) {
	parent, name := t.place(path, mode)
	if parent == nil {
		return
	}
	if old, ok := parent.children[name]; ok {
		t.fail(path, fmt.Errorf("already there as %v; add it once", old.entry.Mode))
		return
	}
	e.Path = clean(path)
	e.Mode |= mode
	parent.children[name] = &node{entry: e}
}

// place checks path and mode, makes the missing parents and returns the
// directory and the name to add. It returns nil after recording a mistake.
func (t *Tree) place(path string, mode fs.FileMode) (*node, string) {
	if extra := mode &^ permissions; extra != 0 {
		t.fail(path, fmt.Errorf("mode %v (%#o) holds more than permissions; write fs.ModeSticky, fs.ModeSetuid and fs.ModeSetgid by name", mode, uint32(extra)))
		return nil, ""
	}
	elems := strings.Split(clean(path), "/")
	for _, e := range elems {
		if err := checkName(e); err != nil {
			t.fail(path, err)
			return nil, ""
		}
	}
	dir, last := t.root, len(elems)-1
	for i, e := range elems[:last] {
		next, ok := dir.children[e]
		if !ok {
			next = &node{
				entry:    Entry{Path: strings.Join(elems[:i+1], "/"), Mode: fs.ModeDir | DirMode},
				children: map[string]*node{},
				implied:  true,
			}
			dir.children[e] = next
		}
		if next.children == nil {
			t.fail(path, fmt.Errorf("its parent %s is not a directory", next.entry.Path))
			return nil, ""
		}
		dir = next
	}
	return dir, elems[last]
}

// find returns the node at path, or nil.
func (t *Tree) find(path string) *node {
	n := t.root
	for e := range strings.SplitSeq(clean(path), "/") {
		if n = n.children[e]; n == nil {
			return nil
		}
	}
	return n
}

// fail records a mistake about path.
func (t *Tree) fail(path string, err error) {
	t.errs = append(t.errs, fmt.Errorf("tree: %q: %w", path, err))
}

// clean drops one leading slash, so "/etc/hosts" and "etc/hosts" are the same
// path.
func clean(path string) string { return strings.TrimPrefix(path, "/") }

// checkName refuses what no Linux file system can hold as one name.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("empty name in the path")
	case name == "." || name == "..":
		return fmt.Errorf("%q in the path; write the path out", name)
	case len(name) > maxName:
		return fmt.Errorf("name of %d bytes; Linux takes %d", len(name), maxName)
	case strings.IndexByte(name, 0) >= 0:
		return errors.New("NUL byte in a name")
	}
	return nil
}
