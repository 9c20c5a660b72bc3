package apt

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/builder/apt/apttest"
	"weft/builder/apt/debfs"
	"weft/builder/apt/fault"
	"weft/builder/apt/store"
)

type file = apttest.File

// mirrorWithKernels has the layout of Linux 6.12, that of 7.x, and a package
// that is no kernel.
func mirrorWithKernels(t testing.TB) *apttest.Mirror {
	m := apttest.NewMirror(t)
	image := "linux-image-6.12.107+deb13-cloud-amd64"
	m.Add("linux-image-cloud-amd64", "6.12.107-1", apttest.Package(t, file{Name: "./usr/share/doc/x", Body: "meta"}),
		"Installed-Size: 13", "Depends: "+image+" (= 6.12.107-1)")
	m.Add(image, "6.12.107-1", apttest.Package(t, file{Name: "./boot/vmlinuz-6.12", Body: "kernel"}, file{Name: "./usr/lib/modules/6.12/a.ko", Body: "a"}),
		"Installed-Size: 34672", "Pre-Depends: linux-base (>= 4.12~)", "Depends: kmod, initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool")

	const v = "7.2.12-1~bpo13+1"
	exact := " (= " + v + ")"
	m.Add("linux-image-amd64", v, apttest.Package(t), "Installed-Size: 16",
		"Depends: linux-base-amd64"+exact+", linux-image-7.2.12+deb13-amd64"+exact)
	m.Add("linux-base-amd64", v, apttest.Package(t), "Installed-Size: 9", "Depends: linux-base-7.2.12+deb13-amd64"+exact)
	m.Add("linux-image-7.2.12+deb13-amd64", v, apttest.Package(t), "Installed-Size: 15",
		"Depends: dracut | initramfs-tools (>= 0.120+deb8u2), linux-base-7.2.12+deb13-amd64"+exact+
			",\n linux-binary-7.2.12+deb13-amd64"+exact+", linux-modules-7.2.12+deb13-amd64"+exact, "Pre-Depends: linux-base (>= 4.17~)")
	m.Add("linux-base-7.2.12+deb13-amd64", v, apttest.Package(t, file{Name: "./usr/lib/modules/7.2/config", Body: "config"}), "Installed-Size: 1256")
	m.Add("linux-binary-7.2.12+deb13-amd64", v, apttest.Package(t, file{Name: "./usr/lib/modules/7.2/vmlinuz", Body: "kernel"}),
		"Installed-Size: 13476", "Depends: linux-base-7.2.12+deb13-amd64"+exact)
	m.Add("linux-modules-7.2.12+deb13-amd64", v, apttest.Package(t, file{Name: "./usr/lib/modules/7.2/a.ko", Body: "a"}),
		"Installed-Size: 37285", "Depends: kmod, linux-base-7.2.12+deb13-amd64"+exact)
	m.Add("systemd-boot-efi", "257.13-1", apttest.Package(t, file{Name: "./usr/lib/systemd/boot/efi/systemd-bootx64.efi", Body: "MZ"}), "Installed-Size: 300")
	return m.Publish()
}

// source returns a source on a mirror with an empty cache.
func source(t testing.TB, m *apttest.Mirror) *Source {
	t.Helper()
	return sourceAt(t, m, t.TempDir())
}

func sourceAt(t testing.TB, m *apttest.Mirror, dir string) *Source {
	t.Helper()
	cache, err := store.Open(dir, m.Clock(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Mirror: m.URL, Cache: cache, HTTP: m.Client(), Clock: m.Clock, Keys: m.Ring(),
		Pause: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var cloud = Request{Suite: "trixie", Arch: "amd64", Kernel: "linux-image-cloud-amd64", Packages: []string{"systemd-boot-efi"}}

// fetchKernel fetches what a lock has for the kernel of a request.
func fetchKernel(t *testing.T, s *Source, l *Lock, r Request) *debfs.Merged {
	t.Helper()
	kernel, _, err := l.Select(r)
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.FetchAll(t.Context(), kernel)
	if err != nil {
		t.Fatal(err)
	}
	members := make([]fs.FS, len(list))
	for i, p := range list {
		t.Cleanup(func() { p.Close() })
		members[i] = p
	}
	return debfs.Union(members...)
}

func names(list []Entry) string {
	var out []string
	for _, e := range list {
		out = append(out, e.Name)
	}
	return strings.Join(out, " ")
}

func TestFromSuiteToFiles(t *testing.T) {
	for _, form := range []string{".xz", ".gz"} {
		t.Run(form, func(t *testing.T) {
			m := mirrorWithKernels(t)
			m.Form = form
			m.Publish()
			s := source(t, m)
			l, err := s.Resolve(t.Context(), cloud)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(l.Packages); got != "linux-image-6.12.107+deb13-cloud-amd64 systemd-boot-efi" || l.Epoch != apttest.Now.Unix() {
				t.Errorf("locked %s at %d", got, l.Epoch)
			}
			for _, r := range m.Requests("Packages") {
				t.Errorf("the index was asked for by name, %s, not by hash", r.URL)
			}
			l, err = ReadLock("weft.lock", l.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			tree := fetchKernel(t, s, l, cloud)
			for name, want := range map[string]string{"boot/vmlinuz-6.12": "kernel", "lib/modules/6.12/a.ko": "a"} {
				if got, err := tree.ReadFile(name); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v", name, got, err)
				}
			}
		})
	}
}

func TestSeveralRequestsShareALock(t *testing.T) {
	m := mirrorWithKernels(t)
	other := cloud
	other.Kernel = "linux-image-6.12.107+deb13-cloud-amd64"
	l, err := source(t, m).Resolve(t.Context(), cloud, other, cloud)
	if err != nil || len(l.Packages) != 2 || !slices.Equal(l.Packages[0].For, []string{"linux-image-cloud-amd64"}) {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestAKernelComesFromASuiteOfItsOwn(t *testing.T) {
	m := mirrorWithKernels(t)
	// What follows is in backports only, and a day younger.
	m.Directory = "trixie-backports"
	m.Fields["Suite"], m.Fields["Codename"] = "stable-backports", "trixie-backports"
	m.Fields["Date"] = apttest.Now.AddDate(0, 0, 1).Format(time.RFC1123)
	const image = "linux-image-7.3.4+deb13-cloud-amd64"
	m.Add("linux-image-cloud-amd64", "7.3.4-1~bpo13+1", apttest.Package(t), "Installed-Size: 13", "Depends: "+image+" (= 7.3.4-1~bpo13+1)")
	m.Add(image, "7.3.4-1~bpo13+1", apttest.Package(t), "Installed-Size: 34672")
	m.Publish()
	r := cloud
	r.KernelSuite = "trixie-backports"
	cache, err := store.Open(t.TempDir(), m.Clock(), nil)
	if err != nil {
		t.Fatal(err)
	}
	later := func() time.Time { return m.Clock().AddDate(0, 0, 2) }
	s, err := New(Options{Mirror: m.URL, Cache: cache, HTTP: m.Client(), Clock: later, Keys: m.Ring()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if l.Epoch != apttest.Now.AddDate(0, 0, 1).Unix() {
		t.Errorf("the lock's epoch %d is not that of the younger suite", l.Epoch)
	}
	kernel, packages, err := l.Select(r)
	if err != nil || names(kernel) != image || kernel[0].Suite != "trixie-backports" || names(packages) != "systemd-boot-efi" || packages[0].Suite != "trixie" {
		t.Errorf("kernel %+v\npackages %+v\n%v", kernel, packages, err)
	}
	if _, _, err := l.Select(cloud); !errors.Is(err, fault.NotLocked) {
		t.Errorf("the kernel of trixie is not in the lock: %v", err)
	}
}

func TestAPackageThatChangedIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(m *apttest.Mirror, path string)
		kind  fault.Kind
		text  string
	}{
		"tampered":  {func(m *apttest.Mirror, p string) { d := bytes.Clone(m.Get(p)); d[len(d)/2] ^= 1; m.Put(p, d) }, fault.Tampered, "SHA-256"},
		"truncated": {func(m *apttest.Mirror, p string) { m.Put(p, m.Get(p)[:100]) }, fault.Tampered, "it has 100 bytes"},
		"longer":    {func(m *apttest.Mirror, p string) { m.Put(p, append(bytes.Clone(m.Get(p)), 0)) }, fault.TooLarge, "bytes"},
		"gone":      {func(m *apttest.Mirror, p string) { m.Remove(p) }, fault.Missing, "run weft lock --update, or use a snapshot mirror"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mirrorWithKernels(t)
			s := source(t, m)
			l, err := s.Resolve(t.Context(), cloud)
			if err != nil {
				t.Fatal(err)
			}
			e := l.Packages[1]
			good := m.Get(e.Path)
			c.spoil(m, e.Path)
			_, err = s.Fetch(t.Context(), e)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), e.Path) {
				t.Errorf("got %v, want %v with %q", err, c.kind, c.text)
			}
			m.Put(e.Path, good)
			p, err := s.Fetch(t.Context(), e)
			if err != nil {
				t.Fatalf("after the mirror was repaired: %v", err)
			}
			p.Close()
		})
	}
}

func TestALockNeedsNeitherSignatureNorIndex(t *testing.T) {
	m := mirrorWithKernels(t)
	l, err := source(t, m).Resolve(t.Context(), cloud)
	if err != nil {
		t.Fatal(err)
	}
	m.Requests("")
	dir := t.TempDir()
	s := sourceAt(t, m, dir)
	for _, e := range l.Packages {
		p, err := s.Fetch(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
	}
	for _, r := range m.Requests("") {
		if !strings.HasPrefix(r.URL.Path, "/pool/") {
			t.Errorf("asked for %s", r.URL)
		}
	}

	m.Close()
	warm := sourceAt(t, m, dir)
	for _, e := range l.Packages {
		p, err := warm.Fetch(t.Context(), e)
		if err != nil {
			t.Errorf("without any mirror: %v", err)
			continue
		}
		p.Close()
	}
}

func TestOnlyADownloadNeedsAMirror(t *testing.T) {
	m := mirrorWithKernels(t)
	dir := t.TempDir()
	l, err := source(t, m).Resolve(t.Context(), cloud)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sourceAt(t, m, dir).Fetch(t.Context(), l.Packages[0])
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	cache, err := store.Open(dir, m.Clock(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Fetch(t.Context(), l.Packages[0]); err != nil {
		t.Errorf("from the cache: %v", err)
	} else {
		p.Close()
	}
	if _, err := s.Fetch(t.Context(), l.Packages[1]); !errors.Is(err, fault.NoMirror) || !strings.Contains(err.Error(), "WEFT_MIRROR") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Resolve(t.Context(), cloud); !errors.Is(err, fault.NoMirror) {
		t.Errorf("got %v", err)
	}
}

func TestAFolderIsAMirrorToo(t *testing.T) {
	m := mirrorWithKernels(t)
	dir := t.TempDir()
	m.WriteTo(dir)
	for _, address := range []string{dir, "file://" + dir} {
		cache, err := store.Open(t.TempDir(), m.Clock(), nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Options{Mirror: address, Cache: cache, Clock: m.Clock, Keys: m.Ring()})
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.Resolve(t.Context(), cloud)
		if err != nil {
			t.Fatal(err)
		}
		if tree := fetchKernel(t, s, l, cloud); tree == nil {
			t.Error("no tree")
		}
	}
}

func TestAFaultEndsTheOtherFetches(t *testing.T) {
	m := mirrorWithKernels(t)
	s := source(t, m)
	l, err := s.Resolve(t.Context(), cloud)
	if err != nil {
		t.Fatal(err)
	}
	m.Remove(l.Packages[1].Path)
	if _, err := s.FetchAll(t.Context(), l.Packages); !errors.Is(err, fault.Missing) {
		t.Errorf("got %v", err)
	}
}

func TestEntriesMadeByHandAreChecked(t *testing.T) {
	m := mirrorWithKernels(t)
	e := sampleLock().Packages[0]
	e.Path = "pool/../../etc/shadow.deb"
	if _, err := source(t, m).Fetch(t.Context(), e); !errors.Is(err, fault.BadInput) {
		t.Errorf("got %v", err)
	}
	if len(m.Requests("")) > 0 {
		t.Error("it was asked for")
	}
}

func TestALocalDebIsReadAndReadAgainWhenItChanges(t *testing.T) {
	m := mirrorWithKernels(t)
	s := source(t, m)
	name := filepath.Join(t.TempDir(), "kernel.deb")
	for _, body := range []string{"first", "second"} {
		if err := os.WriteFile(name, apttest.Package(t, file{Name: "./boot/vmlinuz", Body: body}), 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := s.Deb(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.ReadFile("boot/vmlinuz"); err != nil || string(got) != body {
			t.Errorf("%q, %v", got, err)
		}
		p.Close()
	}
	for _, bad := range []string{filepath.Join(t.TempDir(), "none.deb"), t.TempDir()} {
		if _, err := s.Deb(t.Context(), bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("got %v", err)
		}
	}
	if err := os.WriteFile(name, []byte("no package"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Deb(t.Context(), name); !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "kernel.deb") {
		t.Errorf("got %v", err)
	}
}
