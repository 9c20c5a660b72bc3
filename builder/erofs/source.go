package erofs

import (
	"io"
	"io/fs"
	"path"
	"time"

	erofs "github.com/erofs/go-erofs"

	"weft/builder/tree"
)

// A source shows a tree to the library as an [fs.FS]. Contents open at their
// first read and close at their end, because the library opens every file of
// the tree before it reads the first.
type source struct {
	epoch time.Time
	nodes map[string]*info
}

// newSource indexes a tree by [fs.FS] paths.
func newSource(t *tree.Tree) *source {
	s := &source{epoch: t.Epoch(), nodes: map[string]*info{}}
	root := &info{
		source: s,
		entry:  tree.Entry{Path: ".", Mode: fs.ModeDir | tree.DirMode},
	}
	s.nodes["."] = root
	for e := range t.All() {
		n := &info{source: s, entry: e}
		s.nodes[e.Path] = n
		parent := s.nodes[path.Dir(e.Path)]
		parent.children = append(parent.children, fs.FileInfoToDirEntry(n))
		if e.Mode.IsDir() {
			parent.subdirs++
		}
	}
	return s
}

// find returns the node at name, or an error in the form of package fs.
func (s *source) find(op, name string) (*info, error) {
	n, ok := s.nodes[name]
	if !ok {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// Open returns a file that reads its content lazily.
func (s *source) Open(name string) (fs.File, error) {
	n, err := s.find("open", name)
	if err != nil {
		return nil, err
	}
	return &lazy{info: n}, nil
}

// Stat implements [fs.StatFS].
func (s *source) Stat(name string) (fs.FileInfo, error) { return s.find("stat", name) }

// ReadDir implements [fs.ReadDirFS]; the tree is sorted already.
func (s *source) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := s.find("readdir", name)
	if err != nil {
		return nil, err
	}
	return n.children, nil
}

// ReadLink is what the library asks for the targets of symbolic links.
func (s *source) ReadLink(name string) (string, error) {
	n, err := s.find("readlink", name)
	if err != nil {
		return "", err
	}
	return n.entry.Target, nil
}

// An info describes one entry to the library.
type info struct {
	source   *source
	entry    tree.Entry
	children []fs.DirEntry
	subdirs  int
}

func (n *info) Name() string       { return n.entry.Name() }
func (n *info) Size() int64        { return n.entry.Size() }
func (n *info) Mode() fs.FileMode  { return n.entry.Mode }
func (n *info) ModTime() time.Time { return n.source.epoch }
func (n *info) IsDir() bool        { return n.entry.Mode.IsDir() }

// Sys carries what an [fs.FileInfo] has no method for.
func (n *info) Sys() any {
	links := 1
	if n.IsDir() {
		links = 2 + n.subdirs
	}
	return &erofs.Stat{
		UID:   n.entry.UID,
		GID:   n.entry.GID,
		Mtime: uint64(n.source.epoch.Unix()),
		Nlink: links,
		Rdev:  device(n.entry.Major, n.entry.Minor),
	}
}

// device packs device numbers as the kernel unpacks them
// [include/linux/kdev_t.h: new_decode_dev].
func device(major, minor uint32) uint32 {
	return minor&0xff | major<<8 | minor&^0xff<<12
}

// A lazy file opens its content when the first byte is asked for.
type lazy struct {
	*info
	r io.ReadCloser
}

func (f *lazy) Stat() (fs.FileInfo, error) { return f.info, nil }

// Read checks the content's length on the way: the library does not do so for
// small files.
func (f *lazy) Read(p []byte) (int, error) {
	if f.r == nil {
		r, err := tree.Reader(f.entry.Content)
		if err != nil {
			return 0, err
		}
		f.r = r
	}
	return f.r.Read(p)
}

func (f *lazy) Close() error {
	if f.r == nil {
		return nil
	}
	return f.r.Close()
}
