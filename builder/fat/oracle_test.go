package fat

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/builder/tree"
)

// epoch is the time of everything the tests write; an odd second, to see that
// FAT's two-second times are rounded down.
var epoch = time.Date(2026, 2, 3, 4, 5, 7, 0, time.UTC)

// params are the parameters of most test volumes.
var params = Params{VolumeID: 0x1234abcd, Label: "WEFT BOOT", HiddenSectors: 2048}

// image writes a volume into a new file and returns its path.
func image(t *testing.T, size int64, tr *tree.Tree, p Params) (string, *Layout) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fat.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	l, err := Write(f, size, tr, p)
	if err != nil {
		t.Fatal(err)
	}
	return name, l
}

// tool runs a foreign program and returns what it printed.
func tool(t *testing.T, pkg, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join("/usr/sbin", name) // not on every PATH
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing; install %s: make deps", name, pkg)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// fsck fails the test if fsck.vfat finds anything to say about the volume.
func fsck(t *testing.T, name string) {
	t.Helper()
	out := strings.TrimSpace(tool(t, "dosfstools", "fsck.vfat", "-n", name))
	lines := strings.Split(out, "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "fsck.fat") || !strings.Contains(lines[1], " files, ") {
		t.Fatalf("fsck.vfat has remarks:\n%s", out)
	}
}

// extract copies a volume's files into a new directory with mtools.
func extract(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	tool(t, "mtools", "mcopy", "-s", "-p", "-m", "-i", name, "::", dir)
	return dir
}

// compare fails the test unless dir holds exactly the files of the tree.
func compare(t *testing.T, dir string, tr *tree.Tree) {
	t.Helper()
	var got, want []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && p != dir {
			rel, _ := filepath.Rel(dir, p)
			got = append(got, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for e := range tr.All() {
		want = append(want, e.Path)
		if e.Mode.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Path))
		if err != nil {
			t.Error(err)
			continue
		}
		var c bytes.Buffer
		if err := tree.Copy(&c, e.Content); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, c.Bytes()) {
			t.Errorf("%s: content differs (%d bytes, want %d)", e.Path, len(b), c.Len())
		}
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("names:\n%s\nwant:\n%s", g, w)
	}
}

// pattern is content that no two files share.
func pattern(seed, size int) []byte {
	b := make([]byte, size)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// bootTree is like a real boot partition, with every difficulty of names.
func bootTree() *tree.Tree {
	tr := tree.New(epoch)
	add := func(path string, size int) { tr.File(path, 0o644, tree.Bytes(pattern(len(path)+size, size))) }
	add("config.txt", 300)
	add("cmdline.txt", 0)
	add("KERNEL8.IMG", 70000)
	add("EFI/BOOT/BOOTX64.EFI", 124416)
	add("loader/entries/weft-a+3-0.conf", 250)
	add("loader/entries/weft-b+3-0.conf", 251)
	add("loader/loader.conf", 11)
	add("overlays/README", 5)
	add("bcm2712-d-rpi-5-b.dtb", 513)
	add("bcm2712-rpi-5-b.dtb", 512)
	add("names/Grüße aus Köln.txt", 10)
	add("names/日本語のとても長いファイル名です.txt", 12)
	add("names/exactly thirteen!", 13)
	add("names/thirteen.char", 14)
	add("names/.hidden", 15)
	add("names/many.dots.in.name.tar.gz", 16)
	add("names/MiXeD.TxT", 17)
	add("names/LONGFI~1.TXT", 18)
	add("names/longfilename one.txt", 19)
	add("names/longfilename two.txt", 20)
	add("names/"+strings.Repeat("n", 251)+".txt", 21)
	add("names/plus+comma,semi;equals=[brackets]", 22)
	tr.Dir("empty", 0o755)
	tr.Dir("deep/er/and/deeper", 0o755)
	return tr
}
