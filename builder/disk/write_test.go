package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// write makes the test image and returns its path.
func write(t *testing.T, src Source) (string, Result) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	result, err := Write(t.Context(), path, src)
	if err != nil {
		t.Fatal(err)
	}
	return path, result
}

func TestImageIsCleanForSgdiskAndSfdisk(t *testing.T) {
	path, _ := write(t, testSource(t))
	out, err := exec.Command(need(t, "sgdisk", "gdisk"), "-v", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No problems found") {
		t.Errorf("sgdisk -v: %v\n%s", err, out)
	}
	out, err = exec.Command(need(t, "sfdisk", "fdisk"), "-V", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No errors detected") {
		t.Errorf("sfdisk -V: %v\n%s", err, out)
	}
}

func TestSfdiskSeesTheLayout(t *testing.T) {
	src := testSource(t)
	path, _ := write(t, src)
	out, err := exec.Command(need(t, "sfdisk", "fdisk"), "-J", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		PartitionTable struct {
			Label, ID  string
			Partitions []struct {
				Start, Size             int64
				Type, UUID, Name, Attrs string
			}
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	table := got.PartitionTable
	if table.Label != "gpt" || !strings.EqualFold(table.ID, src.Layout.ID.String()) {
		t.Errorf("table %s %s", table.Label, table.ID)
	}
	if len(table.Partitions) != len(src.Layout.Partitions) {
		t.Fatalf("%d partitions", len(table.Partitions))
	}
	for i, p := range src.Layout.Partitions {
		q := table.Partitions[i]
		if q.Start*SectorSize != p.Start || q.Size*SectorSize != p.Size || q.Name != p.Name ||
			!strings.EqualFold(q.Type, p.Type.String()) || !strings.EqualFold(q.UUID, p.ID.String()) {
			t.Errorf("sfdisk sees %+v, want %+v", q, p)
		}
	}
	if got := table.Partitions[3].Attrs; got != "GUID:60,63" {
		t.Errorf("attributes of root B: %q", got)
	}
}

func TestContentIsWhereTheLayoutSays(t *testing.T) {
	src := testSource(t)
	path, _ := write(t, src)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) []byte {
		p, _ := src.Layout.Partition(name)
		return image[p.Start : p.Start+p.Size]
	}
	if !bytes.Equal(image[:BootCodeSize], src.BootCode) {
		t.Error("the boot code is not in sector 0")
	}
	if !bytes.HasPrefix(at(BIOS), noise(2, 48<<10)) {
		t.Error("content of the BIOS boot partition")
	}
	if !bytes.HasPrefix(at(Boot)[512:], noise(3, 64<<10)) || !bytes.HasSuffix(at(Boot), noise(4, 100)) {
		t.Error("content of the boot partition")
	}
	if !bytes.HasPrefix(at(Data)[3*mib:], []byte("data")) {
		t.Error("content of the data partition")
	}
	if !bytes.Equal(at(RootB), make([]byte, 4*mib)) {
		t.Error("root B is not empty")
	}
}

func TestDigestAndExtentsAreThoseOfTheFile(t *testing.T) {
	path, result := write(t, testSource(t))
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if result.SHA256 != sha256.Sum256(image) {
		t.Error("the digest is not that of the file")
	}
	if result.Size != int64(len(image)) {
		t.Errorf("size %d, the file has %d", result.Size, len(image))
	}
	// Everything outside the extents is zero, so an image of the extents
	// alone is the same image.
	again := make([]byte, len(image))
	end := int64(-1)
	for _, e := range result.Extents {
		if e.Start <= end || e.Start%blockSize != 0 {
			t.Errorf("extent %+v after one that ends at %d", e, end)
		}
		end = e.Start + e.Size
		copy(again[e.Start:end], image[e.Start:end])
	}
	if !bytes.Equal(again, image) {
		t.Error("there is data outside the extents")
	}
	if n := result.Written(); n > 256<<10 {
		t.Errorf("%d bytes were written; zeros should be holes", n)
	}
}

func TestTwoImagesAreTheSame(t *testing.T) {
	path1, result1 := write(t, testSource(t))
	path2, result2 := write(t, testSource(t))
	a, _ := os.ReadFile(path1)
	b, _ := os.ReadFile(path2)
	if !bytes.Equal(a, b) || result1.SHA256 != result2.SHA256 || fmt.Sprint(result1) != fmt.Sprint(result2) {
		t.Error("two images of the same source differ")
	}
}

func TestZerosOverwriteData(t *testing.T) {
	src := testSource(t)
	src.Contents = map[string]Producer{Data: func(_ context.Context, w *Window) error {
		for _, b := range [][]byte{noise(5, 20000), make([]byte, 20000)} {
			if _, err := w.WriteAt(b, 100); err != nil {
				return err
			}
		}
		got := make([]byte, 30000)
		if _, err := w.ReadAt(got, 0); err != nil {
			return err
		}
		if !bytes.Equal(got, make([]byte, 30000)) {
			return errors.New("the window does not read what was written last")
		}
		return nil
	}}
	path, result := write(t, src)
	image, _ := os.ReadFile(path)
	if result.SHA256 != sha256.Sum256(image) {
		t.Error("the digest is not that of the file")
	}
}

func TestWindowHoldsItsPartitionAndNoMore(t *testing.T) {
	for _, test := range []struct {
		name  string
		bytes int
		off   int64
		fits  bool
	}{
		{"the whole partition", 4 * mib, 0, true},
		{"one byte too many", 4*mib + 1, 0, false},
		{"last byte", 1, 4*mib - 1, true},
		{"first byte of the next", 1, 4 * mib, false},
		{"nothing at the end", 0, 4 * mib, true},
		{"before the partition", 1, -1, false},
		{"an offset that overflows", 10, 1<<63 - 5, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := testSource(t)
			var got error
			src.Contents = map[string]Producer{Data: func(_ context.Context, w *Window) error {
				_, got = w.WriteAt(bytes.Repeat([]byte{1}, test.bytes), test.off)
				return nil
			}}
			write(t, src)
			if (got == nil) != test.fits {
				t.Errorf("got %v", got)
			}
			if got != nil && !strings.Contains(got.Error(), "partition weft-data") {
				t.Errorf("the error does not name the partition: %v", got)
			}
		})
	}
}

// TestNothingIsLeftBehind covers each way in which no image comes about.
func TestNothingIsLeftBehind(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(src *Source, cancel func())
		want   string
	}{
		{"producer fails", func(s *Source, _ func()) {
			s.Contents[Boot] = func(context.Context, *Window) error { return errTest }
		}, "partition weft-boot: the producer failed"},
		{"cancelled while a producer writes", func(s *Source, cancel func()) {
			s.Contents[Boot] = func(_ context.Context, w *Window) error {
				cancel()
				_, err := w.WriteAt([]byte{1}, 0)
				return err
			}
		}, context.Canceled.Error()},
		{"cancelled behind a producer's back", func(s *Source, cancel func()) {
			s.Contents[Data] = func(context.Context, *Window) error { cancel(); return nil }
		}, context.Canceled.Error()},
		{"content without a partition", func(s *Source, _ func()) {
			s.Contents["weft-swap"] = Bytes(nil)
		}, `content for partition "weft-swap", but no such partition`},
		{"boot code too long", func(s *Source, _ func()) {
			s.BootCode = make([]byte, 441)
		}, "boot code of 441 bytes: sector 0 has room for 440"},
		{"layout unsound", func(s *Source, _ func()) { s.Layout.Partitions[1].Start = 0 }, "does not fit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "disk.raw")
			if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			src := testSource(t)
			test.change(&src, cancel)
			if _, err := Write(ctx, path, src); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			left, _ := os.ReadDir(dir)
			if b, _ := os.ReadFile(path); len(left) != 1 || string(b) != "before" {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestImageReplacesWhatWasThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), path, testSource(t)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != testLayout(t).Size || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
}

// BenchmarkWrite writes an image of the size that weft makes, from memory.
func BenchmarkWrite(b *testing.B) {
	layout, err := Plan(DeriveIDs("bench"), Sizes{Arch: "amd64", BIOS: true, Boot: 64 * mib, Root: 128 * mib, Data: 64 * mib})
	if err != nil {
		b.Fatal(err)
	}
	boot, root := noise(1, 20*mib), noise(2, 30*mib)
	for _, digest := range []bool{false, true} {
		b.Run(fmt.Sprintf("digest=%v", digest), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "disk.raw")
			for b.Loop() {
				if _, err := Write(b.Context(), path, Source{
					Layout: layout, Digest: digest,
					Contents: map[string]Producer{Boot: Bytes(boot), RootA: Bytes(root)},
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var _ io.Writer = io.NewOffsetWriter(&Window{}, 0)
