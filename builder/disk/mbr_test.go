package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weft/init/storage"
)

func cardLayout(t testing.TB) Layout {
	t.Helper()
	l, err := PlanMBR(DeriveIDs("test"), Sizes{Boot: 40 * mib, Root: 6 * mib, Data: 33 * mib})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// writeCard writes an image with an MBR and returns its path.
func writeCard(t *testing.T, l Layout) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "card.img")
	result, err := Write(t.Context(), path, Source{Layout: l, Contents: map[string]Producer{Data: Bytes([]byte("data"))}, Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	if result.Size != l.Size || result.Written() != 2*blockSize {
		t.Errorf("wrote %d of %d bytes", result.Written(), result.Size)
	}
	return path
}

func TestAnMBRIsReadByOthersAsMeant(t *testing.T) {
	l := cardLayout(t)
	path := writeCard(t, l)
	out, err := exec.Command(need(t, "sfdisk", "fdisk"), "--dump", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"label: dos", "label-id: 0x" + l.DiskID(),
		"1 : start=        8192, size=       81920, type=c",
		"2 : start=       90112, size=       12288, type=83",
		"4 : start=      122880, size=       67584, type=83",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("sfdisk does not say %q:\n%s", want, out)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	image, err := Open(f, l.Size)
	if err != nil || image.Damage != nil {
		t.Fatal(err, image.Damage)
	}
	if image.Layout.Table != MBR || len(image.Layout.Partitions) != 4 {
		t.Fatalf("read %+v", image.Layout)
	}
	// What init finds by PARTUUID at boot is what the builder named.
	found := storage.IDs(f, storage.Disk{SectorSize: SectorSize, Sectors: uint64(l.Size) / SectorSize})
	for i, p := range l.Partitions {
		q := image.Layout.Partitions[i]
		if p.Name != q.Name || p.Start != q.Start || p.Size != q.Size || p.Kind != q.Kind {
			t.Errorf("wrote %+v, read %+v", p, q)
		}
		want := fmt.Sprintf("%08x-%02x", l.Signature, i+1)
		if l.PartUUID(p) != want || image.Layout.PartUUID(q) != want || found[i+1] != want {
			t.Errorf("%s: PARTUUID %s written, %s read, %s found by init", p.Name, l.PartUUID(p), image.Layout.PartUUID(q), found[i+1])
		}
	}
}

func TestInitGrowsDataOnTheCard(t *testing.T) {
	l := cardLayout(t)
	path := writeCard(t, l)
	const size = 1 << 30
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, _ := l.Partition(Data)
	g, err := storage.PlanMBRGrowth(f, storage.Disk{SectorSize: SectorSize, Sectors: size / SectorSize}, l.PartUUID(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Apply(f); err != nil {
		t.Fatal(err)
	}
	image, err := Open(f, size)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := image.Layout.Partition(Data); p.Start != data.Start || p.Start+p.Size != size {
		t.Errorf("data is now %+v", p)
	}
	if out, err := exec.Command(need(t, "sfdisk", "fdisk"), "--verify", path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestUnsoundMBRsAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Layout)
		want   string
	}{
		{"no signature", func(l *Layout) { l.Signature = 0 }, "no signature"},
		{"five partitions", func(l *Layout) {
			l.Size += CardAlignment
			l.Partitions = append(l.Partitions, Partition{Name: "more", Kind: 1, Start: l.Size - CardAlignment, Size: CardAlignment})
		}, "5 partitions: the table holds 4"},
		{"aligned for disks only", func(l *Layout) { l.Partitions[3].Start += mib }, "want a multiple of 4 MiB"},
		{"the type of a GPT", func(l *Layout) { l.Partitions[0].Kind = 0xee }, "has type 0xee"},
		{"another name", func(l *Layout) { l.Partitions[0].Name = "boot" }, "an MBR has no names"},
		{"overlapping", func(l *Layout) { l.Partitions[1].Start = l.Partitions[0].Start }, "overlap"},
		{"beyond the end", func(l *Layout) { l.Partitions[3].Size += CardAlignment }, "does not fit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := cardLayout(t)
			c.change(&l)
			if err := l.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzOpenMBR(f *testing.F) {
	l := cardLayout(f)
	f.Add(l.mbr(nil))
	f.Fuzz(func(t *testing.T, sector []byte) {
		disk := make([]byte, 64<<10)
		copy(disk, sector)
		image, err := Open(bytes.NewReader(disk), int64(len(disk)))
		if err != nil {
			if !errors.Is(err, ErrNoTable) {
				t.Error(err)
			}
			return
		}
		for _, p := range image.Layout.Partitions {
			if p.Start < SectorSize || p.Size <= 0 || p.Start+p.Size > int64(len(disk)) {
				t.Errorf("partition %+v", p)
			}
		}
	})
}
