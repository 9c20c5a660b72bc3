package tree

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var epoch = time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)

// list is a tree's entries, one line each.
func list(t *Tree) []string {
	var lines []string
	for e := range t.All() {
		lines = append(lines, fmt.Sprintf("%v %s%s %d:%d %d,%d %d", e.Mode, e.Path, e.Target, e.UID, e.GID, e.Major, e.Minor, e.Size()))
	}
	return lines
}

func TestEntriesComeSortedWithTheirParents(t *testing.T) {
	tr := New(epoch)
	tr.File("/etc/hosts", 0o644, Bytes([]byte("localhost")))
	tr.Symlink("bin", "usr/bin")
	tr.Device("dev/console", 0o600|fs.ModeDevice|fs.ModeCharDevice, 5, 1)
	tr.Device("dev/vda", 0o660|fs.ModeDevice, 254, 0)
	tr.Dir("tmp", 0o777|fs.ModeSticky)
	tr.Dir("etc", 0o700) // made as a parent before
	tr.Dir("etc", 0o700) // the same again
	tr.File("etc-file", 0o755|fs.ModeSetuid, Bytes(nil))
	tr.Owner("etc/hosts", 1000, 100)
	if err := tr.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Lrwxrwxrwx binusr/bin 0:0 0,0 0",
		"drwxr-xr-x dev 0:0 0,0 0",
		"Dcrw------- dev/console 0:0 5,1 0",
		"Drw-rw---- dev/vda 0:0 254,0 0",
		"drwx------ etc 0:0 0,0 0",
		"-rw-r--r-- etc/hosts 1000:100 0,0 9",
		"urwxr-xr-x etc-file 0:0 0,0 0",
		"dtrwxrwxrwx tmp 0:0 0,0 0",
	}
	if got := list(tr); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := tr.Epoch(); !got.Equal(epoch.Truncate(time.Second)) {
		t.Errorf("epoch %v", got)
	}
	for range tr.All() {
		break // leaving the walk early is allowed
	}
}

func TestMistakesAreCollected(t *testing.T) {
	c := Bytes(nil)
	cases := []struct {
		name string
		do   func(*Tree)
		want string
	}{
		{"a file twice", func(t *Tree) { t.File("a", 0, c); t.File("a", 0, c) }, "already there"},
		{"a file over a directory", func(t *Tree) { t.Dir("a", 0o755); t.File("a", 0, c) }, "already there"},
		{"a directory over a file", func(t *Tree) { t.File("a", 0, c); t.Dir("a", 0o755) }, "already there"},
		{"a directory with another mode", func(t *Tree) { t.Dir("a", 0o755); t.Dir("a", 0o700) }, "already there"},
		{"a file below a file", func(t *Tree) { t.File("a", 0, c); t.File("a/b/c", 0, c) }, "its parent a is not a directory"},
		{"a file below a link", func(t *Tree) { t.Symlink("a", "b"); t.File("a/c", 0, c) }, "not a directory"},
		{"dots", func(t *Tree) { t.File("a/../b", 0, c) }, `".."`},
		{"one dot", func(t *Tree) { t.Dir(".", 0o755) }, `"."`},
		{"nothing", func(t *Tree) { t.Dir("", 0o755) }, "empty name"},
		{"two slashes", func(t *Tree) { t.File("a//b", 0, c) }, "empty name"},
		{"a slash at the end", func(t *Tree) { t.Dir("a/", 0o755) }, "empty name"},
		{"NUL", func(t *Tree) { t.File("a\x00b", 0, c) }, "NUL"},
		{"a long name", func(t *Tree) { t.File(strings.Repeat("a", 256), 0, c) }, "256 bytes"},
		{"octal sticky bit", func(t *Tree) { t.Dir("a", 0o1777) }, "fs.ModeSticky"},
		{"a type in a file's mode", func(t *Tree) { t.File("a", fs.ModeSymlink, c) }, "more than permissions"},
		{"no content", func(t *Tree) { t.File("a", 0, nil) }, "without content"},
		{"a link to nowhere", func(t *Tree) { t.Symlink("a", "") }, "symbolic link"},
		{"a device of no type", func(t *Tree) { t.Device("a", 0o600, 1, 1) }, "fs.ModeDevice"},
		{"a device beyond 12 bits", func(t *Tree) { t.Device("a", fs.ModeDevice, 4096, 1) }, "4095"},
		{"an owner of nothing", func(t *Tree) { t.Owner("a", 1, 1) }, "no such entry"},
		{"an owner of the root", func(t *Tree) { t.Owner("/", 1, 1) }, "no such entry"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tr := New(epoch)
			c.do(tr)
			if err := tr.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if _, err := tr.Digest(); err == nil {
				t.Error("a broken tree has a digest")
			}
		})
	}
	if err := New(time.Unix(-1, 0)).Err(); err == nil {
		t.Error("an epoch before 1970 is accepted")
	}
}

func TestLookup(t *testing.T) {
	tr := New(epoch)
	tr.File("a/b", 0o644, Bytes([]byte("x")))
	for path, want := range map[string]bool{"a": true, "/a/b": true, "a/c": false, "": false, "/": false, "a/b/c": false} {
		if e, ok := tr.Lookup(path); ok != want || ok && e.Path != strings.TrimPrefix(path, "/") {
			t.Errorf("%q: %+v, %v", path, e, ok)
		}
	}
}

func TestContentFromFS(t *testing.T) {
	fsys := fstest.MapFS{"dir/file": {Data: []byte("hello")}}
	c, err := FromFS(fsys, "dir/file")
	if err != nil || c.Size() != 5 {
		t.Fatal(c, err)
	}
	var b bytes.Buffer
	for range 2 {
		if err := Copy(&b, c); err != nil {
			t.Fatal(err)
		}
	}
	if b.String() != "hellohello" {
		t.Errorf("copied %q", b.String())
	}
	if _, err := FromFS(fsys, "dir"); err == nil {
		t.Error("a directory is taken for a file")
	}
	if _, err := FromFS(fsys, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestContentThatChangesUnderTheBuildIsAnError(t *testing.T) {
	fsys := fstest.MapFS{"file": {Data: []byte("hello")}}
	c, err := FromFS(fsys, "file")
	if err != nil {
		t.Fatal(err)
	}
	fsys["file"].Data = []byte("hell")
	if err := Copy(io.Discard, c); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("shorter: %v", err)
	}
	fsys["file"].Data = []byte("hello, world")
	if err := Copy(io.Discard, c); err == nil || !strings.Contains(err.Error(), "longer") {
		t.Errorf("longer: %v", err)
	}
	delete(fsys, "file")
	if err := Copy(io.Discard, c); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
}

// known is content that says its own digest and cannot be read.
type known struct{ sum [32]byte }

func (known) Size() int64                  { return 3 }
func (known) Open() (io.ReadCloser, error) { return nil, errors.New("must not be read") }
func (k known) Digest() [32]byte           { return k.sum }

func TestDigestCoversEverything(t *testing.T) {
	base := func() *Tree {
		tr := New(epoch)
		tr.File("a/f", 0o644, Bytes([]byte("abc")))
		tr.Symlink("l", "a/f")
		tr.Device("d", fs.ModeDevice|0o600, 1, 2)
		return tr
	}
	sums := map[[32]byte]string{}
	see := func(name string, tr *Tree) [32]byte {
		t.Helper()
		sum, err := tr.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := sums[sum]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		sums[sum] = name
		return sum
	}
	first := see("base", base())
	if again, err := base().Digest(); err != nil || again != first {
		t.Errorf("the same tree has another digest: %v", err)
	}
	tr := New(epoch.Add(time.Second))
	tr.File("a/f", 0o644, Bytes([]byte("abc")))
	tr.Symlink("l", "a/f")
	tr.Device("d", fs.ModeDevice|0o600, 1, 2)
	see("other epoch", tr)
	for name, change := range map[string]func(*Tree){
		"more":        func(t *Tree) { t.Dir("b", 0o755) },
		"other mode":  func(t *Tree) { t.Dir("a", 0o700) },
		"other owner": func(t *Tree) { t.Owner("a/f", 0, 1) },
	} {
		tr := base()
		change(tr)
		see(name, tr)
	}
	tr = New(epoch)
	tr.File("a/f", 0o644, known{sha256.Sum256([]byte("abc"))})
	tr.Symlink("l", "a/f")
	tr.Device("d", fs.ModeDevice|0o600, 1, 2)
	if sum, err := tr.Digest(); err != nil || sum != first {
		t.Errorf("content that knows its digest: %v", err)
	}
}
