package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"weft/builder/apt"
	"weft/builder/apt/apttest"
	"weft/builder/apt/debfs"
	"weft/builder/buildtest"
)

// noPackages is the lock of a board that needs none, so that a build needs
// no mirror.
const noPackages = "weft: lock/v1\nepoch: 1700000000\npackages: []\n"

// A kernelKit is a real kernel package, to make defective kernels of.
type kernelKit struct {
	*testing.T
	pkg   *debfs.Package
	entry apt.Entry
	board string // the text of the shipped cloud board
}

// newKernelKit fetches the kernel of the cloud board.
func newKernelKit(t *testing.T) kernelKit {
	t.Helper()
	o := buildtest.Options(t, buildtest.Plan(t, defaultBoard, defaultProfile), buildtest.CacheDir(t), t.TempDir())
	lock, err := o.Source.Resolve(t.Context(), apt.Request{Suite: "trixie", Arch: "amd64", Kernel: "linux-image-cloud-amd64"})
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := o.Source.Fetch(t.Context(), lock.Packages[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pkg.Close() })
	board, err := os.ReadFile("../../../boards/" + defaultBoard + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	return kernelKit{t, pkg, lock.Packages[0], string(board)}
}

// deb is the package as a file, which the cache keeps as it was downloaded.
func (k kernelKit) deb() string {
	return filepath.Join(buildtest.CacheDir(k.T), "downloads", k.entry.SHA256)
}

// folder unpacks the kernel below dir.
func (k kernelKit) folder(dir string) string {
	k.Helper()
	path := filepath.Join(dir, "kernel")
	if err := os.CopyFS(path, k.pkg); err != nil {
		k.Fatal(err)
	}
	return path
}

// boardFile makes a board file in dir with another kernel, which boots by
// BIOS alone and so needs no package; further pairs of strings are replaced.
func (k kernelKit) boardFile(dir, kernel string, pairs ...string) string {
	k.Helper()
	write(k.T, dir, "weft.lock", noPackages)
	pairs = append([]string{
		"name: " + defaultBoard, "name: mine",
		"package: linux-image-cloud-amd64", kernel,
		"loaders: [uefi, bios]", "loaders: [bios]",
	}, pairs...)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(k.board, pairs[i]) {
			k.Fatalf("the shipped board no longer holds %q", pairs[i])
		}
	}
	return write(k.T, dir, "mine.yaml", strings.NewReplacer(pairs...).Replace(k.board))
}

// lineOf is the place of a text in a file, as file:line:column.
func lineOf(t *testing.T, file, text string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, _, ok := strings.Cut(string(data), text)
	if !ok {
		t.Fatalf("%s does not hold %q", file, text)
	}
	return fmt.Sprintf("%s:%d:%d:", file, strings.Count(before, "\n")+1, len(before)-strings.LastIndexByte(before, '\n'))
}

// onLine is the line of a text in a file, as file:line and a colon.
func onLine(t *testing.T, file, text string) string {
	t.Helper()
	at := strings.TrimSuffix(lineOf(t, file, text), ":")
	return at[:strings.LastIndexByte(at, ':')+1]
}

// noImage fails when something that looks like an image is in a folder.
func noImage(t *testing.T, dir string) {
	t.Helper()
	for _, pattern := range []string{"*.img*", ".*.img*"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			t.Errorf("a refused build leaves %q", found)
		}
	}
}

func TestKernelsThatPeopleBring(t *testing.T) {
	kit := newKernelKit(t)
	for name, check := range map[string]func(kernelKit, string){
		"a package":                  debKernel,
		"a folder without vxlan":     withoutVXLAN,
		"a folder with a huge image": hugeKernel,
		"a kernel of another build":  otherRelease,
		"an unknown driver":          unknownDriver,
		"a slot too small":           smallSlot,
	} {
		t.Run(name, func(t *testing.T) {
			k := kit
			k.T = t
			check(k, t.TempDir())
		})
	}
}

func debKernel(k kernelKit, dir string) {
	board := k.boardFile(dir, "deb: linux.deb")
	if err := os.Symlink(k.deb(), filepath.Join(dir, "linux.deb")); err != nil {
		k.Fatal(err)
	}
	weft(k.T, "build", "--board", board, "--out", dir).want(k.T, exitOK, "-cloud-amd64, ")
	weft(k.T, "inspect", filepath.Join(dir, "mine-vxlan.img")).want(k.T, exitOK, "vxlan on mine (amd64)")
}

func withoutVXLAN(k kernelKit, dir string) {
	board := k.boardFile(dir, "dir: kernel")
	kernel := k.folder(dir)
	remove(k.T, kernel, "vxlan.ko*")
	edit(k.T, kernel, "config-*", func(config []byte) []byte {
		return regexp.MustCompile(`(?m)^CONFIG_VXLAN=.*$`).ReplaceAll(config, []byte("# CONFIG_VXLAN is not set"))
	})
	profile, err := os.ReadFile("../../../profiles/vxlan.yaml")
	if err != nil {
		k.Fatal(err)
	}
	file := write(k.T, dir, "net.yaml", string(profile))
	o := weft(k.T, "build", "--board", board, "--profile", file, "--out", dir)
	o.want(k.T, exitInput, lineOf(k.T, file, "vxlan\n    vni"), "has no module vxlan", "CONFIG_VXLAN is not set",
		"packets between nodes travel in VXLAN tunnels", "fix: use a kernel with CONFIG_VXLAN=m", "choose another backend")
	if strings.Count(o.err, "fix:") != 1 || strings.Count(o.err, "travel in VXLAN tunnels") != 1 {
		k.Errorf("more than vxlan is said to be missing:\n%s", o.err)
	}
	noImage(k.T, dir)
}

func hugeKernel(k kernelKit, dir string) {
	board := k.boardFile(dir, "dir: kernel")
	edit(k.T, dir, "mine.yaml", func(text []byte) []byte {
		return regexp.MustCompile(`(?m)^  boot: \d+`).ReplaceAll(text, []byte("  boot: 36"))
	})
	edit(k.T, k.folder(dir), "vmlinuz-*", func(image []byte) []byte { return append(image, make([]byte, 40<<20)...) })
	weft(k.T, "build", "--board", board, "--out", dir).want(k.T, exitInput, onLine(k.T, board, "boot: 36"), "no space", "fix: make it larger")
	noImage(k.T, dir)
}

func otherRelease(k kernelKit, dir string) {
	board := k.boardFile(dir, "dir: kernel")
	modules, err := filepath.Glob(filepath.Join(k.folder(dir), "usr/lib/modules/*"))
	if err != nil || len(modules) != 1 {
		k.Fatalf("%q, %v", modules, err)
	}
	if err := os.Rename(modules[0], filepath.Join(filepath.Dir(modules[0]), "6.1.0-other")); err != nil {
		k.Fatal(err)
	}
	weft(k.T, "build", "--board", board, "--out", dir).want(k.T, exitInput, lineOf(k.T, board, "kernel:"), "6.1.0-other", "-cloud-amd64")
	noImage(k.T, dir)
}

func unknownDriver(k kernelKit, dir string) {
	board := k.boardFile(dir, "deb: linux.deb", "- nvme\n", "- nvmee\n", "- virtio_net\n", "- virtio_nett\n")
	if err := os.Symlink(k.deb(), filepath.Join(dir, "linux.deb")); err != nil {
		k.Fatal(err)
	}
	o := weft(k.T, "build", "--board", board, "--out", dir)
	o.want(k.T, exitInput, lineOf(k.T, board, "nvmee"), "no module nvmee", "did you mean nvme?",
		lineOf(k.T, board, "virtio_nett"), "did you mean virtio_net?")
	noImage(k.T, dir)
}

func smallSlot(k kernelKit, dir string) {
	board := k.boardFile(dir, "deb: linux.deb")
	edit(k.T, dir, "mine.yaml", func(text []byte) []byte {
		return regexp.MustCompile(`(?m)^  slot: \d+`).ReplaceAll(text, []byte("  slot: 16"))
	})
	if err := os.Symlink(k.deb(), filepath.Join(dir, "linux.deb")); err != nil {
		k.Fatal(err)
	}
	weft(k.T, "build", "--board", board, "--out", dir).want(k.T, exitInput,
		onLine(k.T, board, "slot: 16"), "a slot 16 MiB", "fix: make the slot larger")
	noImage(k.T, dir)
}

// match finds the one file below dir whose name matches.
func match(t *testing.T, dir, pattern string) string {
	t.Helper()
	found := ""
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if ok, _ := filepath.Match(pattern, filepath.Base(path)); ok && err == nil && d.Type().IsRegular() {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("no %s in %s: %v", pattern, dir, err)
	}
	return found
}

func remove(t *testing.T, dir, pattern string) {
	t.Helper()
	if err := os.Remove(match(t, dir, pattern)); err != nil {
		t.Fatal(err)
	}
}

// edit changes the content of a file.
func edit(t *testing.T, dir, pattern string, change func([]byte) []byte) {
	t.Helper()
	path := match(t, dir, pattern)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// arm64Kernel makes the least a kernel folder can be, for arm64.
func arm64Kernel(t *testing.T, dir string) {
	t.Helper()
	const release = "6.12.1-test"
	image := make([]byte, 64<<10)
	copy(image, "MZ")
	copy(image[56:], "ARM\x64") // Documentation/arch/arm64/booting.rst
	copy(image[4096:], "Linux version "+release+" (builder@example.org) #1 SMP\n\x00")
	if err := os.MkdirAll(filepath.Join(dir, "kernel/usr/lib/modules", release), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "kernel/vmlinuz", string(image))
	write(t, dir, "kernel/config", "CONFIG_VXLAN=m\n")
	write(t, dir, "kernel/usr/lib/modules/"+release+"/modules.builtin", "")
}

func TestKernelsThatAreNone(t *testing.T) {
	board, err := os.ReadFile("../../../boards/" + defaultBoard + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	kit := kernelKit{T: t, board: string(board)}
	for _, c := range []struct {
		name, kernel string
		make         func(*testing.T, string)
		want         []string
	}{
		{"another architecture", "dir: kernel", arm64Kernel, []string{"the kernel is for arm64 and the board is amd64", "fix:"}},
		{"a folder that is not there", "dir: kernel", nil, []string{"no such file or directory", "fix: name the path of a kernel; it is relative to the board file"}},
		{"a package that is not there", "deb: none.deb", nil, []string{"no such file or directory", "fix: name the path of a kernel; it is relative to the board file"}},
		{"a package that is none", "deb: x.deb", func(t *testing.T, dir string) { write(t, dir, "x.deb", "no archive at all") }, []string{"x.deb: it is refused", "no ar archive", "fix: "}},
		{"a package without a kernel", "deb: x.deb", func(t *testing.T, dir string) {
			write(t, dir, "x.deb", string(apttest.Package(t, apttest.File{Name: "./usr/"}, apttest.File{Name: "./usr/x", Body: "y"})))
		}, []string{"modules"}},
		{"an empty folder", "dir: kernel", func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "kernel"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, []string{"usr/lib/modules"}},
		{"a link that leads out", "dir: kernel", func(t *testing.T, dir string) {
			arm64Kernel(t, dir)
			if err := os.Rename(filepath.Join(dir, "kernel/vmlinuz"), filepath.Join(dir, "image")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("../image", filepath.Join(dir, "kernel/vmlinuz")); err != nil {
				t.Fatal(err)
			}
		}, []string{"no kernel for 6.12.1-test", "links that lead out of a folder are not followed"}},
		{"a file for a folder", "dir: kernel", func(t *testing.T, dir string) { write(t, dir, "kernel", "") }, []string{"kernel is no folder"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, dir := kit, t.TempDir()
			k.T = t
			file := k.boardFile(dir, c.kernel)
			if c.make != nil {
				c.make(t, dir)
			}
			o := weft(t, "build", "--board", file, "--out", dir)
			o.want(t, exitInput, append(c.want, file)...)
			noImage(t, dir)
		})
	}
}

func TestBadOutputsAndSources(t *testing.T) {
	t.Setenv("WEFT_CACHE", t.TempDir())
	dir := t.TempDir()
	file := write(t, dir, "file", "")
	t.Run("a file in place of the folder", func(t *testing.T) {
		weft(t, "build", "--out", file).want(t, exitIO, file, "fix: name a folder; a part of this path is a file")
		weft(t, "build", "--out", filepath.Join(file, "x")).want(t, exitIO, file)
	})
	t.Run("a folder in place of a file", func(t *testing.T) {
		folder := t.TempDir()
		for _, args := range [][]string{
			{"plan", "--profile", folder},
			{"plan", "--board", folder + "/"},
			{"plan", "--files", "--profile", "k3s-canal", "--node", folder},
			{"cluster", "keys", folder},
		} {
			weft(t, args...).want(t, exitInput, "read "+folder, ": is a directory\nfix: name a file; this is a folder")
		}
		weft(t, "build", "--lock", folder, "--out", dir).want(t, exitIO, "weft: read "+folder+": is a directory\nfix: name a file")
	})
	t.Run("no folder for the cache", func(t *testing.T) {
		for _, name := range []string{"WEFT_CACHE", "XDG_CACHE_HOME", "HOME"} {
			t.Setenv(name, "")
		}
		weft(t, "build", "--out", dir).want(t, exitInput, "fix: set WEFT_CACHE to a folder you can write")
	})
	t.Run("a cache that cannot be made", func(t *testing.T) {
		t.Setenv("WEFT_CACHE", file)
		weft(t, "build", "--out", dir).want(t, exitIO, file, "set WEFT_CACHE to a folder you can write")
	})
	t.Run("a mirror that does not answer", func(t *testing.T) {
		weft(t, "build", "--mirror", "http://127.0.0.1:1/debian", "--out", dir).want(t, exitNetwork,
			"127.0.0.1:1", "connection refused", "fix: check the network, or use another mirror")
	})
	t.Run("a mirror signed by another", func(t *testing.T) {
		mirror := apttest.NewMirror(t).Publish()
		weft(t, "build", "--mirror", mirror.URL, "--out", dir).want(t, exitNetwork, "InRelease")
	})
	t.Run("a folder that is no mirror", func(t *testing.T) {
		weft(t, "build", "--mirror", dir, "--out", dir).want(t, exitInput, "there is no folder dists in it", "fix:")
	})
	t.Run("an epoch that is none", func(t *testing.T) {
		for _, text := range []string{"yesterday", "-1", "1.5", "99999999999999999999"} {
			t.Setenv("SOURCE_DATE_EPOCH", text)
			weft(t, "build", "--out", dir).want(t, exitInput, fmt.Sprintf("SOURCE_DATE_EPOCH is %q", text), "seconds since 1970")
		}
	})
	noImage(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "weft.lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lock is there: %v", err)
	}
}

func TestLocksThatDoNotFit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "weft.lock")
	weft(t, "lock", "--lock", path).want(t, exitOK)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := regexp.MustCompile(`sha256: "?[0-9a-f]{64}`)
	for _, c := range []struct {
		name, lock string
		code       int
		want       []string
	}{
		{"no entry", noPackages, exitInput, []string{"linux-image-cloud-amd64", "add it: weft lock --board x86-64-cloud --profile vxlan --lock " + path}},
		{"no lock at all", "hello", exitInput, []string{path}},
		{"an entry that leads out", strings.Replace(string(data), "path: pool/", "path: ../pool/", 1), exitInput, []string{path + ":", "make the lock anew: weft lock --update"}},
		{"a checksum of another package", strings.Replace(string(data), sum.FindString(string(data)), `sha256: "`+strings.Repeat("0", 64), 1),
			exitNetwork, []string{"SHA-256"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if bytes.Equal(data, []byte(c.lock)) {
				t.Fatal("the lock was not changed")
			}
			out := t.TempDir()
			write(t, dir, "weft.lock", c.lock)
			weft(t, "build", "--lock", path, "--out", out).want(t, c.code, c.want...)
			noImage(t, out)
			if now, err := os.ReadFile(path); err != nil || string(now) != c.lock {
				t.Errorf("the lock was changed: %v", err)
			}
		})
	}
}
