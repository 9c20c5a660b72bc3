package fat

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/builder/tree"
)

// save puts a volume in memory into a file, for foreign tools.
func save(t *testing.T, d disk) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fat.img")
	if err := os.WriteFile(name, d, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestOneFileIsReplacedOrMade(t *testing.T) {
	later := epoch.Add(time.Hour)
	for _, c := range []struct {
		typ  Type
		size int64
	}{{FAT12, 2 * mib}, {FAT16, 16 * mib}, {FAT32, 64 * mib}} {
		for _, u := range []struct {
			name string
			path string
			size int
		}{
			{"replaced by more", "config.txt", 100000},
			{"replaced by less", "KERNEL8.IMG", 5},
			{"replaced by nothing", "overlays/README", 0},
			{"an empty file gets content", "cmdline.txt", 700},
			{"made in the root", "node.yaml", 900},
			{"made with a long name in an empty directory", "empty/a rather long name for one file.yaml", 1},
			{"made with the longest name", "deep/er/and/deeper/" + strings.Repeat("x", 255), 10},
			{"made empty", "loader/none", 0},
			{"the most that is allowed", "loader/big", MaxUpdate},
		} {
			t.Run(fmt.Sprint(c.typ, " ", u.name), func(t *testing.T) {
				tr := bootTree()
				d := volumeOf(t, c.size, tr, params)
				want := pattern(77, u.size)
				if err := open(t, d).WriteFile(u.path, want, later); err != nil {
					t.Fatal(err)
				}
				f := open(t, d)
				if got, err := f.ReadFile(u.path); err != nil || !bytes.Equal(got, want) {
					t.Errorf("reads back as %d bytes, %v", len(got), err)
				}
				if info, err := f.Stat(u.path); err != nil || !info.ModTime().Equal(later.Add(-1e9)) {
					t.Errorf("time %v, %v", info, err)
				}
				name := save(t, d)
				fsck(t, name)
				expect := tree.New(epoch)
				for e := range tr.All() {
					switch {
					case e.Mode.IsDir():
						expect.Dir(e.Path, 0o755)
					case e.Path != u.path:
						expect.File(e.Path, 0o644, e.Content)
					}
				}
				expect.File(u.path, 0o644, tree.Bytes(want))
				compare(t, extract(t, name), expect)
			})
		}
	}
}

func TestManyChangesLeaveASoundVolume(t *testing.T) {
	for _, typ := range []Type{FAT12, FAT32} {
		t.Run(typ.String(), func(t *testing.T) {
			size := map[Type]int64{FAT12: 2 * mib, FAT32: 40 * mib}[typ]
			tr := tree.New(epoch)
			tr.Dir("dir", 0o755)
			d := volumeOf(t, size, tr, Params{Type: typ})
			rng := rand.New(rand.NewPCG(1, uint64(typ)))
			f, model := open(t, d), map[string][]byte{}
			for i := range 400 {
				name := fmt.Sprintf("dir/file with long name number %d.txt", rng.IntN(60))
				data := pattern(i, rng.IntN(6000))
				if err := f.WriteFile(name, data, epoch); err != nil {
					t.Fatal(err)
				}
				model[name] = data
			}
			expect := tree.New(epoch)
			for name, data := range model {
				expect.File(name, 0o644, tree.Bytes(data))
			}
			name := save(t, d)
			fsck(t, name)
			compare(t, extract(t, name), expect)
		})
	}
}

func TestAFullVolumeRefusesAndStaysSound(t *testing.T) {
	for _, typ := range []Type{FAT12, FAT32} {
		tr := tree.New(epoch)
		tr.Dir("dir", 0o755)
		tr.File("old", 0o644, tree.Bytes([]byte("old")))
		size := map[Type]int64{FAT12: 256 << 10, FAT32: 40 * mib}[typ]
		_, l := image(t, size, tr, Params{Type: typ})
		tr.File("rest", 0o644, tree.Bytes(make([]byte, (l.Free-1)*l.ClusterSize)))
		d := volumeOf(t, size, tr, Params{Type: typ})
		f := open(t, d)
		if err := f.WriteFile("old", pattern(1, 2*l.ClusterSize), epoch); !errors.Is(err, ErrNoSpace) {
			t.Errorf("%v: error %v, want no space", typ, err)
		}
		if b, err := f.ReadFile("old"); err != nil || string(b) != "old" {
			t.Errorf("%v: the old file is %q, %v", typ, b, err)
		}
		if err := f.WriteFile("old", []byte("new"), epoch); err != nil {
			t.Errorf("%v: the last free cluster: %v", typ, err)
		}
		fsck(t, save(t, d))
	}
}

func TestTheFixedRootFillsUp(t *testing.T) {
	d := volumeOf(t, 2*mib, tree.New(epoch), Params{Type: FAT12})
	f := open(t, d)
	for i := range rootEntries {
		if err := f.WriteFile(fmt.Sprintf("F%d", i), nil, epoch); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.WriteFile("ONEMORE", nil, epoch); !errors.Is(err, ErrNoSpace) {
		t.Errorf("error %v, want no space", err)
	}
	fsck(t, save(t, d))
}

func TestUpdatesThatMakeNoSenseAreRefused(t *testing.T) {
	d := volumeOf(t, 64<<10, small(), Params{})
	before := bytes.Clone(d)
	f := open(t, d)
	cases := []struct {
		name, path string
		size       int
		want       string
	}{
		{"a directory", "a/b", 1, "is a directory"},
		{"below a file", "A/B/FILE.TXT/x", 1, "not a directory"},
		{"no such directory", "no/x", 1, "does not exist"},
		{"the root", ".", 1, "invalid"},
		{"a path upwards", "../x", 1, "invalid"},
		{"a name that is not allowed", "a/x:y", 1, "not allowed"},
		{"too much", "a/x", MaxUpdate + 1, "at most"},
	}
	for _, c := range cases {
		if err := f.WriteFile(c.path, make([]byte, c.size), epoch); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	readOnly, err := Open(d, int64(len(d)))
	if err != nil {
		t.Fatal(err)
	}
	if err := readOnly.WriteFile("x", nil, epoch); err == nil || !strings.Contains(err.Error(), "OpenWritable") {
		t.Errorf("a volume open for reading: %v", err)
	}
	if !bytes.Equal(before, d) {
		t.Error("a refused update changed the volume")
	}
}

// A cut disk stops taking writes after a number of them, as one that loses
// power does.
type cut struct {
	disk
	left int
}

func (c *cut) WriteAt(p []byte, off int64) (int, error) {
	if c.left == 0 {
		return 0, errors.New("power is gone")
	}
	c.left--
	return c.disk.WriteAt(p, off)
}

func TestLosingPowerKeepsTheOldFileOrTheNewOne(t *testing.T) {
	oldText, newText := pattern(1, 1500), pattern(2, 2500)
	tr := tree.New(epoch)
	tr.File("weft/node.yaml", 0o644, tree.Bytes(oldText))
	for i := range 12 { // fill the directory, so that it has to grow
		tr.File(fmt.Sprintf("weft/F%d", i), 0o644, tree.Bytes([]byte{1}))
	}
	for _, name := range []string{"weft/node.yaml", "weft/another file.yaml"} {
		states := map[string]int{}
		for left := 0; ; left++ {
			c := &cut{disk: volumeOf(t, 256<<10, tr, Params{Type: FAT12}), left: left}
			f, err := OpenWritable(c, int64(len(c.disk)))
			if err != nil {
				t.Fatal(err)
			}
			done := f.WriteFile(name, newText, epoch) == nil
			got, err := open(t, c.disk).ReadFile(name)
			switch {
			case errors.Is(err, fs.ErrNotExist) && name != "weft/node.yaml":
				states["none"]++
			case err != nil:
				t.Fatalf("%s, power gone after %d writes: %v", name, left, err)
			case bytes.Equal(got, oldText):
				states["old"]++
			case bytes.Equal(got, newText):
				states["new"]++
			default:
				t.Fatalf("%s, power gone after %d writes: neither old nor new", name, left)
			}
			if done {
				break
			}
		}
		if len(states) != 2 || states["new"] == 0 {
			t.Errorf("%s: states seen: %v", name, states)
		}
	}
}
