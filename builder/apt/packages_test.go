package apt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"weft/builder/apt/apttest"
	"weft/builder/apt/fault"
)

func TestBothLayoutsOfKernelPackages(t *testing.T) {
	m := mirrorWithKernels(t)
	s := source(t, m)
	for kernel, want := range map[string]string{
		"linux-image-cloud-amd64":                "linux-image-6.12.107+deb13-cloud-amd64",
		"linux-image-6.12.107+deb13-cloud-amd64": "linux-image-6.12.107+deb13-cloud-amd64",
		"linux-image-amd64":                      "linux-base-7.2.12+deb13-amd64 linux-binary-7.2.12+deb13-amd64 linux-modules-7.2.12+deb13-amd64",
		"linux-image-7.2.12+deb13-amd64":         "linux-base-7.2.12+deb13-amd64 linux-binary-7.2.12+deb13-amd64 linux-modules-7.2.12+deb13-amd64",
	} {
		r := Request{Suite: "trixie", Arch: "amd64", Kernel: kernel}
		l, err := s.Resolve(t.Context(), r)
		if err != nil {
			t.Errorf("%s: %v", kernel, err)
			continue
		}
		if got := names(l.Packages); got != want {
			t.Errorf("%s leads to %s, want %s", kernel, got, want)
		}
		if selected, _, err := l.Select(r); err != nil || names(selected) != want {
			t.Errorf("%s selects %s, %v", kernel, names(selected), err)
		}
	}
	l, err := s.Resolve(t.Context(), Request{Suite: "trixie", Arch: "amd64", Kernel: "linux-image-amd64"})
	if err != nil {
		t.Fatal(err)
	}
	tree := fetchKernel(t, s, l, Request{Suite: "trixie", Arch: "amd64", Kernel: "linux-image-amd64"})
	for _, name := range []string{"usr/lib/modules/7.2/config", "lib/modules/7.2/vmlinuz", "usr/lib/modules/7.2/a.ko"} {
		if _, err := tree.ReadFile(name); err != nil {
			t.Error(err)
		}
	}
}

func TestMistakesInTheRequestAreExplained(t *testing.T) {
	m := mirrorWithKernels(t)
	s := source(t, m)
	for name, c := range map[string]struct {
		r    Request
		kind fault.Kind
		text string
	}{
		"misspelt package":   {Request{Suite: "trixie", Arch: "amd64", Packages: []string{"sytemd-boot-efi"}}, fault.UnknownPackage, "did you mean systemd-boot-efi?"},
		"misspelt kernel":    {Request{Suite: "trixie", Arch: "amd64", Kernel: "linux-image-coud-amd64"}, fault.UnknownPackage, "did you mean linux-image-cloud-amd64?"},
		"unknown package":    {Request{Suite: "trixie", Arch: "amd64", Packages: []string{"bash"}}, fault.UnknownPackage, "suite trixie (main) has no such package for amd64"},
		"hostile name":       {Request{Suite: "trixie", Arch: "amd64", Packages: []string{"x\nPackage: y"}}, fault.UnknownPackage, "no such package"},
		"no kernel":          {Request{Suite: "trixie", Arch: "amd64", Kernel: "systemd-boot-efi"}, fault.BadInput, "no kernel package"},
		"other architecture": {Request{Suite: "trixie", Arch: "riscv64", Kernel: "linux-image-amd64"}, fault.WrongSuite, "use one of all, amd64"},
		"other component":    {Request{Suite: "trixie", Arch: "amd64", Components: []string{"non-free"}, Packages: []string{"x"}}, fault.WrongSuite, "use one of main"},
		"unknown suite":      {Request{Suite: "tixie", Arch: "amd64"}, fault.Missing, "suite tixie"},
		"hostile suite":      {Request{Suite: "../trixie", Arch: "amd64"}, fault.BadInput, "no names of a suite"},
	} {
		_, err := s.Resolve(t.Context(), c.r)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || strings.Count(err.Error(), "fix: ") != 1 {
			t.Errorf("%s: %v, want %v with %q and one fix", name, err, c.kind, c.text)
		}
	}
}

func TestABadIndexIsRefused(t *testing.T) {
	stanza := "Package: systemd-boot-efi\nVersion: 1\nArchitecture: amd64\nFilename: %s\nSize: %s\nSHA256: " + strings.Repeat("ab", 32) + "\n"
	text := func(path, size string) []byte { return fmt.Appendf(nil, stanza, path, size) }
	for name, c := range map[string]struct {
		packages func(t *testing.T, m *apttest.Mirror) []byte
		signed   bool
		kind     fault.Kind
		text     string
	}{
		"tampered": {func(t *testing.T, m *apttest.Mirror) []byte { return apttest.XZ(t, text("pool/x.deb", "1")) }, false, fault.Tampered, ""},
		"truncated": {func(_ *testing.T, m *apttest.Mirror) []byte {
			d := m.Get("dists/trixie/main/binary-amd64/Packages.xz")
			return d[:len(d)-8]
		}, false, fault.Tampered, "bytes"},
		"longer": {func(_ *testing.T, m *apttest.Mirror) []byte {
			return append(m.Get("dists/trixie/main/binary-amd64/Packages.xz"), 0)
		}, false, fault.TooLarge, "bytes"},
		"no xz":            {func(*testing.T, *apttest.Mirror) []byte { return []byte("Package: x\n") }, true, fault.Malformed, "cannot be decompressed"},
		"no deb822":        {func(t *testing.T, _ *apttest.Mirror) []byte { return apttest.XZ(t, []byte("no fields here")) }, true, fault.Malformed, "no index of packages"},
		"path leading out": {func(t *testing.T, _ *apttest.Mirror) []byte { return apttest.XZ(t, text("pool/../../x.deb", "1")) }, true, fault.Malformed, "leads out"},
		"no size":          {func(t *testing.T, _ *apttest.Mirror) []byte { return apttest.XZ(t, text("pool/x.deb", "many")) }, true, fault.Malformed, "field Size"},
		"endless size":     {func(t *testing.T, _ *apttest.Mirror) []byte { return apttest.XZ(t, text("pool/x.deb", "99999999999")) }, true, fault.Malformed, "size 99999999999"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mirrorWithKernels(t)
			s := source(t, m)
			index := m.Get("dists/trixie/main/binary-amd64/Packages.xz")
			bad := c.packages(t, m)
			if c.signed {
				m.PutPackages(bad)
				m.Sign()
			} else {
				m.Put(strings.TrimPrefix(byHash(index), "/"), bad)
			}
			_, err := s.Resolve(t.Context(), Request{Suite: "trixie", Arch: "amd64", Packages: []string{"systemd-boot-efi"}})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), "fix: ") {
				t.Errorf("got %v, want %v with %q", err, c.kind, c.text)
			}
		})
	}
}

func byHash(index []byte) string {
	return fmt.Sprintf("/dists/trixie/main/binary-amd64/by-hash/SHA256/%x", sumOf(index))
}

func TestAnIndexThatIsAnnouncedTooLargeIsNotFetched(t *testing.T) {
	r := &release{architectures: []string{"amd64"}, components: []string{"main"},
		files: map[string]releaseFile{"main/binary-amd64/Packages.xz": {size: maxIndexFile + 1}}}
	m := mirrorWithKernels(t)
	if _, err := source(t, m).packages(t.Context(), r, "InRelease", "trixie", "main", "amd64"); !errors.Is(err, fault.TooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestAMirrorWithoutNamesByHash(t *testing.T) {
	m := mirrorWithKernels(t)
	m.Remove(strings.TrimPrefix(byHash(m.Get("dists/trixie/main/binary-amd64/Packages.xz")), "/"))
	if _, err := source(t, m).Resolve(t.Context(), cloud); err != nil {
		t.Error(err)
	}
}

func TestTheNewestVersionIsTaken(t *testing.T) {
	m := apttest.NewMirror(t)
	for _, v := range []string{"1.0-9", "1:0.1-1", "1.0-10"} {
		m.Add("tool", v, apttest.Package(t))
	}
	m.Publish()
	l, err := source(t, m).Resolve(t.Context(), Request{Suite: "trixie", Arch: "amd64", Packages: []string{"tool"}})
	if err != nil || l.Packages[0].Version != "1:0.1-1" {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestAMetaPackageAheadOfItsKernelIsExplained(t *testing.T) {
	m := apttest.NewMirror(t)
	m.Add("linux-image-amd64", "2", apttest.Package(t), "Depends: linux-image-2-amd64 (= 2)")
	m.Publish()
	r := Request{Suite: "trixie", Arch: "amd64", Kernel: "linux-image-amd64"}
	if _, err := source(t, m).Resolve(t.Context(), r); !errors.Is(err, fault.UnknownPackage) || !strings.Contains(err.Error(), "middle of an update") {
		t.Errorf("missing: %v", err)
	}
	m.Add("linux-image-2-amd64", "1", apttest.Package(t))
	m.Publish()
	if _, err := source(t, m).Resolve(t.Context(), r); !errors.Is(err, fault.UnknownPackage) || !strings.Contains(err.Error(), "the suite has 1") {
		t.Errorf("older: %v", err)
	}
}

func TestDependenciesAsWritten(t *testing.T) {
	got := parseDepends("dracut | initramfs-tools (>= 0.120+deb8u2) | perl:any, kmod,\n linux-base-7 (=7.2) [amd64] <!nocheck>, , (bad), bb(<<1)")
	want := []Dependency{
		{{Name: "dracut"}, {Name: "initramfs-tools", Op: ">=", Version: "0.120+deb8u2"}, {Name: "perl"}},
		{{Name: "kmod"}}, {{Name: "linux-base-7", Op: "=", Version: "7.2"}}, {{Name: "bb", Op: "<<", Version: "1"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	for _, c := range []struct {
		op      string
		allowed string
	}{{"", "1 2 3"}, {"=", "2"}, {"<<", "1"}, {"<=", "1 2"}, {">=", "2 3"}, {">>", "3"}, {"!", ""}} {
		var allowed []string
		for _, v := range []string{"1", "2", "3"} {
			if (Relation{Name: "x", Op: c.op, Version: "2"}).allows(v) {
				allowed = append(allowed, v)
			}
		}
		if got := strings.Join(allowed, " "); got != c.allowed {
			t.Errorf("%s 2 allows %s", c.op, got)
		}
	}
}

// A full disk is no fault of the mirror, and no other mirror helps.
func TestAFullDiskIsNoFaultOfTheIndex(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	packed := apttest.XZ(t, []byte("Package: x\n"))
	src, err := os.Create(filepath.Join(t.TempDir(), "Packages.xz"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := src.Write(packed); err != nil {
		t.Fatal(err)
	}
	_, err = decompressIndex(t.Context(), "http://example.org/dists/trixie/Packages.xz", src, int64(len(packed)), full)
	if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, fault.Malformed) || strings.Contains(err.Error(), "mirror") {
		t.Errorf("got %v, want a full disk", err)
	}
}
