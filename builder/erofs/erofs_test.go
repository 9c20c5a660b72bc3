package erofs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/erofs/go-erofs"

	"weft/builder/tree"
)

var (
	epoch  = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	params = Params{UUID: [16]byte{0x6b, 0x1f, 0xa2, 0x55, 0x10, 0x9c, 0x4e, 0x02, 0x8a, 0x77, 0xd0, 0x3b, 0x41, 0x5e, 0x90, 0x11}, Label: "weft-root"}
)

// root is a tree with every kind of entry, and contents and directories of
// sizes around those where the layout changes.
func root() *tree.Tree {
	t := tree.New(epoch)
	for _, size := range []int{0, 1, 31, 32, 33, 2000, 4000, 4032, 4064, 4065, 4095, 4096, 4097, 8191, 8192, 100_000} {
		t.File(fmt.Sprintf("sizes/%d", size), 0o644, tree.Bytes(bytes.Repeat([]byte{byte(size), 1, 2}, size/3+1)[:size]))
	}
	for i := range 900 {
		t.File(fmt.Sprintf("many/a file with a name of some length %d", i), 0o600, tree.Bytes([]byte{byte(i)}))
	}
	t.Symlink("bin", "usr/bin")
	t.Symlink("long", strings.Repeat("./", 1900)+"usr/bin")
	t.Dir("tmp", 0o777|fs.ModeSticky)
	t.File("usr/bin/su", 0o755|fs.ModeSetuid|fs.ModeSetgid, tree.Bytes([]byte("su")))
	t.File("etc/Grüße", 0o640, tree.Bytes([]byte("odd")))
	t.Owner("etc/Grüße", 70000, 100)
	t.File("!before the dots", 0o644, tree.Bytes([]byte("sorted before . and ..")))
	t.Device("dev/console", 0o600|fs.ModeDevice|fs.ModeCharDevice, 5, 1)
	t.Device("dev/vda", 0o660|fs.ModeDevice, 254, 300)
	t.Dir("empty", 0o700)
	return t
}

// image writes a tree into a new file.
func image(t *testing.T, tr *tree.Tree) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "erofs.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := Write(f, tr, params)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if size != info.Size() || size%BlockSize != 0 {
		t.Errorf("size %d of a file of %d bytes", size, info.Size())
	}
	return name
}

// tool runs a program of erofs-utils and returns what it printed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing; install erofs-utils: make deps", name)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestImageIsCleanForFsckErofs(t *testing.T) {
	for _, tr := range []*tree.Tree{root(), tree.New(epoch)} {
		if out := tool(t, "fsck.erofs", image(t, tr)); out != "" {
			t.Errorf("fsck.erofs has remarks:\n%s", out)
		}
	}
}

func TestExtractedFilesAreEqual(t *testing.T) {
	tr := root()
	dir := filepath.Join(t.TempDir(), "root")
	// Without root, device nodes are skipped with a warning.
	tool(t, "fsck.erofs", "--extract="+dir, "--preserve-perms", image(t, tr))
	seen := 0
	for e := range tr.All() {
		seen++
		if strings.HasPrefix(e.Path, "dev/") {
			continue
		}
		name := filepath.Join(dir, e.Path)
		info, err := os.Lstat(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if e.Target != "" {
			if target, err := os.Readlink(name); err != nil || target != e.Target {
				t.Errorf("%s points to %.40q, %v", e.Path, target, err)
			}
			continue
		}
		// fsck.erofs changes the owner after the mode, which drops setuid.
		const special = fs.ModeSetuid | fs.ModeSetgid
		if info.Mode()&^special != e.Mode&^special || !info.ModTime().Equal(epoch) {
			t.Errorf("%s is %v of %v, want %v", e.Path, info.Mode(), info.ModTime(), e.Mode)
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
	if seen < 900 {
		t.Errorf("only %d entries compared", seen)
	}
}

func TestDumpErofsShowsOwnersAndSuperblock(t *testing.T) {
	name := image(t, root())
	for path, want := range map[string]string{
		"/etc/Grüße":   "Uid: 70000 Gid: 100 Access: 0640/rw-r-----",
		"/dev/console": "char dev",
		"/dev/vda":     "block dev",
		"/usr":         "Links: 3",
	} {
		out := strings.Join(strings.Fields(tool(t, "dump.erofs", "--path="+path, name)), " ")
		if !strings.Contains(out, want) || !strings.Contains(out, "Timestamp: 2026-02-03 04:05:06") {
			t.Errorf("%s is not %q:\n%s", path, want, out)
		}
	}
	out := strings.Join(strings.Fields(tool(t, "dump.erofs", "-s", name)), " ")
	for _, want := range []string{
		"Filesystem created: Tue Feb 3 04:05:06 2026",
		"Filesystem features: sb_csum mtime Filesystem UUID: 6b1fa255-109c-4e02-8a77-d03b415e9011",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("dump.erofs does not say %q:\n%s", want, out)
		}
	}
}

func TestADamagedSuperblockIsSeen(t *testing.T) {
	name := image(t, root())
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[uuidOffset] ^= 1
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	// It says so and still exits with 0.
	if out := tool(t, "fsck.erofs", name); !strings.Contains(out, "chksum doesn't match") {
		t.Errorf("fsck.erofs takes a wrong checksum:\n%s", out)
	}
}

func TestOpenShowsTheTree(t *testing.T) {
	tr := root()
	f, err := os.Open(image(t, tr))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fsys, err := Open(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(fsys, "etc/Grüße", "many", "sizes/4096"); err != nil {
		t.Error(err)
	}
	devices := map[string]uint32{"dev/console": 5<<8 | 1, "dev/vda": 254<<8 | 300&0xff | 300>>8<<20}
	found := map[string]uint32{}
	err = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		e, ok := tr.Lookup(p)
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*erofs.Stat)
		if !ok || info.Mode() != e.Mode || d.Type() != e.Mode.Type() || st.UID != e.UID || st.GID != e.GID || st.Mtime != uint64(epoch.Unix()) {
			t.Errorf("%s: %v %+v, want %v %d:%d", p, info.Mode(), st, e.Mode, e.UID, e.GID)
		}
		if e.Mode&fs.ModeDevice != 0 {
			found[p] = st.Rdev
		}
		if e.Target != "" {
			if target, err := fs.ReadLink(fsys, p); err != nil || target != e.Target {
				t.Errorf("%s points to %.40q, %v", p, target, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(found) != fmt.Sprint(devices) {
		t.Errorf("devices %v, want %v", found, devices)
	}
	if _, err := Open(bytes.NewReader(make([]byte, 8192))); err == nil {
		t.Error("zeros open as a file system")
	}
}

// refuse fails the test when anything is written to it.
type refuse struct{ t *testing.T }

func (r refuse) WriteAt(p []byte, off int64) (int, error) {
	r.t.Errorf("%d bytes were written at %d before the refusal", len(p), off)
	return len(p), nil
}

// A liar is content that ends before its size, or goes on after it.
type liar struct{ says, has int64 }

func (l liar) Size() int64 { return l.says }

func (l liar) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(make([]byte, l.has))), nil
}

func TestFaultsAreReported(t *testing.T) {
	bad := tree.New(epoch)
	bad.Dir("..", 0o755)
	if _, err := Write(refuse{t}, bad, params); err == nil {
		t.Error("a broken tree is written")
	}
	if _, err := Write(refuse{t}, root(), Params{Label: "sixteen bytes no"}); err == nil || !strings.Contains(err.Error(), "at most 15") {
		t.Errorf("long label: %v", err)
	}
	for _, c := range []liar{{100, 50}, {100, 150}, {100_000, 50_000}, {100_000, 150_000}} {
		tr := tree.New(epoch)
		tr.File("a/liar", 0o644, c)
		if _, err := Write(discard{}, tr, params); err == nil || !strings.Contains(err.Error(), "a/liar") {
			t.Errorf("content %+v: %v", c, err)
		}
	}
	if _, err := Write(fullDisk{}, root(), params); !errors.Is(err, errFull) {
		t.Errorf("full disk: %v", err)
	}
}

type discard struct{}

func (discard) WriteAt(p []byte, off int64) (int, error) { return len(p), nil }

var errFull = errors.New("disk full")

type fullDisk struct{}

func (fullDisk) WriteAt(p []byte, off int64) (int, error) { return 0, errFull }

// golden is the SHA-256 of the image of root. It changes only when the writer
// or go-erofs is changed on purpose.
const golden = "d7492dc6484f03b26a594621f62119c374ae6d11c1baec3c47dd6c36b6f3a8ad"

func TestSameInputsSameBytes(t *testing.T) {
	var sums []string
	for range 2 {
		b, err := os.ReadFile(image(t, root()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		sums = append(sums, hex.EncodeToString(sum[:]))
	}
	if sums[0] != sums[1] {
		t.Errorf("two writes differ: %s, %s", sums[0], sums[1])
	}
	if sums[0] != golden {
		t.Errorf("the output changed: %s; if that is meant, put it into golden", sums[0])
	}
}
