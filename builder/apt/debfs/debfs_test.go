package debfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"weft/builder/apt/apttest"
	"weft/builder/apt/deb"
	"weft/builder/apt/fault"
)

type entry = apttest.File

// open unpacks a package of the files and returns its tree and its data file.
func open(t testing.TB, heal func() (Data, error), files ...entry) (*Package, *os.File) {
	t.Helper()
	data, err := os.Create(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	pkg := apttest.Deb(t, "", apttest.Tar(t, files...))
	_, entries, err := deb.Unpack(context.Background(), data, bytes.NewReader(pkg), int64(len(pkg)), deb.DefaultLimits, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := New("test", entries, data, heal)
	t.Cleanup(func() { p.Close() })
	return p, data
}

var kernel = []entry{
	{Name: "./"},
	{Name: "./boot/vmlinuz", Body: strings.Repeat("kernel ", 20_000)},
	{Name: "./usr/lib/modules/6.12/kernel/a.ko.xz", Body: "module a"},
	{Name: "./usr/lib/modules/6.12/kernel/b.ko.xz", Body: "module b"},
	{Name: "./usr/lib/modules/6.12/build", Link: "/usr/src/nowhere"},
	{Name: "./usr/lib/modules/current", Link: "6.12"},
	{Name: "./usr/share/config", Link: "../../boot/../boot/vmlinuz"},
	{Name: "./usr/share/escape", Link: "../../../../../boot/vmlinuz"},
	{Name: "./usr/share/loop", Link: "loop2"},
	{Name: "./usr/share/loop2", Link: "loop"},
	{Name: "./usr/share/empty", Body: ""},
}

func TestAPackageIsAFileSystem(t *testing.T) {
	// The loop and the dangling link cannot be opened, which TestFS takes for
	// a fault.
	var sound []entry
	for _, f := range kernel {
		if !strings.Contains(f.Name, "loop") && !strings.Contains(f.Name, "build") {
			sound = append(sound, f)
		}
	}
	p, _ := open(t, nil, sound...)
	want := []string{"boot/vmlinuz", "usr/lib/modules/6.12/kernel/a.ko.xz", "usr/lib/modules/current", "usr/share/empty"}
	if err := fstest.TestFS(p, want...); err != nil {
		t.Error(err)
	}
	if err := fstest.TestFS(Union(p), want...); err != nil {
		t.Errorf("union: %v", err)
	}
}

func TestLinksAreFollowedInsideThePackage(t *testing.T) {
	p, _ := open(t, nil, kernel...)
	for _, tree := range []fs.FS{p, Union(p)} {
		for name, want := range map[string]string{
			"usr/lib/modules/6.12/kernel/a.ko.xz":    "module a",
			"lib/modules/6.12/kernel/a.ko.xz":        "module a",
			"usr/lib/modules/current/kernel/b.ko.xz": "module b",
			"lib/modules/current/kernel/b.ko.xz":     "module b",
			"usr/share/empty":                        "",
		} {
			got, err := fs.ReadFile(tree, name)
			if err != nil || string(got) != want {
				t.Errorf("%T %s: %q, %v", tree, name, got, err)
			}
		}
		for _, name := range []string{"usr/share/config", "usr/share/escape"} {
			if info, err := fs.Stat(tree, name); err != nil || info.Size() != 140_000 || info.Name() == "vmlinuz" {
				t.Errorf("%T %s: %v %v", tree, name, info, err)
			}
		}
		for name, want := range map[string]error{
			"usr/share/loop":                 errLinks,
			"usr/lib/modules/6.12/build":     fs.ErrNotExist,
			"boot/vmlinuz/x":                 fs.ErrNotExist,
			"nothing":                        fs.ErrNotExist,
			"../etc/passwd":                  fs.ErrInvalid,
			"/usr/lib":                       fs.ErrInvalid,
			"usr/lib/modules/6.12/build/sub": fs.ErrNotExist,
		} {
			if _, err := tree.Open(name); !errors.Is(err, want) {
				t.Errorf("%T %s: %v, want %v", tree, name, err, want)
			}
		}
		if target, err := fs.ReadLink(tree, "lib/modules/current"); err != nil || target != "6.12" {
			t.Errorf("%T link: %q %v", tree, target, err)
		}
		if info, err := fs.Lstat(tree, "usr/share/loop"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%T Lstat of a link: %v %v", tree, info, err)
		}
		if _, err := fs.ReadLink(tree, "boot/vmlinuz"); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%T ReadLink of a file: %v", tree, err)
		}
	}
}

func TestOpenFilesReadAtAnyPlace(t *testing.T) {
	p, _ := open(t, nil, kernel...)
	f, err := Union(p).Open("boot/vmlinuz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := iotest.TestReader(f, []byte(strings.Repeat("kernel ", 20_000))); err != nil {
		t.Error(err)
	}
	buf := make([]byte, 6)
	if n, err := f.(io.ReaderAt).ReadAt(buf, 7); n != 6 || err != nil || string(buf) != "kernel" {
		t.Errorf("ReadAt: %q, %d, %v", buf, n, err)
	}
	info, err := f.Stat()
	if e, ok := info.Sys().(*deb.Entry); err != nil || !ok || e.Path != "boot/vmlinuz" {
		t.Errorf("Sys is %T, %v", info.Sys(), err)
	}
}

func TestWalkingMeetsEachFileOnce(t *testing.T) {
	p, _ := open(t, nil, entry{Name: "./lib", Link: "usr/lib"}, entry{Name: "./lib/a", Body: "a"}, entry{Name: "./usr/lib/b", Body: "b"})
	var got []string
	err := fs.WalkDir(p, ".", func(name string, _ fs.DirEntry, err error) error {
		got = append(got, name)
		return err
	})
	if want := ". lib usr usr/lib usr/lib/a usr/lib/b"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAFileThatRottedIsMadeAnewOrRefused(t *testing.T) {
	for name, read := range map[string]func(fs.FS) ([]byte, error){
		"ReadFile": func(f fs.FS) ([]byte, error) { return fs.ReadFile(f, "boot/vmlinuz") },
		"Read": func(f fs.FS) ([]byte, error) {
			h, err := f.Open("boot/vmlinuz")
			if err != nil {
				return nil, err
			}
			return io.ReadAll(h)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var good Data
			p, data := open(t, func() (Data, error) { return good, nil }, kernel...)
			copied, err := os.ReadFile(data.Name())
			if err != nil {
				t.Fatal(err)
			}
			spoil(t, data, p, "boot/vmlinuz")

			p.heal = nil
			if _, err := read(p); !errors.Is(err, fault.Rotten) || !strings.Contains(err.Error(), "boot/vmlinuz") {
				t.Errorf("without a way to heal: %v", err)
			}
			if got, err := fs.ReadFile(p, "lib/modules/6.12/kernel/a.ko.xz"); err != nil || string(got) != "module a" {
				t.Errorf("a sound file beside it: %q, %v", got, err)
			}

			healed := 0
			good = nopCloser{bytes.NewReader(copied)}
			p.heal = func() (Data, error) { healed++; return good, nil }
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if got, err := read(p); err != nil || len(got) != 140_000 {
						t.Errorf("healed: %d bytes, %v", len(got), err)
					}
				})
			}
			wg.Wait()
			if healed != 1 {
				t.Errorf("made anew %d times", healed)
			}
		})
	}
}

func TestDataThatIsRottenEvenAnewIsRefused(t *testing.T) {
	p, data := open(t, nil, kernel...)
	spoil(t, data, p, "boot/vmlinuz")
	p.heal = func() (Data, error) { return os.Open(data.Name()) }
	if _, err := p.ReadFile("boot/vmlinuz"); !errors.Is(err, fault.Rotten) || !strings.Contains(err.Error(), "even unpacked anew") {
		t.Errorf("got %v", err)
	}
}

// spoil flips a bit of a file.
func spoil(t *testing.T, data *os.File, p *Package, name string) {
	t.Helper()
	info, err := p.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := data.WriteAt([]byte{'K'}, info.Sys().(*deb.Entry).Offset+100); err != nil {
		t.Fatal(err)
	}
}

type nopCloser struct{ io.ReaderAt }

func (nopCloser) Close() error { return nil }

func TestUnionMergesPackages(t *testing.T) {
	base, _ := open(t, nil, entry{Name: "./lib", Link: "usr/lib"}, entry{Name: "./usr/lib/modules/7.2/config", Body: "config"},
		entry{Name: "./usr/share/doc", Body: "first"}, entry{Name: "./usr/share/across", Link: "../../lib/modules/7.2/vmlinuz"})
	binary, _ := open(t, nil, entry{Name: "./usr/lib/modules/7.2/vmlinuz", Body: "kernel"}, entry{Name: "./usr/share/doc", Body: "second"})
	modules, _ := open(t, nil, entry{Name: "./lib/modules/7.2/kernel/a.ko", Body: "a"}, entry{Name: "./usr/share/folder", Link: "../lib/modules"})
	u := Union(base, binary, modules)
	if err := fstest.TestFS(u, "usr/lib/modules/7.2/config", "usr/lib/modules/7.2/vmlinuz", "usr/lib/modules/7.2/kernel/a.ko"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{
		"usr/lib/modules/7.2/config":       "config",
		"lib/modules/7.2/vmlinuz":          "kernel",
		"lib/modules/7.2/kernel/a.ko":      "a",
		"usr/share/doc":                    "first",
		"usr/share/across":                 "kernel",
		"usr/share/folder/7.2/vmlinuz":     "kernel",
		"usr/share/folder/7.2/kernel/a.ko": "a",
	} {
		if got, err := fs.ReadFile(u, name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	list, err := u.ReadDir("lib/modules/7.2")
	if err != nil || len(list) != 3 {
		t.Errorf("got %v, %v", list, err)
	}
	if _, err := u.Open("usr/share/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := fstest.TestFS(Union()); err != nil {
		t.Errorf("union of nothing: %v", err)
	}
}

func TestUnionTakesAnyFileSystem(t *testing.T) {
	p, _ := open(t, nil, kernel...)
	u := Union(fstest.MapFS{"boot/extra": {Data: []byte("x")}}, p)
	list, err := u.ReadDir("boot")
	if err != nil || len(list) != 2 {
		t.Errorf("got %v, %v", list, err)
	}
}

func BenchmarkReadFile(b *testing.B) {
	p, _ := open(b, nil, kernel...)
	b.SetBytes(140_000)
	for b.Loop() {
		if _, err := p.ReadFile("boot/vmlinuz"); err != nil {
			b.Fatal(err)
		}
	}
}
