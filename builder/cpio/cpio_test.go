package cpio

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/builder/tree"
)

var epoch = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

// initramfs is a tree like those the kernel unpacks at boot.
func initramfs() *tree.Tree {
	t := tree.New(epoch)
	t.File("init", 0o755, tree.Bytes(bytes.Repeat([]byte("init"), 10_001)))
	t.File("etc/weft/system.json", 0o644, tree.Bytes([]byte("{}\n")))
	t.File("etc/empty", 0o600, tree.Bytes(nil))
	t.File("etc/Grüße", 0o640, tree.Bytes([]byte("odd")))
	t.Owner("etc/Grüße", 70000, 100)
	t.Symlink("bin", "usr/bin")
	t.Symlink("usr/bin/a", "../../a/rather/long/target")
	t.Dir("tmp", 0o777|fs.ModeSticky)
	t.File("usr/bin/su", 0o755|fs.ModeSetuid, tree.Bytes([]byte("su")))
	t.Device("dev/console", 0o600|fs.ModeDevice|fs.ModeCharDevice, 5, 1)
	t.Device("dev/vda", 0o660|fs.ModeDevice, 254, 300)
	return t
}

// archiveOf writes a tree into memory.
func archiveOf(t testing.TB, tr *tree.Tree) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, tr); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// gnu runs GNU cpio on an archive in a directory.
func gnu(t *testing.T, archive []byte, dir string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("cpio")
	if err != nil {
		t.Fatal("cpio is missing; install cpio: make deps")
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	cmd.Stdin = bytes.NewReader(archive)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("cpio %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

func TestGNUCpioListsEveryEntry(t *testing.T) {
	got := gnu(t, archiveOf(t, initramfs()), ".", "-itv", "--quiet", "-n")
	want := []string{
		"lrwxrwxrwx 1 0 0 7 Feb 3 2026 bin -> usr/bin",
		"drwxr-xr-x 2 0 0 0 Feb 3 2026 dev",
		"crw------- 1 0 0 5, 1 Feb 3 2026 dev/console",
		"brw-rw---- 1 0 0 254, 300 Feb 3 2026 dev/vda",
		"drwxr-xr-x 2 0 0 0 Feb 3 2026 etc",
		"-rw-r----- 1 70000 100 3 Feb 3 2026 etc/Grüße",
		"-rw------- 1 0 0 0 Feb 3 2026 etc/empty",
		"drwxr-xr-x 2 0 0 0 Feb 3 2026 etc/weft",
		"-rw-r--r-- 1 0 0 3 Feb 3 2026 etc/weft/system.json",
		"-rwxr-xr-x 1 0 0 40004 Feb 3 2026 init",
		"drwxrwxrwt 2 0 0 0 Feb 3 2026 tmp",
		"drwxr-xr-x 2 0 0 0 Feb 3 2026 usr",
		"drwxr-xr-x 2 0 0 0 Feb 3 2026 usr/bin",
		"lrwxrwxrwx 1 0 0 26 Feb 3 2026 usr/bin/a -> ../../a/rather/long/target",
		"-rwsr-xr-x 1 0 0 2 Feb 3 2026 usr/bin/su",
	}
	var lines []string
	for l := range strings.Lines(got) {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	if g, w := strings.Join(lines, "\n"), strings.Join(want, "\n"); withoutClock(g) != w {
		t.Errorf("cpio lists:\n%s\nwant:\n%s", g, w)
	}
}

// withoutClock makes the listing the same whether cpio thinks the epoch is
// recent ("Feb 3 04:05") or not ("Feb 3 2026").
func withoutClock(s string) string { return strings.ReplaceAll(s, "Feb 3 04:05", "Feb 3 2026") }

func TestGNUCpioUnpacksEqualFiles(t *testing.T) {
	dir := t.TempDir()
	tr := initramfs()
	// Device nodes need root; everything else does not.
	gnu(t, archiveOf(t, tr), dir, "-idm", "--quiet", "--no-absolute-filenames", "--nonmatching", "dev/*")
	for e := range tr.All() {
		if strings.HasPrefix(e.Path, "dev/") {
			continue
		}
		name := filepath.Join(dir, e.Path)
		info, err := os.Lstat(name)
		switch {
		case err != nil:
			t.Error(err)
			continue
		case e.Target != "":
			if target, err := os.Readlink(name); err != nil || target != e.Target {
				t.Errorf("%s points to %q, %v", e.Path, target, err)
			}
			continue
		case info.Mode() != e.Mode:
			t.Errorf("%s has mode %v, want %v", e.Path, info.Mode(), e.Mode)
		case !e.Mode.IsDir() && !info.ModTime().Equal(epoch):
			t.Errorf("%s has time %v", e.Path, info.ModTime())
		}
		if e.Content == nil {
			continue
		}
		var want bytes.Buffer
		if err := tree.Copy(&want, e.Content); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s: %d bytes, %v", e.Path, len(got), err)
		}
	}
}

// huge is content of a size nobody reads.
type huge int64

func (h huge) Size() int64                { return int64(h) }
func (huge) Open() (io.ReadCloser, error) { panic("read before the refusal") }

// refuse fails the test when anything is written to it.
type refuse struct{ t *testing.T }

func (r refuse) Write(p []byte) (int, error) {
	r.t.Errorf("%d bytes were written before the refusal", len(p))
	return len(p), nil
}

func TestWhatTheFormatCannotHoldIsRefusedBeforeTheFirstByte(t *testing.T) {
	cases := []struct {
		name string
		add  func(*tree.Tree)
		want string
	}{
		{"4 GiB", func(t *tree.Tree) { t.File("big", 0o644, huge(1<<32)) }, "at most 4294967295"},
		{"a long path", func(t *tree.Tree) { t.Dir(strings.Repeat("directory/", 409)+"abcdef", 0o755) }, "path of 4096 bytes"},
		{"the trailer's name", func(t *tree.Tree) { t.Dir(trailer, 0o755) }, "ends the archive"},
		{"a broken tree", func(t *tree.Tree) { t.Dir("..", 0o755) }, `".."`},
	}
	for _, c := range cases {
		tr := tree.New(epoch)
		c.add(tr)
		if err := Write(refuse{t}, tr); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestFailingWritersAndContentsAreReported(t *testing.T) {
	if err := Write(full{}, initramfs()); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("full disk: %v", err)
	}
	tr := tree.New(epoch)
	tr.File("a/b", 0o644, short{})
	if err := Write(io.Discard, tr); err == nil || !strings.Contains(err.Error(), "a/b") {
		t.Errorf("short content: %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

type short struct{}

func (short) Size() int64                  { return 9 }
func (short) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("less")), nil }

// golden is the SHA-256 of the archive of initramfs. It changes only when the
// writer is changed on purpose.
const golden = "35205f54a14c0d3fa10ecd6352220eb2e54e66854213b6695b9904f18a99f3ed"

func TestSameInputsSameBytes(t *testing.T) {
	a, b := archiveOf(t, initramfs()), archiveOf(t, initramfs())
	if !bytes.Equal(a, b) {
		t.Error("two writes differ")
	}
	sum := sha256.Sum256(a)
	if got := hex.EncodeToString(sum[:]); got != golden {
		t.Errorf("the output changed: %s; if that is meant, put it into golden", got)
	}
}
