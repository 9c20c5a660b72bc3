package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"weft/builder/apt/apttest"
)

type file = apttest.File

// data is a Data in a temporary file.
func data(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// memory is a Data in memory.
type memory struct {
	mu   sync.Mutex
	data []byte
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if end := int(off) + len(p); end > len(m.data) {
		m.data = append(m.data, make([]byte, end-len(m.data))...)
	}
	return copy(m.data[off:], p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.NewReader(m.data).ReadAt(p, off)
}

func unpack(t testing.TB, pkg []byte, limits Limits) (*os.File, []Entry, error) {
	t.Helper()
	d := data(t)
	_, entries, err := Unpack(context.Background(), d, bytes.NewReader(pkg), int64(len(pkg)), limits, nil)
	return d, entries, err
}

// content reads a file of an unpacked package.
func content(t *testing.T, d *os.File, e Entry) []byte {
	t.Helper()
	buf := make([]byte, e.Size)
	if _, err := d.ReadAt(buf, e.Offset); err != nil && e.Size > 0 {
		t.Fatal(err)
	}
	if sha256.Sum256(buf) != e.SHA256 {
		t.Errorf("%s: the checksum is not that of the contents", e.Path)
	}
	return buf
}

func tool(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("install %s: make deps", pkg)
	}
	return path
}

func run(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// tree makes a package's files on disk, with a bit of everything.
func tree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, target string) {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("DEBIAN/control", "Package: weft-test\nVersion: 1:2.0~rc1-3\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: x\n", 0o644)
	write("usr/lib/modules/6.12/kernel/a.ko", strings.Repeat("module ", 50_000), 0o644)
	write("usr/lib/modules/6.12/"+strings.Repeat("long-name-", 20)+".ko", "long", 0o600)
	write("usr/bin/tool", "#!/bin/sh\n", 0o755)
	write("usr/bin/su", "setuid", 0o755|os.ModeSetuid)
	write("usr/share/doc/Übersicht", "", 0o444)
	link("usr/lib/modules/6.12/build", "../../linux-kbuild")
	link("usr/share/doc/copyright", "Übersicht")
	if err := os.Link(filepath.Join(root, "usr/bin/tool"), filepath.Join(root, "usr/bin/tool2")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "usr/empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "usr/empty"), 0o1777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return root
}

// compare checks entries against a tree that dpkg-deb -x made.
func compare(t *testing.T, d *os.File, entries []Entry, want string) {
	t.Helper()
	seen := map[string]bool{}
	for _, e := range entries {
		seen[e.Path] = true
		path := filepath.Join(want, e.Path)
		info, err := os.Lstat(path)
		if err != nil {
			t.Errorf("%s: dpkg-deb has no such file: %v", e.Path, err)
			continue
		}
		if got, want := e.Mode, info.Mode(); got.Type() != want.Type() || got.Type() != fs.ModeSymlink && got != want {
			t.Errorf("%s: mode %v, dpkg-deb gives %v", e.Path, got, want)
		}
		if info.Mode().IsRegular() && !e.ModTime.Equal(info.ModTime()) {
			t.Errorf("%s: time %v, dpkg-deb gives %v", e.Path, e.ModTime, info.ModTime())
		}
		switch {
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(text, content(t, d, e)) {
				t.Errorf("%s: contents differ from what dpkg-deb gives (%v)", e.Path, err)
			}
		case info.Mode()&fs.ModeSymlink != 0:
			if target, _ := os.Readlink(path); target != e.Link {
				t.Errorf("%s -> %s, dpkg-deb gives %s", e.Path, e.Link, target)
			}
		}
	}
	err := filepath.WalkDir(want, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(want, path); rel != "." && !seen[rel] {
			t.Errorf("%s is missing", rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnpacksWhatDpkgDebUnpacks(t *testing.T) {
	dpkg := tool(t, "dpkg-deb", "dpkg")
	root := tree(t)
	for _, kind := range []string{"xz", "zstd", "gzip", "none"} {
		t.Run(kind, func(t *testing.T) {
			out, want := filepath.Join(t.TempDir(), "test.deb"), t.TempDir()
			run(t, dpkg, "--root-owner-group", "-Z"+kind, "-b", root, out)
			run(t, dpkg, "-x", out, want)
			pkg, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			d, entries, err := unpack(t, pkg, DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, d, entries, want)
		})
	}
}

func TestUnpacksSeveralXzBlocks(t *testing.T) {
	dpkg, xz := tool(t, "dpkg-deb", "dpkg"), tool(t, "xz", "xz-utils")
	dir := t.TempDir()
	run(t, dpkg, "--root-owner-group", "-Znone", "-b", tree(t), filepath.Join(dir, "plain.deb"))
	pkg, err := os.ReadFile(filepath.Join(dir, "plain.deb"))
	if err != nil {
		t.Fatal(err)
	}
	members, err := readArchive(bytes.NewReader(pkg), int64(len(pkg)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := dataMember(bytes.NewReader(pkg), members)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "data.tar")
	if err := os.WriteFile(name, pkg[m.offset:m.offset+m.size], 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, xz, "-T2", "--block-size=40000", name)
	compressed, err := os.ReadFile(name + ".xz")
	if err != nil {
		t.Fatal(err)
	}
	blocks := apttest.Deb(t, ".xz", compressed)
	if err := os.WriteFile(filepath.Join(dir, "blocks.deb"), blocks, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dpkg, "-x", filepath.Join(dir, "blocks.deb"), filepath.Join(dir, "want"))
	d, entries, err := unpack(t, blocks, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, d, entries, filepath.Join(dir, "want"))
}

func TestUsrIsMerged(t *testing.T) {
	d, entries, err := unpack(t, apttest.Package(t,
		file{Name: "./"}, file{Name: "./lib/"}, file{Name: "./lib/modules/a.ko", Body: "a"},
		file{Name: "./lib/modules/b.ko", Link: "../../etc/b"}, file{Name: "./bin/sh", Link: "dash"},
		file{Name: "./lib/modules/c.ko", HardLink: "./lib/modules/a.ko"},
		file{Name: "./usr/lib/x", Body: "x"}), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, strings.TrimSuffix(e.Path+" "+e.Link, " "))
		if e.Path == "usr/lib/modules/c.ko" && string(content(t, d, e)) != "a" {
			t.Error("the hard link has other contents")
		}
	}
	want := []string{"usr", "usr/bin", "usr/bin/sh dash", "usr/lib", "usr/lib/modules", "usr/lib/modules/a.ko",
		"usr/lib/modules/b.ko ../../../etc/b", "usr/lib/modules/c.ko", "usr/lib/x"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestTheLinksOfAMergedUsrAreKept(t *testing.T) {
	_, entries, err := unpack(t, apttest.Package(t, file{Name: "./lib", Link: "usr/lib"}, file{Name: "./lib64", Link: "/usr/lib64"},
		file{Name: "./usr/lib/x", Body: "x"}), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if entries[0].Path != "lib" || entries[0].Link != "usr/lib" || entries[1].Path != "lib64" || entries[1].Link != "usr/lib64" {
		t.Errorf("got %v %v", entries[0], entries[1])
	}
}

func TestLinksNeverLeadOutOfThePackage(t *testing.T) {
	for _, c := range []struct{ from, target, want string }{
		{"usr/lib/a", "b", "b"},
		{"usr/lib/a", "../share/./b//c", "../share/./b//c"},
		{"usr/lib/a", "../../etc/b", "../../etc/b"},
		{"usr/lib/a", "/etc/b", "../../etc/b"},
		{"usr/lib/a", "/usr/lib/b", "b"},
		{"usr/lib/a", "/lib/b", "b"},
		{"usr/lib/a", "/", "../.."},
		{"usr/lib/a", "../../../../etc/passwd", "../../etc/passwd"},
		{"a", "../x", "x"},
		{"a", "..", "."},
		{"lib/a", "../etc/b", "../../etc/b"},
		{"lib/a", "b", "b"},
	} {
		got, err := cleanLink(c.from, MergedUsr(c.from), c.target)
		if err != nil || got != c.want {
			t.Errorf("%s -> %s becomes %s, want %s (%v)", c.from, c.target, got, c.want, err)
		}
	}
}

func TestHostilePackagesAreRefused(t *testing.T) {
	deep := strings.Repeat("d/", maxDepth) + "f"
	for name, c := range map[string]struct {
		files []file
		want  error
		text  string
	}{
		"dot dot":                   {[]file{{Name: "./usr/../../etc/passwd", Body: "x"}}, ErrUnsafe, "leads out"},
		"dot dot that stays inside": {[]file{{Name: "./usr/../etc/passwd", Body: "x"}}, ErrUnsafe, "leads out"},
		"absolute path":             {[]file{{Name: "/etc/passwd", Body: "x"}}, ErrUnsafe, "absolute"},
		"newline in a name":         {[]file{{Name: "./a\nb", Body: "x"}}, ErrUnsafe, `"./a\nb"`},
		"not UTF-8":                 {[]file{{Name: "./a\xff", Body: "x"}}, ErrUnsafe, "path"},
		"same file twice":           {[]file{{Name: "./a", Body: "x"}, {Name: "a", Body: "y"}}, ErrUnsafe, "twice"},
		"a file and a folder":       {[]file{{Name: "./a/"}, {Name: "./a", Body: "y"}}, ErrUnsafe, "twice"},
		"lib and usr/lib":           {[]file{{Name: "./lib/a", Body: "x"}, {Name: "./usr/lib/a", Body: "y"}}, ErrUnsafe, "twice"},
		"file below a link":         {[]file{{Name: "./a", Link: "/etc"}, {Name: "./a/passwd", Body: "x"}}, ErrUnsafe, "no directory"},
		"file below a file":         {[]file{{Name: "./a/b", Body: "x"}, {Name: "./a", Body: "x"}}, ErrUnsafe, "no directory"},
		"link of nothing":           {[]file{{Name: "./a", Link: "x\x01"}}, ErrUnsafe, "link"},
		"hard link to the outside":  {[]file{{Name: "./a", HardLink: "../../etc/shadow"}}, ErrUnsafe, "leads out"},
		"hard link to nothing":      {[]file{{Name: "./a", HardLink: "./b"}}, ErrUnsafe, "no file before it"},
		"hard link to a link":       {[]file{{Name: "./b", Link: "x"}, {Name: "./a", HardLink: "./b"}}, ErrUnsafe, "no file before it"},
		"lib is a link elsewhere":   {[]file{{Name: "./lib", Link: "/tmp"}}, ErrUnsafe, "not to usr/lib"},
		"device node":               {[]file{{Name: "./dev", Type: tar.TypeBlock}}, ErrUnsafe, "tar type"},
		"pipe":                      {[]file{{Name: "./pipe", Type: tar.TypeFifo}}, ErrUnsafe, "tar type"},
		"long name":                 {[]file{{Name: "./" + strings.Repeat("x", 256), Body: "x"}}, ErrTooLarge, "256 bytes"},
		"deep folders":              {[]file{{Name: deep, Body: "x"}}, ErrTooLarge, "levels"},
		"too many files":            {[]file{{Name: "./a", Body: "x"}, {Name: "./b", Body: "x"}, {Name: "./c", Body: "x"}, {Name: "./d", Body: "x"}}, ErrTooLarge, "more than 3 entries"},
		"too many implied folders":  {[]file{{Name: "./a/b/c/d", Body: "x"}}, ErrTooLarge, "more than 3 entries"},
		"too large":                 {[]file{{Name: "./a", Body: strings.Repeat("x", 100_000)}}, ErrTooLarge, "more than 50000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			pkg := apttest.Package(t, c.files...)
			_, _, err := unpack(t, pkg, Limits{Size: 50_000, Entries: 3})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
}

func TestLimitsHoldForEveryCompression(t *testing.T) {
	archive := apttest.Tar(t, file{Name: "./a", Body: strings.Repeat("x", 100_000)})
	for ending, args := range map[string][]string{".xz": {"xz"}, ".zst": {"zstd"}, ".gz": {"gzip"}, "": {"cat"}} {
		cmd := exec.Command(tool(t, args[0], "xz-utils, zstd and gzip"), append(args[1:], "-")...)
		cmd.Stdin = bytes.NewReader(archive)
		if ending != "" {
			cmd.Args = append(cmd.Args, "-c")
		}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		pkg := apttest.Deb(t, ending, out)
		if _, _, err := unpack(t, pkg, Limits{Size: int64(len(archive)), Entries: 10}); err != nil {
			t.Errorf("%q: %v", ending, err)
		}
		if _, _, err := unpack(t, pkg, Limits{Size: int64(len(archive)) - 1, Entries: 10}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%q one byte over the limit: %v", ending, err)
		}
	}
}

func TestBrokenArchivesAreRefused(t *testing.T) {
	good := apttest.Package(t, file{Name: "./a", Body: "x"})
	type member = apttest.Member
	binary, control := member{Name: "debian-binary", Data: []byte("2.0\n")}, member{Name: "control.tar.xz", Data: []byte("x")}
	for name, c := range map[string]struct {
		pkg  []byte
		text string
	}{
		"empty":               {nil, "ends at byte 0"},
		"no archive":          {[]byte("<html>not here</html>"), "no ar archive"},
		"cut in a header":     {good[:40], "ends at byte"},
		"cut in a member":     {good[:len(good)-20], "beyond the file"},
		"no members":          {[]byte(arMagic), "debian-binary"},
		"version 3":           {apttest.Ar(member{Name: "debian-binary", Data: []byte("3.0\n")}, control), "format"},
		"no data":             {apttest.Ar(binary, control), "no data.tar"},
		"data before control": {apttest.Ar(binary, member{Name: "data.tar.xz"}), "where control.tar"},
		"two controls":        {apttest.Ar(binary, control, control), "where control.tar"},
		"bzip2":               {apttest.Deb(t, ".bz2", []byte("x")), "compression .bz2 is not supported"},
		"many members":        {apttest.Ar(make([]member, 17)...), "member name"},
		"seventeen members":   {apttest.Ar(append([]member{binary}, manyMembers()...)...), "more than 16"},
		"xz that is none":     {apttest.Deb(t, ".xz", []byte("this is no xz data")), "data.tar.xz"},
		"zst that is none":    {apttest.Deb(t, ".zst", []byte("this is no zstd")), "data.tar.zst"},
		"gz that is none":     {apttest.Deb(t, ".gz", []byte("this is no gzip")), "data.tar.gz"},
		"tar that is none":    {apttest.Deb(t, "", bytes.Repeat([]byte("not tar "), 100)), "data.tar"},
		"tar cut off":         {apttest.Deb(t, "", apttest.Tar(t, file{Name: "./a", Body: strings.Repeat("x", 2000)})[:1500]), "data.tar"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := unpack(t, c.pkg, DefaultLimits)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q", err, c.text)
			}
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLarge) {
				t.Errorf("%v is of no kind", err)
			}
		})
	}
}

func manyMembers() []apttest.Member {
	list := make([]apttest.Member, 16)
	for i := range list {
		list[i].Name = "_extra"
	}
	return list
}

func TestCancelledUnpackingStops(t *testing.T) {
	for _, ending := range []string{".xz", ""} {
		archive := apttest.Tar(t, file{Name: "./a", Body: "x"})
		if ending == ".xz" {
			archive = apttest.XZ(t, archive)
		}
		pkg := apttest.Deb(t, ending, archive)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, _, err := Unpack(ctx, data(t), bytes.NewReader(pkg), int64(len(pkg)), DefaultLimits, nil)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%q: %v", ending, err)
		}
	}
}

// FuzzUnpack feeds broken packages: only errors may come of them, and every
// entry that does come must be safe.
func FuzzUnpack(f *testing.F) {
	f.Add(apttest.Deb(f, "", apttest.Tar(f, file{Name: "./"}, file{Name: "./lib/a", Body: "x"}, file{Name: "./b", Link: "../c"}, file{Name: "d", HardLink: "lib/a"})))
	f.Add(apttest.Package(f, file{Name: "./a", Body: "x"}))
	f.Fuzz(func(t *testing.T, pkg []byte) {
		d := &memory{}
		n, entries, err := Unpack(context.Background(), d, bytes.NewReader(pkg), int64(len(pkg)), Limits{Size: 1 << 20, Entries: 100}, nil)
		if err != nil {
			return
		}
		for _, e := range entries {
			if !fs.ValidPath(e.Path) || e.Path == "." || e.Offset < 0 || e.Size < 0 || e.Offset+e.Size > n {
				t.Errorf("entry %+v of %d bytes", e, n)
			}
			if e.Link != "" && !staysInside(dirOf(e.Path), e.Link) {
				t.Errorf("%s -> %s leads out", e.Path, e.Link)
			}
		}
	})
}

// FuzzLink checks that no target, however written, leads out.
func FuzzLink(f *testing.F) {
	f.Add("lib/a", "../../../etc")
	f.Add("usr/a/b", "/x/../..")
	f.Fuzz(func(t *testing.T, from, target string) {
		from, err := cleanName(from)
		if err != nil || from == "." {
			return
		}
		to := MergedUsr(from)
		got, err := cleanLink(from, to, target)
		if err != nil {
			return
		}
		if strings.HasPrefix(got, "/") || got == "" || !staysInside(dirOf(to), got) {
			t.Errorf("%s -> %s became %q", from, target, got)
		}
	})
}

func dirOf(name string) string { return filepath.ToSlash(filepath.Dir(name)) }

func TestSparseFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("end"), 1<<20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for _, format := range []string{"pax", "gnu"} {
		archive, err := exec.Command(tool(t, "tar", "tar"), "-C", dir, "--sparse", "--format="+format, "-c", "./sparse").Output()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := unpack(t, apttest.Deb(t, "", archive), DefaultLimits); err == nil {
			t.Errorf("a sparse file in %s format was accepted", format)
		}
	}
}
