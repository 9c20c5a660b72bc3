package userland

import (
	"debug/elf"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"weft/builder/cache"
	"weft/builder/tree"
)

// host is this machine as a package: the files are real, and ldd and the
// dynamic linker tell whether the pick is right.
func host(t *testing.T, roots ...string) Input {
	t.Helper()
	for _, file := range []string{"/usr/lib/ipsec/charon", "/usr/lib/ipsec/plugins/libstrongswan-openssl.so",
		"/usr/lib/ipsec/plugins/libstrongswan-vici.so", "/usr/sbin/xtables-nft-multi"} {
		if _, err := os.Stat(file); err != nil {
			t.Fatal("install strongswan-charon, strongswan-swanctl, libstrongswan-standard-plugins and iptables: make deps")
		}
	}
	return Input{Arch: runtime.GOARCH, Roots: roots, Packages: []Package{{Name: "host", SHA256: "none", Files: os.DirFS("/")}}}
}

func pick(t *testing.T, in Input) []File {
	t.Helper()
	files, err := Pick(in)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// picked are the paths of files.
func picked(files []File) map[string]bool {
	set := map[string]bool{}
	for _, f := range files {
		set[f.Path] = true
	}
	return set
}

func TestLibrariesAreThoseThatLddFinds(t *testing.T) {
	files := pick(t, host(t, "strongswan-charon", "iptables"))
	set := picked(files)
	library := regexp.MustCompile(`(/\S+) \(0x`)
	for _, f := range files {
		if f.Target != "" {
			continue
		}
		program, err := elf.Open("/" + f.Path)
		if err != nil {
			continue
		}
		program.Close()
		out, err := exec.Command("ldd", "/"+f.Path).CombinedOutput()
		if err != nil {
			continue // the dynamic linker itself
		}
		for _, m := range library.FindAllStringSubmatch(string(out), -1) {
			real, err := filepath.EvalSymlinks(m[1])
			if err != nil {
				t.Fatal(err)
			}
			if !set[strings.TrimPrefix(real, "/")] {
				t.Errorf("%s needs %s, which is not among the files", f.Path, real)
			}
		}
	}
}

// The programs run where there is nothing but what was picked.
func TestProgramsRunWithNothingElseAround(t *testing.T) {
	in := host(t, "strongswan-charon", "iptables")
	dir := t.TempDir()
	unpack(t, dir, in)
	config := filepath.Join(dir, "strongswan.conf")
	if err := os.WriteFile(config, []byte("charon {\n load_modular = no\n load = random nonce openssl kernel-netlink socket-default vici\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ program, says string }{
		{"/usr/lib/ipsec/charon --version", "strongSwan"},
		{"/usr/sbin/iptables --version", "nf_tables"},
		{"/usr/sbin/ip6tables-restore --version", "nf_tables"},
	} {
		words := strings.Fields(c.program)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Path = words[0]
		cmd.Err = nil
		cmd.Dir, cmd.Env = "/", []string{"STRONGSWAN_CONF=/strongswan.conf"}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Chroot:      dir,
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %v\n%s", c.program, err, out)
		}
	}
}

// unpack writes what is picked of in to dir, as it is in the root.
func unpack(t *testing.T, dir string, in Input) {
	t.Helper()
	root := tree.New(time.Unix(0, 0))
	for _, name := range []string{"bin", "sbin", "lib"} {
		root.Symlink(name, "usr/"+name)
	}
	if err := errors.Join(AddTo(root, pick(t, in), in.Packages), root.Err()); err != nil {
		t.Fatal(err)
	}
	for e := range root.All() {
		to := filepath.Join(dir, e.Path)
		var err error
		switch {
		case e.Mode.IsDir():
			err = os.MkdirAll(to, 0o755)
		case e.Mode&fs.ModeSymlink != 0:
			err = os.Symlink(e.Target, to)
		default:
			var r io.ReadCloser
			if r, err = e.Content.Open(); err != nil {
				break
			}
			var data []byte
			data, err = io.ReadAll(r)
			err = errors.Join(err, r.Close(), os.WriteFile(to, data, e.Mode.Perm()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestNothingElseIsTaken(t *testing.T) {
	for _, f := range pick(t, host(t, "strongswan-charon", "iptables")) {
		if !strings.HasPrefix(f.Path, "usr/lib") && !strings.HasPrefix(f.Path, "usr/sbin/") {
			t.Errorf("%s was taken", f.Path)
		}
		if strings.Contains(f.Path, "/share/") || strings.HasSuffix(f.Path, "starter") {
			t.Errorf("%s was taken", f.Path)
		}
	}
}

func TestPickIsTheSameTwiceAndKept(t *testing.T) {
	in := host(t, "iptables")
	dir, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first := pick(t, in)
	in.Cache = dir
	pick(t, in)
	in.Packages[0].Files = fstest.MapFS{} // not looked at again
	if again := pick(t, in); !reflect.DeepEqual(first, again) {
		t.Errorf("picked %v, then %v", first, again)
	}
	in.Packages[0].SHA256 = "another"
	if _, err := Pick(in); err == nil {
		t.Error("another package gave what the first one had")
	}
}

// file is a file of this machine for a map of files.
func file(t *testing.T, name string) *fstest.MapFile {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: data, Mode: 0o755}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	true_, err := filepath.EvalSymlinks("/usr/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	own := fstest.MapFS{"usr/bin/true": file(t, true_)}
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	for _, c := range []struct {
		name    string
		in      Input
		reasons []string
	}{
		{"no C library", Input{Arch: runtime.GOARCH, Roots: []string{"coreutils"}, Packages: []Package{{Name: "coreutils", Files: own}}},
			[]string{"usr/bin/true: library libc.so.6 is in none of the packages", "usr/bin/true: usr/lib", "fix: "}},
		{"another machine", Input{Arch: other, Roots: []string{"coreutils"}, Packages: []Package{{Name: "coreutils", Files: own}}},
			[]string{"usr/bin/true: machine", "is not that of the board"}},
		{"a script", Input{Arch: runtime.GOARCH, Roots: []string{"tool"}, Packages: []Package{{Name: "tool", Files: fstest.MapFS{
			"usr/bin/tool": {Data: []byte("#!/usr/bin/perl -w\n"), Mode: 0o755}}}}}, []string{"usr/bin/tool: interpreter /usr/bin/perl"}},
		{"half a program", Input{Arch: runtime.GOARCH, Roots: []string{"tool"}, Packages: []Package{{Name: "tool", Files: fstest.MapFS{
			"usr/bin/tool": {Data: []byte(elf.ELFMAG + "x"), Mode: 0o755}}}}}, []string{"usr/bin/tool is no sound ELF file"}},
		{"a dangling link", Input{Arch: runtime.GOARCH, Roots: []string{"tool"}, Packages: []Package{{Name: "tool", Files: fstest.MapFS{
			"usr/bin/tool": {Data: []byte("gone"), Mode: fs.ModeSymlink | 0o777}}}}}, []string{"usr/bin/tool: usr/bin/gone is in none"}},
		{"a file of a set", Input{Arch: runtime.GOARCH, Roots: []string{"strongswan-charon"}, Packages: []Package{{Name: "strongswan-charon", Files: fstest.MapFS{}}}},
			[]string{"package strongswan-charon: usr/lib/ipsec/charon", "libstrongswan-vici.so"}},
		{"the package", Input{Arch: runtime.GOARCH, Roots: []string{"tool"}}, []string{"package tool is not among the packages"}},
		{"the architecture", Input{Arch: "s390x", Roots: []string{"tool"}}, []string{"architecture s390x is not known"}},
	} {
		_, err := Pick(c.in)
		for _, reason := range c.reasons {
			if err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("%s: %q is not told: %v", c.name, reason, err)
			}
		}
	}
}

func TestPackageWithoutASetGivesItsPrograms(t *testing.T) {
	in := Input{Arch: runtime.GOARCH, Roots: []string{"tool"}, Packages: []Package{{Name: "tool", Files: fstest.MapFS{
		"usr/bin/tool":                     {Data: []byte("data"), Mode: 0o4755},
		"usr/lib/tool/table":               {Data: []byte("data"), Mode: 0o644},
		"usr/lib/systemd/system/tool.unit": {Data: []byte("data"), Mode: 0o644},
		"usr/lib/libtool.a":                {Data: []byte("data"), Mode: 0o644},
		"usr/share/man/man1/tool.1":        {Data: []byte("data"), Mode: 0o644},
	}}}}
	files := pick(t, in)
	want := []File{{Path: "usr/bin/tool", Mode: 0o755, Package: "tool", Size: 4}, {Path: "usr/lib/tool/table", Mode: 0o644, Package: "tool", Size: 4}}
	if !reflect.DeepEqual(files, want) || Size(files) != 8 {
		t.Errorf("picked %+v", files)
	}
}

// Tables are read by people: everything in them has its reason.
func TestEverythingInTheTablesHasAReason(t *testing.T) {
	for name, set := range Sets {
		for _, k := range set.Keep {
			if k.Reason == "" {
				t.Errorf("%s: %s has no reason", name, k.Pattern)
			}
			if _, err := path.Match(k.Pattern, ""); err != nil {
				t.Errorf("%s: %s: %v", name, k.Pattern, err)
			}
		}
		for _, l := range set.Links {
			if l.Reason == "" {
				t.Errorf("%s: %s has no reason", name, l.Path)
			}
		}
	}
	for name, reason := range Without {
		if reason == "" {
			t.Errorf("%s is left out for no reason", name)
		}
	}
}

func FuzzReadELF(f *testing.F) {
	f.Add([]byte(elf.ELFMAG))
	f.Add([]byte("#!/bin/sh\n"))
	if data, err := os.ReadFile("/usr/bin/true"); err == nil && len(data) < 64<<10 {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := Input{Arch: "amd64", Roots: []string{"tool"}, Packages: []Package{{Name: "tool", Files: fstest.MapFS{
			"usr/bin/tool": {Data: data, Mode: 0o755}}}}}
		_, _ = Pick(in) // any error, and no panic
	})
}
