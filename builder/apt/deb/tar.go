package deb

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// modeBits are the bits of a tar header's mode that are kept: permissions,
// setuid, setgid, sticky (tar(5)).
const modeBits = 0o7777

// readTar lists the entries of the tar archive that is the first size bytes
// of data, and computes the checksum of each file.
func readTar(ctx context.Context, data io.ReaderAt, size int64, limit int) ([]Entry, error) {
	in := &counter{r: bufio.NewReaderSize(io.NewSectionReader(data, 0, size), 256<<10)}
	list := lister{entries: map[string]*Entry{}, limit: limit}
	archive := tar.NewReader(in)
	buf := make([]byte, 64<<10)
	sum := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		header, err := archive.Next()
		if err == io.EOF {
			return list.sorted()
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		// The reader has consumed exactly the headers: the contents begin here.
		offset := in.n
		if header.Typeflag == tar.TypeReg {
			sum.Reset()
			if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{archive}, buf); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrFormat, header.Name, err)
			}
			if in.n-offset != header.Size {
				return nil, fmt.Errorf("%w: %s is a sparse file", ErrFormat, header.Name)
			}
		}
		if err := list.add(header, offset, sum.Sum(nil)); err != nil {
			return nil, err
		}
	}
}

// counter counts what is read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// A lister collects entries by path.
type lister struct {
	entries map[string]*Entry
	limit   int
}

// add takes one tar header; offset is where the contents begin and sum their
// checksum, if it is a regular file.
func (l *lister) add(header *tar.Header, offset int64, sum []byte) error {
	raw, err := cleanName(header.Name)
	if err != nil {
		return err
	}
	name := MergedUsr(raw)
	e := Entry{Path: name, ModTime: time.Unix(header.ModTime.Unix(), 0).UTC()}
	mode := header.FileInfo().Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	if header.Mode&^(modeBits|0o170000) != 0 {
		return fmt.Errorf("%w: %s has mode %o", ErrUnsafe, header.Name, header.Mode)
	}
	switch header.Typeflag {
	case tar.TypeDir:
		e.Mode = fs.ModeDir | mode
	case tar.TypeReg:
		e.Mode, e.Offset, e.Size = mode, offset, header.Size
		copy(e.SHA256[:], sum)
	case tar.TypeLink:
		return l.hardLink(header.Linkname, e)
	case tar.TypeSymlink:
		// The package of a merged /usr itself: lib is the link, not its target.
		if raw != name {
			return l.mergedLink(raw, header.Linkname, e)
		}
		e.Mode = fs.ModeSymlink | fs.ModePerm
		if e.Link, err = cleanLink(raw, name, header.Linkname); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: %s is of tar type %q; packages hold files, directories and links", ErrUnsafe, header.Name, header.Typeflag)
	}
	return l.put(e)
}

// mergedLink takes a symbolic link at or under a directory that the merged
// /usr moves. The link lib -> usr/lib says that /usr is merged: it is kept at
// its place.
func (l *lister) mergedLink(raw, target string, e Entry) error {
	var err error
	e.Mode = fs.ModeSymlink | fs.ModePerm
	if merged[raw] {
		e.Path = raw
		if e.Link, err = cleanLink(raw, raw, target); err != nil {
			return err
		}
		if path.Clean(e.Link) != "usr/"+raw {
			return fmt.Errorf("%w: /%s is a link to %s, not to usr/%s", ErrUnsafe, raw, target, raw)
		}
		return l.put(e)
	}
	if e.Link, err = cleanLink(raw, e.Path, target); err != nil {
		return err
	}
	return l.put(e)
}

// hardLink takes a further name for a file that came before.
func (l *lister) hardLink(target string, e Entry) error {
	name, err := cleanName(target)
	if err != nil {
		return err
	}
	first, ok := l.entries[MergedUsr(name)]
	if !ok || !first.Mode.IsRegular() {
		return fmt.Errorf("%w: %s is a hard link to %s, which is no file before it", ErrUnsafe, e.Path, target)
	}
	name, mtime := e.Path, e.ModTime
	e = *first
	e.Path, e.ModTime = name, mtime
	return l.put(e)
}

// put adds an entry. A directory may come again; everything else only once.
func (l *lister) put(e Entry) error {
	if e.Path == "." {
		if !e.Mode.IsDir() {
			return fmt.Errorf("%w: the root is no directory", ErrUnsafe)
		}
		return nil
	}
	if old, ok := l.entries[e.Path]; ok {
		if old.Mode.IsDir() && e.Mode.IsDir() {
			*old = e
			return nil
		}
		return fmt.Errorf("%w: %s is in the package twice", ErrUnsafe, e.Path)
	}
	if len(l.entries) == l.limit {
		return fmt.Errorf("%w: more than %d entries", ErrTooLarge, l.limit)
	}
	l.entries[e.Path] = &e
	return nil
}

// sorted returns the entries by path, with the directories nobody listed. An
// entry under anything but a directory is refused: a link there would move it
// elsewhere.
func (l *lister) sorted() ([]Entry, error) {
	var missing []Entry
	for name, e := range l.entries {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			parent, ok := l.entries[dir]
			if ok && !parent.Mode.IsDir() {
				return nil, fmt.Errorf("%w: %s lies under %s, which is no directory", ErrUnsafe, name, dir)
			}
			if ok {
				break
			}
			missing = append(missing, Entry{Path: dir, Mode: fs.ModeDir | 0o755, ModTime: e.ModTime})
		}
	}
	all := make([]Entry, 0, len(l.entries)+len(missing))
	for _, e := range l.entries {
		all = append(all, *e)
	}
	// Among several children the newest gives an implied directory its time,
	// so that the order of the map does not matter.
	slices.SortFunc(missing, func(a, b Entry) int {
		if c := strings.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return b.ModTime.Compare(a.ModTime)
	})
	missing = slices.CompactFunc(missing, func(a, b Entry) bool { return a.Path == b.Path })
	if len(all)+len(missing) > l.limit {
		return nil, fmt.Errorf("%w: more than %d entries", ErrTooLarge, l.limit)
	}
	all = append(all, missing...)
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}
