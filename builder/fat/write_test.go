package fat

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"weft/builder/tree"
)

const mib = 1 << 20

func TestVolumesOfEveryTypeAndSizeAreCleanForFsckVfat(t *testing.T) {
	cases := []struct {
		name    string
		size    int64
		params  Params
		typ     Type
		cluster int
	}{
		{"the smallest FAT32", 34 * mib, Params{Type: FAT32}, FAT32, 512},
		{"64 MiB, where a FAT two entries short was once made", 64 * mib, params, FAT32, 512},
		{"72 MiB", 72 * mib, params, FAT32, 1024},
		{"128 MiB", 128 * mib, params, FAT32, 1024},
		{"256 MiB", 256 * mib, params, FAT32, 2048},
		{"512 MiB with small clusters", 512 * mib, Params{Type: FAT32, ClusterSize: 512}, FAT32, 512},
		{"4 GiB", 4096 * mib, params, FAT32, 32768},
		{"an odd number of sectors", 100*mib + 512, params, FAT32, 1024},
		{"16 MiB as FAT16", 16 * mib, params, FAT16, 2048},
		{"64 MiB as FAT16 when asked", 64 * mib, Params{Type: FAT16}, FAT16, 8192},
		{"31 MiB with fewer than 65,536 sectors", 31 * mib, Params{Type: FAT16, ClusterSize: 512}, FAT16, 512},
		{"2 MiB as FAT12", 2 * mib, params, FAT12, 512},
		{"8 MiB as FAT12 when asked", 8 * mib, Params{Type: FAT12}, FAT12, 4096},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tr := bootTree()
			name, l := image(t, c.size, tr, c.params)
			if l.Type != c.typ || l.ClusterSize != c.cluster {
				t.Errorf("%v with clusters of %d, want %v with %d", l.Type, l.ClusterSize, c.typ, c.cluster)
			}
			fsck(t, name)
			compare(t, extract(t, name), tr)
		})
	}
}

// Every size whose FAT is nearly or exactly full of entries is a chance to be
// off by one, so sweep sizes sector by sector around such places.
func TestFATIsLargeEnoughAtEverySize(t *testing.T) {
	for _, typ := range []Type{FAT12, FAT16, FAT32} {
		for cluster := int64(512); cluster <= maxCluster; cluster *= 2 {
			low, high := bounds(typ)
			for _, count := range []uint32{low, low + 1, low + 127, low + 128, (low + high) / 2, high - 1, high} {
				for extra := int64(-40); extra <= 40; extra++ {
					sectors := int64(count)*(cluster/sectorSize) + extra
					if sectors < 1 || sectors > 1<<32-1 {
						continue
					}
					g := divide(typ, uint32(sectors), cluster)
					if g.clusters == 0 {
						continue
					}
					need := (int64(g.clusters) + 2) * int64(typ)
					if have := int64(g.fatSectors) * sectorSize * 8; need > have {
						t.Fatalf("%v, %d sectors, clusters of %d: the FAT holds %d bits and needs %d", typ, sectors, cluster, have, need)
					}
					if end := g.clusterOffset(firstData + g.clusters); end > sectors*sectorSize {
						t.Fatalf("%v, %d sectors, clusters of %d: data ends at %d", typ, sectors, cluster, end)
					}
				}
			}
		}
	}
}

func TestExtentIsWhereTheBytesAre(t *testing.T) {
	tr := bootTree()
	name, l := image(t, 64*mib, tr, params)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for e := range tr.All() {
		offset, size, ok := l.Extent("/" + e.Path)
		if e.Mode.IsDir() {
			if ok {
				t.Errorf("%s: a directory has an extent", e.Path)
			}
			continue
		}
		var want bytes.Buffer
		if err := tree.Copy(&want, e.Content); err != nil {
			t.Fatal(err)
		}
		if !ok || size != e.Size() || offset%sectorSize != 0 || !bytes.Equal(b[offset:offset+size], want.Bytes()) {
			t.Errorf("%s: extent %d+%d, %v is not its content", e.Path, offset, size, ok)
		}
	}
	if _, _, ok := l.Extent("nowhere"); ok {
		t.Error("a file that is not there has an extent")
	}
}

func TestBootSectorSaysWhatWasAsked(t *testing.T) {
	name, _ := image(t, 64*mib, bootTree(), params)
	out := tool(t, "mtools", "minfo", "-i", name, "::")
	for _, want := range []string{
		"hidden sectors: 2048", "media descriptor byte: 0xf8", `disk label="WEFT BOOT  "`,
		"serial number: 1234ABCD", `disk type="FAT32   "`, "backup boot sector=6", "Infosector",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("minfo does not say %q:\n%s", want, out)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b[:2*sectorSize], b[backupSector*sectorSize:(backupSector+2)*sectorSize]) {
		t.Error("the backup boot sector differs")
	}
}

func TestTimesAreTheEpoch(t *testing.T) {
	name, _ := image(t, 64*mib, bootTree(), params)
	if out := tool(t, "mtools", "mdir", "-i", name, "::config.txt"); !strings.Contains(out, "2026-02-03   4:05") {
		t.Errorf("mdir shows another time:\n%s", out)
	}
}

func TestEpochIsMovedIntoTheYearsOfFAT(t *testing.T) {
	cases := []struct {
		name string
		time time.Time
		want stamp
	}{
		{"1970", time.Unix(0, 0), stamp{date: 1<<5 | 1}},
		{"odd second", epoch, stamp{date: 46<<9 | 2<<5 | 3, time: 4<<11 | 5<<5 | 3, tenths: 100}},
		{"another zone", epoch.In(time.FixedZone("far", 9*3600)), stamp{date: 46<<9 | 2<<5 | 3, time: 4<<11 | 5<<5 | 3, tenths: 100}},
		{"2200", time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), stamp{date: 127<<9 | 12<<5 | 31, time: 23<<11 | 59<<5 | 29}},
	}
	for _, c := range cases {
		if got := newStamp(c.time); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestBigDirectoriesAndFullVolumes(t *testing.T) {
	tr := tree.New(epoch)
	for i := range 3000 {
		tr.File(fmt.Sprintf("many/a file with a long name %d.txt", i), 0o644, tree.Bytes(pattern(i, i%700)))
	}
	name, l := image(t, 40*mib, tr, Params{Type: FAT32})
	fsck(t, name)
	compare(t, extract(t, name), tr)

	full := tree.New(epoch)
	full.File("rest", 0o644, tree.Bytes(make([]byte, (l.Clusters-1)*l.ClusterSize)))
	name, fl := image(t, 40*mib, full, Params{Type: FAT32})
	if fl.Free != 0 {
		t.Errorf("%d clusters free on a full volume", fl.Free)
	}
	fsck(t, name)

	full.File("straw", 0o644, tree.Bytes([]byte{1}))
	if _, err := Write(refuse{t}, 40*mib, full, Params{Type: FAT32}); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "straw") {
		t.Errorf("one byte too many: %v", err)
	}
}

// refuse fails the test when anything is written to it.
type refuse struct{ t *testing.T }

func (r refuse) WriteAt(p []byte, off int64) (int, error) {
	r.t.Errorf("%d bytes were written at %d before the refusal", len(p), off)
	return len(p), nil
}

func TestWhatFATCannotHoldIsRefusedBeforeTheFirstByte(t *testing.T) {
	file := func(path string) *tree.Tree {
		tr := tree.New(epoch)
		tr.File(path, 0o644, tree.Bytes([]byte("x")))
		return tr
	}
	twice := file("Readme")
	twice.File("README", 0o644, tree.Bytes(nil))
	link := tree.New(epoch)
	link.Symlink("link", "target")
	bad := tree.New(epoch)
	bad.Dir("..", 0o755)
	crowd := tree.New(epoch)
	for i := range 600 {
		crowd.Dir(fmt.Sprintf("D%d", i), 0o755)
	}
	cases := []struct {
		name   string
		size   int64
		tree   *tree.Tree
		params Params
		want   string
	}{
		{"colon", 64 * mib, file("a:b"), params, "not allowed"},
		{"question mark", 64 * mib, file("con?"), params, "not allowed"},
		{"backslash", 64 * mib, file(`a\b`), params, "not allowed"},
		{"control character", 64 * mib, file("a\nb"), params, "not allowed"},
		{"256 units", 64 * mib, file(strings.Repeat("😀", 64) + strings.Repeat("a", 128)), params, ""},
		{"trailing dot", 64 * mib, file("name."), params, "Windows drops"},
		{"trailing space", 64 * mib, file("name "), params, "Windows drops"},
		{"device name", 64 * mib, file("nul.txt"), params, "device"},
		{"not UTF-8", 64 * mib, file("a\xff"), params, "UTF-8"},
		{"same name in other case", 64 * mib, twice, params, "twice"},
		{"symbolic link", 64 * mib, link, params, "only files and directories"},
		{"broken tree", 64 * mib, bad, params, `".."`},
		{"long label", 64 * mib, file("a"), Params{Label: "TWELVE CHARS"}, "at most 11"},
		{"lower-case label", 64 * mib, file("a"), Params{Label: "boot"}, "not allowed"},
		{"FAT32 of 32 MiB", 32 * mib, file("a"), Params{Type: FAT32}, "cannot be FAT32"},
		{"FAT32 with large clusters", 64 * mib, file("a"), Params{Type: FAT32, ClusterSize: 4096}, "cannot be FAT32"},
		{"FAT16 of 8 GiB", 8192 * mib, file("a"), Params{Type: FAT16}, "cannot be FAT16"},
		{"half a sector", 64*mib + 256, file("a"), params, "multiple of 512"},
		{"beyond 2 TiB", 1 << 41, file("a"), params, "2 TiB"},
		{"odd cluster size", 64 * mib, file("a"), Params{ClusterSize: 1000}, "power of two"},
		{"unknown type", 64 * mib, file("a"), Params{Type: 64}, "type 64"},
		{"full root of FAT16", 16 * mib, crowd, Params{Type: FAT16}, "root directory"},
		{"no space for directories", 64 << 10, crowd, Params{Type: FAT12}, "no space"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.want == "" { // 256 UTF-16 units, but 384 bytes: the tree refuses it
				c.want = "name of"
			}
			_, err := Write(refuse{t}, c.size, c.tree, c.params)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestShortNames(t *testing.T) {
	names := []string{
		"KERNEL.IMG", "config.txt", "longfilename one.txt", "longfilename two.txt", "LONGFI~2.TXT",
		".profile", "a+b.c", "many.dots.tar.gz", "name with.ext ension", "ünï.txt", "...", "UPPER", "x.jpeg",
	}
	want := []string{
		"KERNEL.IMG", "CONFIG.TXT", "LONGFI~1.TXT", "LONGFI~3.TXT", "LONGFI~2.TXT",
		"PROFIL~1", "A_B~1.C", "MANYDO~1.GZ", "NAMEWI~1.EXT", "_N_~1.TXT", "_~1", "UPPER", "X~1.JPE",
	}
	a, err := newAliaser(names)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		s, long := a.alias(n)
		if s.String() != want[i] || long == (n == want[i]) {
			t.Errorf("%s: short %s (long %v), want %s", n, s, long, want[i])
		}
	}
}

// golden is the SHA-256 of the image of bootTree in 64 MiB. It changes only
// when the writer is changed on purpose.
const golden = "a0f72197bb11f5b4dff63c2581e34734bcacfecfb606cf11311c636e490cfe1d"

func TestSameInputsSameBytes(t *testing.T) {
	var sums []string
	for range 2 {
		name, _ := image(t, 64*mib, bootTree(), params)
		b, err := os.ReadFile(name)
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

func TestZerosAreNotWritten(t *testing.T) {
	tr := tree.New(epoch)
	tr.File("kernel", 0o644, tree.Bytes(pattern(1, mib)))
	w := &counter{}
	if _, err := Write(w, 1<<40, tr, Params{}); err != nil {
		t.Fatal(err)
	}
	if w.n > mib+mib/2 {
		t.Errorf("%d bytes written for one file of 1 MiB on 1 TiB", w.n)
	}
}

// counter counts what is written to it.
type counter struct{ n int64 }

func (c *counter) WriteAt(p []byte, off int64) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
