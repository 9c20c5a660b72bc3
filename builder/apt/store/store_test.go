package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/builder/apt/apttest"
	"weft/builder/apt/deb"
	"weft/builder/apt/fault"
)

var now = apttest.Now

const body = "contents of the file"

func samplePackage(t testing.TB) []byte {
	return apttest.Package(t, apttest.File{Name: "./usr/lib/file", Body: body}, apttest.File{Name: "./usr/lib/link", Link: "file"})
}

func itemOf(pkg []byte, fetch Fetch) Item {
	return Item{Name: "test", SHA256: sha256.Sum256(pkg), Limits: deb.DefaultLimits, Fetch: fetch}
}

// fetchOf returns a Fetch of pkg and how often it was called.
func fetchOf(pkg []byte) (Fetch, *atomic.Int32) {
	var n atomic.Int32
	return func(_ context.Context, part string) error {
		n.Add(1)
		return os.WriteFile(part, pkg, 0o644)
	}, &n
}

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check reads the package's file.
func check(t *testing.T, s *Store, item Item) {
	t.Helper()
	p, err := s.Package(t.Context(), item)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got, err := p.ReadFile("lib/link"); err != nil || string(got) != body {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestAPackageIsFetchedAndUnpackedOnce(t *testing.T) {
	pkg := samplePackage(t)
	fetch, fetched := fetchOf(pkg)
	dir := t.TempDir()
	check(t, openStore(t, dir), itemOf(pkg, fetch))
	check(t, openStore(t, dir), itemOf(pkg, fetch))
	s := openStore(t, dir)
	item := itemOf(pkg, fetch)
	item.Unpacking = func(context.Context) (func(int), func(error), error) {
		t.Error("unpacked again")
		return nil, nil, errors.New("no")
	}
	check(t, s, item)
	if fetched.Load() != 1 {
		t.Errorf("fetched %d times", fetched.Load())
	}
	noLeftovers(t, dir)
}

// noLeftovers checks that nothing temporary stayed behind.
func noLeftovers(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(dir, tmp))
	if err != nil || len(list) > 0 {
		t.Errorf("left in tmp: %v %v", list, err)
	}
}

func TestManyBuildsAtOnceUnpackOnce(t *testing.T) {
	pkg := samplePackage(t)
	fetch, fetched := fetchOf(pkg)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { check(t, openStore(t, dir), itemOf(pkg, fetch)) })
	}
	wg.Wait()
	if fetched.Load() != 1 {
		t.Errorf("fetched %d times", fetched.Load())
	}
	noLeftovers(t, dir)
}

func TestRottenObjectsAreNeverUsed(t *testing.T) {
	pkg := samplePackage(t)
	object := func(dir string) string {
		return filepath.Join(dir, objects, format+"-"+hex.EncodeToString(sum(pkg)))
	}
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"data cut short": func(t *testing.T, dir string) { truncate(t, filepath.Join(object(dir), "data"), 100) },
		"data empty":     func(t *testing.T, dir string) { truncate(t, filepath.Join(object(dir), "data"), 0) },
		"data gone":      func(t *testing.T, dir string) { remove(t, filepath.Join(object(dir), "data")) },
		"bit in data": func(t *testing.T, dir string) {
			replace(t, filepath.Join(object(dir), "data"), body, "Contents of the file")
		},
		"index cut short": func(t *testing.T, dir string) { truncate(t, filepath.Join(object(dir), "index"), 100) },
		"index gone":      func(t *testing.T, dir string) { remove(t, filepath.Join(object(dir), "index")) },
		"bit in index": func(t *testing.T, dir string) {
			replace(t, filepath.Join(object(dir), "index"), "usr/lib/file", "usr/lib/life")
		},
		"object is a file":  func(t *testing.T, dir string) { remove(t, object(dir)); write(t, object(dir), "x") },
		"index is a folder": func(t *testing.T, dir string) { p := filepath.Join(object(dir), "index"); remove(t, p); mkdir(t, p) },
		"rotten download": func(t *testing.T, dir string) {
			remove(t, object(dir))
			write(t, filepath.Join(dir, downloads, hex.EncodeToString(sum(pkg))), "x")
		},
		"both of them": func(t *testing.T, dir string) {
			truncate(t, filepath.Join(object(dir), "data"), 9)
			write(t, filepath.Join(dir, downloads, hex.EncodeToString(sum(pkg))), "x")
		},
		"everything emptied": func(t *testing.T, dir string) {
			truncate(t, filepath.Join(object(dir), "data"), 0)
			truncate(t, filepath.Join(object(dir), "index"), 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			fetch, _ := fetchOf(pkg)
			dir := t.TempDir()
			s := openStore(t, dir)
			check(t, s, itemOf(pkg, fetch))
			spoil(t, dir)
			check(t, s, itemOf(pkg, fetch))
			check(t, openStore(t, dir), itemOf(pkg, nil))
			noLeftovers(t, dir)
		})
	}
}

func TestRotFoundWhileReadingIsHealedForTheNextBuildToo(t *testing.T) {
	pkg := samplePackage(t)
	fetch, fetched := fetchOf(pkg)
	dir := t.TempDir()
	s := openStore(t, dir)
	first, err := s.Package(t.Context(), itemOf(pkg, fetch))
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Package(t.Context(), itemOf(pkg, fetch))
	if err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(s.path(itemOf(pkg, nil)), "data"), body, "Contents of the file")
	for i, p := range []fs.ReadFileFS{first, second} {
		if got, err := p.ReadFile("usr/lib/file"); err != nil || string(got) != body {
			t.Errorf("package %d: %q, %v", i, got, err)
		}
	}
	check(t, s, itemOf(pkg, nil))
	if fetched.Load() != 1 {
		t.Errorf("fetched %d times; the download was sound", fetched.Load())
	}
}

func TestAFailedFetchLeavesItsBeginning(t *testing.T) {
	pkg := samplePackage(t)
	cut := errors.New("cut off")
	s := openStore(t, t.TempDir())
	_, err := s.Package(t.Context(), itemOf(pkg, func(_ context.Context, part string) error {
		return errors.Join(os.WriteFile(part, pkg[:100], 0o644), cut)
	}))
	if !errors.Is(err, cut) {
		t.Errorf("got %v", err)
	}
	check(t, s, itemOf(pkg, func(_ context.Context, part string) error {
		if got, err := os.ReadFile(part); err != nil || !bytes.Equal(got, pkg[:100]) {
			t.Errorf("the beginning is gone: %v", err)
		}
		return os.WriteFile(part, pkg, 0o644)
	}))
}

func TestAPackageOfABadFormIsAFault(t *testing.T) {
	pkg := apttest.Package(t, apttest.File{Name: "../x", Body: "x"})
	fetch, _ := fetchOf(pkg)
	dir := t.TempDir()
	_, err := openStore(t, dir).Package(t.Context(), itemOf(pkg, fetch))
	if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "unpack test") {
		t.Errorf("got %v", err)
	}
	noLeftovers(t, dir)
}

func TestOldBeginningsAreSwept(t *testing.T) {
	dir := t.TempDir()
	openStore(t, dir)
	old, recent := filepath.Join(dir, downloads, "aa.part"), filepath.Join(dir, downloads, "bb.part")
	whole := filepath.Join(dir, downloads, "cc")
	for _, path := range []string{old, recent, whole} {
		write(t, path, "x")
		if err := os.Chtimes(path, now.Add(-partAge), now.Add(-partAge)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(recent, now, now.Add(time.Minute-partAge)); err != nil {
		t.Fatal(err)
	}
	openStore(t, dir)
	for path, want := range map[string]bool{old: false, recent: true, whole: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want kept %v", filepath.Base(path), err, want)
		}
	}
}

func TestDerivedFilesAreMadeOnceAndRefusedWhenRotten(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	source := []byte("source")
	fetch, fetched := fetchOf(source)
	made := 0
	derive := func() string {
		got, err := s.Derived(t.Context(), "upper-v1", sha256.Sum256(source), fetch,
			func(_ context.Context, src *os.File, size int64, _ *os.File) ([]byte, error) {
				made++
				buf := make([]byte, size)
				_, err := src.ReadAt(buf, 0)
				return bytes.ToUpper(buf), err
			})
		if err != nil {
			t.Fatal(err)
		}
		return string(got)
	}
	for range 2 {
		if got := derive(); got != "SOURCE" || made != 1 || fetched.Load() != 1 {
			t.Errorf("%q, made %d times", got, made)
		}
	}
	replace(t, filepath.Join(dir, derived, "upper-v1-"+hex.EncodeToString(sum(source))), "SOURCE", "SAUCE!")
	if got := derive(); got != "SOURCE" || made != 2 {
		t.Errorf("%q, made %d times", got, made)
	}
	noLeftovers(t, dir)
}

func TestACacheThatCannotBeWrittenSaysSo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "x")
	if _, err := Open(filepath.Join(file, "cache"), now, nil); err == nil || !strings.Contains(err.Error(), "WEFT_CACHE") {
		t.Errorf("got %v", err)
	}
}

func TestTheCacheFolderCanBeChosen(t *testing.T) {
	t.Setenv("HOME", "/home/somebody")
	t.Setenv("XDG_CACHE_HOME", "")
	if dir, err := Dir(""); err != nil || !strings.HasPrefix(dir, "/home/somebody/") || filepath.Base(dir) != "weft" {
		t.Errorf("got %s, %v", dir, err)
	}
	if dir, err := Dir("/elsewhere"); err != nil || dir != "/elsewhere" {
		t.Errorf("got %s, %v", dir, err)
	}
}

func sum(data []byte) []byte { s := sha256.Sum256(data); return s[:] }

func truncate(t *testing.T, path string, n int64) {
	t.Helper()
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// replace changes a text in a file in place.
func replace(t *testing.T, path, old, new string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte(old))
	if at < 0 || len(old) != len(new) {
		t.Fatalf("%q is not in %s", old, path)
	}
	if _, err := f.WriteAt([]byte(new), int64(at)); err != nil {
		t.Fatal(err)
	}
}
