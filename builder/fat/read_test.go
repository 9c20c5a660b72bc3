package fat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"weft/builder/tree"
)

// disk is a volume in memory.
type disk []byte

func (d disk) ReadAt(p []byte, off int64) (int, error)  { return bytes.NewReader(d).ReadAt(p, off) }
func (d disk) WriteAt(p []byte, off int64) (int, error) { return copy(d[off:], p), nil }

// volume writes a tree into memory.
func volumeOf(t testing.TB, size int64, tr *tree.Tree, p Params) disk {
	t.Helper()
	d := make(disk, size)
	if _, err := Write(d, size, tr, p); err != nil {
		t.Fatal(err)
	}
	return d
}

// open opens a volume in memory.
func open(t testing.TB, d disk) *FS {
	t.Helper()
	f, err := OpenWritable(d, int64(len(d)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	tr := bootTree()
	tr.File("names/emoji 😀 pair.txt", 0o644, tree.Bytes([]byte("surrogates")))
	var paths []string
	for e := range tr.All() {
		paths = append(paths, e.Path)
	}
	for _, c := range []struct {
		typ  Type
		size int64
	}{{FAT12, 2 * mib}, {FAT16, 16 * mib}, {FAT32, 64 * mib}} {
		t.Run(c.typ.String(), func(t *testing.T) {
			f := open(t, volumeOf(t, c.size, tr, params))
			if err := fstest.TestFS(f, paths...); err != nil {
				t.Error(err)
			}
			for e := range tr.All() {
				if e.Mode.IsDir() {
					continue
				}
				var want bytes.Buffer
				if err := tree.Copy(&want, e.Content); err != nil {
					t.Fatal(err)
				}
				got, err := f.ReadFile(e.Path)
				if err != nil || !bytes.Equal(got, want.Bytes()) {
					t.Errorf("%s: %d bytes, %v", e.Path, len(got), err)
				}
			}
			got := f.Info()
			want := Info{c.typ, params.VolumeID, params.Label, c.size, got.ClusterSize, got.Clusters, params.HiddenSectors}
			if got != want {
				t.Errorf("Info is %+v, want %+v", got, want)
			}
			if info, err := f.Stat("config.txt"); err != nil || !info.ModTime().Equal(epoch.Add(-1e9)) {
				t.Errorf("time of config.txt: %v, %v", info, err)
			}
		})
	}
}

func TestNamesAreFoundInAnyCaseAndByTheirShortForm(t *testing.T) {
	f := open(t, volumeOf(t, 64*mib, bootTree(), params))
	for _, name := range []string{"CONFIG.TXT", "efi/boot/bootx64.efi", "Names/LONGFI~2.txt", "NAMES/GRÜSSE AUS KÖLN.TXT", "names/grüße AUS köln.txt"} {
		_, err := f.Stat(name)
		if strings.Contains(name, "GRÜSSE") { // ß and SS are not the same letter
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil {
			t.Error(err)
		}
	}
}

func TestVolumesMadeByOthersAreRead(t *testing.T) {
	cases := []struct {
		name string
		size int64
		args []string
		typ  Type
	}{
		{"mkfs.vfat FAT12", 2 * mib, []string{"-F", "12"}, FAT12},
		{"mkfs.vfat FAT16", 32 * mib, []string{"-F", "16"}, FAT16},
		{"mkfs.vfat FAT32", 64 * mib, []string{"-F", "32"}, FAT32},
		{"sectors of 4096 bytes", 512 * mib, []string{"-F", "32", "-S", "4096"}, FAT32},
		{"one FAT", 32 * mib, []string{"-F", "16", "-f", "1"}, FAT16},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			img := foreign(t, c.size, c.args)
			want := pattern(1, 50000)
			src := filepath.Join(t.TempDir(), "Some File.bin")
			if err := os.WriteFile(src, want, 0o644); err != nil {
				t.Fatal(err)
			}
			tool(t, "mtools", "mmd", "-i", img, "::sub dir")
			tool(t, "mtools", "mcopy", "-i", img, src, "::sub dir/Some File.bin")
			tool(t, "mtools", "mcopy", "-i", img, src, "::lower.bin")

			f := openFileAt(t, img)
			if i := f.Info(); i.Type != c.typ || i.VolumeID != 0xcafe1234 || i.Label != "OTHERS" {
				t.Errorf("Info is %+v", i)
			}
			for _, name := range []string{"sub dir/Some File.bin", "lower.bin"} {
				if got, err := f.ReadFile(name); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
			}
			if err := f.WriteFile("sub dir/Weft Node.yaml", []byte("name: a\n"), epoch); err != nil {
				t.Fatal(err)
			}
			if err := f.WriteFile("lower.bin", []byte("short now"), epoch); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			if got := tool(t, "mtools", "mtype", "-i", img, "::sub dir/Weft Node.yaml"); got != "name: a\n" {
				t.Errorf("mtype shows %q", got)
			}
		})
	}
}

// FAT32 with fewer clusters than the document allows exists in the world, and
// Linux takes it.
func TestFAT32WithTooFewClustersIsRead(t *testing.T) {
	img := foreign(t, 16*mib, []string{"-F", "32"})
	f := openFileAt(t, img)
	if err := f.WriteFile("a file.txt", pattern(1, 9000), epoch); err != nil {
		t.Fatal(err)
	}
	if got, err := f.ReadFile("A FILE.TXT"); err != nil || !bytes.Equal(got, pattern(1, 9000)) {
		t.Errorf("reads back as %d bytes, %v", len(got), err)
	}
	tool(t, "dosfstools", "fsck.vfat", "-n", img) // warns of the few clusters
}

// foreign makes a volume with mkfs.vfat.
func foreign(t *testing.T, size int64, args []string) string {
	t.Helper()
	img := filepath.Join(t.TempDir(), "img")
	if err := os.WriteFile(img, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, size); err != nil {
		t.Fatal(err)
	}
	tool(t, "dosfstools", "mkfs.vfat", append(args, "-i", "cafe1234", "-n", "OTHERS", img)...)
	return img
}

// openFileAt opens the volume in a file for changes.
func openFileAt(t *testing.T, name string) *FS {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenWritable(file, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// small is a tree for volumes that are broken on purpose.
func small() *tree.Tree {
	tr := tree.New(epoch)
	tr.File("A/B/FILE.TXT", 0o644, tree.Bytes(pattern(3, 2000)))
	tr.File("C/FILE.TXT", 0o644, tree.Bytes(pattern(4, 10)))
	return tr
}

func TestHostileVolumesAreRefused(t *testing.T) {
	const size = 64 << 10
	g, err := newGeometry(size, Params{Type: FAT12})
	if err != nil {
		t.Fatal(err)
	}
	root := g.rootOffset() // entries: A and C, directories at clusters 2 and 4
	put16 := func(at int64, v uint16) func(disk) {
		return func(d disk) { binary.LittleEndian.PutUint16(d[at:], v) }
	}
	link := func(from, to uint32) func(disk) {
		return func(d disk) { g.setEntry(d[g.fatOffset(0):g.fatOffset(1)], from, to) }
	}
	cases := []struct {
		name   string
		damage func(disk)
		read   string // a file that must fail to read, instead of Open
	}{
		{"no signature", put16(510, 0), ""},
		{"sectors of 0 bytes", put16(11, 0), ""},
		{"sectors of 513 bytes", put16(11, 513), ""},
		{"clusters of 0 sectors", func(d disk) { d[13] = 0 }, ""},
		{"clusters of 3 sectors", func(d disk) { d[13] = 3 }, ""},
		{"no reserved sectors", put16(14, 0), ""},
		{"no FAT", func(d disk) { d[16] = 0 }, ""},
		{"200 FATs", func(d disk) { d[16] = 200 }, ""},
		{"larger than the device", put16(19, 129), ""},
		{"no sectors", put16(19, 0), ""},
		{"FAT that covers the data", put16(22, 1000), ""},
		{"FAT32 that is none", put16(22, 0), ""},
		{"directory in itself", put16(root+26, 0), ""},
		{"directory beyond the volume", put16(root+26, 4000), ""},
		{"two directories in one cluster", put16(root+32+26, 2), ""},
		{"child that is its parent", func(d disk) { put16(g.clusterOffset(2)+2*32+26, 2)(d) }, ""},
		{"directory chain in a loop", link(2, 2), ""},
		{"directory chain through a free cluster", link(2, 90), ""},
		{"name with a slash", func(d disk) { d[root] = '/' }, ""},
		{"name of control characters", func(d disk) { d[root] = 1 }, ""},
		{"file longer than the volume", func(d disk) { put16(g.clusterOffset(3)+2*32+30, 0x7fff)(d) }, "A/B/FILE.TXT"},
		{"file chain that ends early", link(5, 0xfff), "A/B/FILE.TXT"},
		{"file chain out of range", link(5, 0xff0), "A/B/FILE.TXT"},
		{"file chain into the void", link(5, 0), "A/B/FILE.TXT"},
		{"file that starts nowhere", func(d disk) { put16(g.clusterOffset(3)+2*32+26, 1)(d) }, "A/B/FILE.TXT"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := volumeOf(t, size, small(), Params{Type: FAT12})
			open(t, d)
			c.damage(d)
			f, err := Open(d, size)
			if c.read != "" {
				if err != nil {
					t.Fatal(err)
				}
				_, err = f.ReadFile(c.read)
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("error %v, want one that wraps ErrCorrupt", err)
			}
		})
	}
}

// FuzzOpen changes bytes of sound volumes: each three bytes of the input are
// an offset into the parts that matter and a value. Inputs that are whole
// volumes would be too large for the fuzzer to work on.
func FuzzOpen(f *testing.F) {
	const size = 48 << 10
	big := volumeOf(f, 40*mib, small(), Params{Type: FAT32})
	g, err := newGeometry(40*mib, Params{Type: FAT32})
	if err != nil {
		f.Fatal(err)
	}
	// A FAT32 of 48 KiB with one FAT of one sector: the first sectors and
	// the data of the large one.
	short := append(bytes.Clone(big[:(reserved32+1)*sectorSize]), big[g.dataOffset():]...)[:size]
	short[16] = 1
	binary.LittleEndian.PutUint16(short[14:], reserved32)
	binary.LittleEndian.PutUint32(short[32:], size/sectorSize)
	binary.LittleEndian.PutUint32(short[newRest:], 1)
	bases := []disk{
		volumeOf(f, size, small(), Params{Type: FAT12, Label: "FUZZ"}),
		volumeOf(f, size, tree.New(epoch), Params{Type: FAT12, ClusterSize: 2048}),
		disk(short),
	}
	for i, b := range bases {
		open(f, b)
		f.Add(byte(i), []byte{0x0d, 0x00, 0x02})
		f.Add(byte(i), []byte{0x00, 0x02, 0x03, 0x01, 0x44, 0x05})
	}
	f.Fuzz(func(t *testing.T, base byte, edits []byte) {
		d := disk(bytes.Clone(bases[int(base)%len(bases)]))
		for ; len(edits) >= 3; edits = edits[3:] {
			d[int(binary.LittleEndian.Uint16(edits))%len(d)] = edits[2]
		}
		v, err := OpenWritable(d, int64(len(d)))
		if err != nil {
			return
		}
		dirs := []string{"."}
		err = fs.WalkDir(v, ".", func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if e.IsDir() {
				dirs = append(dirs, p)
			} else if data, err := v.ReadFile(p); err == nil && len(data) > len(d) {
				t.Fatalf("%s: %d bytes out of a volume of %d", p, len(data), len(d))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(dirs[len(dirs)-1]+"/a new file.yaml", "./")
		want := pattern(9, 3000)
		if v.WriteFile(name, want, epoch) != nil {
			return
		}
		if got, err := v.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes back, %v", name, len(got), err)
		}
	})
}

func TestMissingThingsAreNamed(t *testing.T) {
	f := open(t, volumeOf(t, 64<<10, small(), Params{}))
	for _, name := range []string{"nothing", "A/nothing", "A/B/FILE.TXT/below"} {
		if _, err := f.Open(name); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(fmt.Sprint(err), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
