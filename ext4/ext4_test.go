package ext4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const mib = 1 << 20

// epoch is the time of every file system the tests make.
var epoch = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

// params are the parameters of most test file systems.
var params = Params{
	Size:     64 * mib,
	UUID:     [16]byte{0x6b, 0x1f, 0xa2, 0x55, 0x10, 0x9c, 0x4e, 0x02, 0x8a, 0x77, 0xd0, 0x3b, 0x41, 0x5e, 0x90, 0x11},
	HashSeed: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
	Label:    "weft-data",
	Epoch:    epoch,
	Zeroed:   true,
}

// image makes a file system in a new file.
func image(t *testing.T, p Params) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ext4.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(p.Size); err != nil {
		t.Fatal(err)
	}
	if err := Make(f, p); err != nil {
		t.Fatal(err)
	}
	return name
}

// tool runs a program of e2fsprogs and returns what it printed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join("/usr/sbin", name) // not on every PATH
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing; install e2fsprogs: make deps", name)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// fsck fails the test if e2fsck finds anything to say about the file system.
func fsck(t *testing.T, name string) {
	t.Helper()
	out := strings.TrimSpace(tool(t, "e2fsck", "-f", "-n", name))
	lines := strings.Split(out, "\n")
	sound := len(lines) == 7 && strings.HasPrefix(lines[0], "e2fsck ") && strings.Contains(lines[6], " files (")
	for i := 1; sound && i <= 5; i++ {
		sound = strings.HasPrefix(lines[i], fmt.Sprintf("Pass %d: ", i))
	}
	if !sound {
		t.Fatalf("e2fsck has remarks:\n%s", out)
	}
}

// with returns params changed by f.
func with(f func(*Params)) Params {
	p := params
	f(&p)
	return p
}

func TestFileSystemsAreCleanForE2fsck(t *testing.T) {
	cases := []struct {
		name string
		p    Params
	}{
		{"64 MiB", params},
		{"32 MiB, the smallest", with(func(p *Params) { p.Size = MinSize })},
		{"128 MiB, the largest", with(func(p *Params) { p.Size = MaxSize })},
		{"odd number of blocks", with(func(p *Params) { p.Size = 100*mib + 12288 })},
		{"small journal", with(func(p *Params) { p.Journal = MinJournal })},
		{"large journal", with(func(p *Params) { p.Size, p.Journal = MaxSize, 64*mib })},
		{"1970", with(func(p *Params) { p.Epoch = time.Unix(0, 0) })},
		{"no label", with(func(p *Params) { p.Label = "" })},
		{"longest label", with(func(p *Params) { p.Label = "sixteen bytes ok" })},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { fsck(t, image(t, c.p)) })
	}
}

func TestDumpe2fsShowsWhatWasAsked(t *testing.T) {
	out := tool(t, "dumpe2fs", image(t, with(func(p *Params) { p.Size = MaxSize })))
	out = strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"Filesystem volume name: weft-data",
		"Filesystem UUID: 6b1fa255-109c-4e02-8a77-d03b415e9011",
		"Filesystem features: has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super large_file huge_file dir_nlink extra_isize metadata_csum ",
		"Filesystem state: clean",
		"Errors behavior: Remount read-only",
		"Inode count: 8192",
		"Block count: 32768",
		"Reserved block count: 0",
		"Reserved GDT blocks: 256",
		"Filesystem created: Tue Feb 3 04:05:06 2026",
		"Directory Hash Seed: 01020304-0506-0708-090a-0b0c0d0e0f10",
		"Journal backup: inode blocks",
		"Journal features: journal_64bit journal_checksum_v3",
		"Total journal size: 16M",
		"Journal start: 0",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("dumpe2fs does not say %q:\n%s", want, out)
		}
	}
}

func TestTimesBeyond2038AreRight(t *testing.T) {
	name := image(t, with(func(p *Params) { p.Epoch = time.Date(2040, 1, 2, 3, 4, 5, 0, time.UTC) }))
	out := strings.Join(strings.Fields(tool(t, "debugfs", "-R", "stat /lost+found", name)), " ")
	if n := strings.Count(out, "Mon Jan 2 03:04:05 2040"); n != 4 {
		t.Errorf("%d of 4 times are right:\n%s", n, out)
	}
}

func TestRootAndLostFoundAreThere(t *testing.T) {
	name := image(t, params)
	out := tool(t, "debugfs", "-R", "ls -l /", name)
	for _, want := range []string{"2   40755 (2)      0      0    4096", "11   40700 (2)      0      0   16384"} {
		if !strings.Contains(out, want) {
			t.Errorf("no entry like %q:\n%s", want, out)
		}
	}
}

func TestFilesCanBePutInAndTheResultIsClean(t *testing.T) {
	name := image(t, params)
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	want := bytes.Repeat([]byte("weft "), 200_000)
	if err := os.WriteFile(src, want, 0o644); err != nil {
		t.Fatal(err)
	}
	fill(t, name, src)
	fsck(t, name)
	back := filepath.Join(dir, "back")
	tool(t, "debugfs", "-R", "dump /dir/file007 "+back, name)
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes back, %v", len(got), err)
	}
}

// fill makes a directory and copies src into it many times.
func fill(t *testing.T, name, src string) {
	t.Helper()
	var script strings.Builder
	script.WriteString("mkdir /dir\n")
	for i := range 20 {
		fmt.Fprintf(&script, "write %s /dir/file%03d\n", src, i)
	}
	list := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(list, []byte(script.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	tool(t, "debugfs", "-w", "-f", list, name)
}

// Growing is the kernel's work; resize2fs follows the same rules for the
// reserved group descriptors and needs no root.
func TestGrowsTo8GiBAndHasDescriptorsFor2TiB(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src")
	if err := os.WriteFile(src, make([]byte, 50_000), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{MinSize, 64 * mib, MaxSize} {
		t.Run(fmt.Sprintf("from %d MiB", size/mib), func(t *testing.T) {
			name := image(t, with(func(p *Params) { p.Size = size }))
			fill(t, name, src)
			if err := os.Truncate(name, 8<<30); err != nil {
				t.Fatal(err)
			}
			tool(t, "resize2fs", name)
			fsck(t, name)
			out := strings.Join(strings.Fields(tool(t, "dumpe2fs", "-h", name)), " ")
			for _, want := range []string{"Inode count: 524288", "Block count: 2097152", " resize_inode "} {
				if !strings.Contains(out, want) {
					t.Errorf("after growing, dumpe2fs does not say %q", want)
				}
			}
		})
	}
	groups := (1 + reservedBlocks) * (BlockSize / descriptorSize)
	if reach := int64(groups) * MaxSize; reach < 2<<40 {
		t.Errorf("the reserved descriptors reach %d bytes, less than 2 TiB", reach)
	}
}

func TestADirtyPlaceBecomesCleanAndOldDataIsGone(t *testing.T) {
	const size = 32 * mib
	dirty := make(disk, size)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range dirty {
		dirty[i] = byte(rng.Uint32())
	}
	p := with(func(p *Params) { p.Size, p.Zeroed = size, false })
	if err := Make(dirty, p); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "img")
	if err := os.WriteFile(name, dirty, 0o644); err != nil {
		t.Fatal(err)
	}
	fsck(t, name)
	clean := make(disk, size)
	p.Zeroed = true
	if err := Make(clean, p); err != nil {
		t.Fatal(err)
	}
	end := (journalAt + p.Size/8/BlockSize) * BlockSize
	if !bytes.Equal(dirty[:end], clean[:end]) {
		t.Error("metadata or journal differ from those in a zeroed place")
	}
}

// disk is a place in memory that counts what is written.
type disk []byte

func (d disk) ReadAt(p []byte, off int64) (int, error)  { return bytes.NewReader(d).ReadAt(p, off) }
func (d disk) WriteAt(p []byte, off int64) (int, error) { return copy(d[off:], p), nil }

// refuse fails the test when anything is written to it.
type refuse struct{ t *testing.T }

func (r refuse) WriteAt(p []byte, off int64) (int, error) {
	r.t.Errorf("%d bytes were written at %d before the refusal", len(p), off)
	return len(p), nil
}

func TestWrongParametersAreRefusedBeforeTheFirstByte(t *testing.T) {
	cases := []struct {
		name string
		p    Params
		want string
	}{
		{"too small", with(func(p *Params) { p.Size = MinSize - BlockSize }), "size of"},
		{"too large", with(func(p *Params) { p.Size = MaxSize + BlockSize }), "let the kernel grow it"},
		{"half a block", with(func(p *Params) { p.Size += 2048 }), "multiple of 4096"},
		{"negative", with(func(p *Params) { p.Size = -1 }), "size of"},
		{"journal too small", with(func(p *Params) { p.Journal = MinJournal - BlockSize }), "journal of"},
		{"journal too large", with(func(p *Params) { p.Journal = p.Size/2 + BlockSize }), "journal of"},
		{"journal of half a block", with(func(p *Params) { p.Journal = MinJournal + 1 }), "journal of"},
		{"long label", with(func(p *Params) { p.Label = "seventeen bytes!!" }), "at most 16"},
		{"no UUID", with(func(p *Params) { p.UUID = [16]byte{} }), "UUID"},
		{"before 1970", with(func(p *Params) { p.Epoch = time.Unix(-1, 0) }), "epoch"},
		{"after 2106", with(func(p *Params) { p.Epoch = time.Unix(1<<32, 0) }), "epoch"},
	}
	for _, c := range cases {
		if err := Make(refuse{t}, c.p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// golden is the SHA-256 of the image of params. It changes only when the
// writer is changed on purpose.
const golden = "bcbf9fca6b463da6136ed437222ebca5b249e1fdf2c32c39ac89841267c8204d"

func TestSameParametersSameBytes(t *testing.T) {
	var sums []string
	for range 2 {
		b, err := os.ReadFile(image(t, params))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		sums = append(sums, hex.EncodeToString(sum[:]))
	}
	if sums[0] != sums[1] {
		t.Errorf("two file systems differ: %s, %s", sums[0], sums[1])
	}
	if sums[0] != golden {
		t.Errorf("the output changed: %s; if that is meant, put it into golden", sums[0])
	}
}

// counter counts what is written to it.
type counter struct{ n int }

func (c *counter) WriteAt(p []byte, off int64) (int, error) {
	c.n += len(p)
	return len(p), nil
}

func TestImagesStaySparse(t *testing.T) {
	c := &counter{}
	if err := Make(c, params); err != nil {
		t.Fatal(err)
	}
	if c.n > 100<<10 {
		t.Errorf("%d bytes written into a zeroed place", c.n)
	}
}
