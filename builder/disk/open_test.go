package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sparse is a disk that is zero but for its ends.
type sparse struct {
	head, tail []byte
	size       int64
}

func (s sparse) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < 0 || off >= s.size {
		return 0, io.EOF
	}
	if off < int64(len(s.head)) {
		copy(b, s.head[off:])
	}
	tailAt := s.size - int64(len(s.tail))
	if end := off + int64(len(b)); end > tailAt {
		if off >= tailAt {
			copy(b, s.tail[off-tailAt:])
		} else {
			copy(b[tailAt-off:], s.tail)
		}
		if end > s.size {
			return int(s.size - off), io.EOF
		}
	}
	return len(b), nil
}

func testDisk(t testing.TB) sparse {
	t.Helper()
	l := testLayout(t)
	head, tail, err := l.tables(noise(1, BootCodeSize))
	if err != nil {
		t.Fatal(err)
	}
	return sparse{head, tail, l.Size}
}

func TestImageReadsBackAsWritten(t *testing.T) {
	src := testSource(t)
	path, result := write(t, src)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := Open(f, result.Size)
	if err != nil {
		t.Fatal(err)
	}
	if img.Damage != nil {
		t.Errorf("damage: %v", img.Damage)
	}
	if got, want := img.Layout, src.Layout; got.ID != want.ID || got.Size != want.Size || len(got.Partitions) != len(want.Partitions) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for i, p := range src.Layout.Partitions {
		if img.Layout.Partitions[i] != p {
			t.Errorf("got %+v, want %+v", img.Layout.Partitions[i], p)
		}
	}
	if !bytes.Equal(img.BootCode[:], src.BootCode) {
		t.Error("boot code differs")
	}
	section, ok := img.Section(Data)
	if !ok || section.Size() != 4*mib {
		t.Fatal("no data partition")
	}
	got := make([]byte, 4)
	if _, err := section.ReadAt(got, 3*mib); err != nil || string(got) != "data" {
		t.Errorf("%q, %v", got, err)
	}
	if _, ok := img.Section("swap"); ok {
		t.Error("a partition that is not there was found")
	}
}

func TestTableMadeBySfdiskIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64*mib); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(need(t, "sfdisk", "fdisk"), path)
	cmd.Stdin = strings.NewReader("label: gpt\nfirst-lba: 34\n\n" +
		"start=40, size=100, name=\"först\"\n" +
		"start=2048, size=2048, type=U, uuid=01234567-89AB-CDEF-0123-456789ABCDEF, attrs=\"GUID:63\"\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := Open(f, 64*mib)
	if err != nil || img.Damage != nil {
		t.Fatal(err, img)
	}
	first, second := img.Layout.Partitions[0], img.Layout.Partitions[1]
	if first.Name != "först" || first.LBA() != 40 || first.Size != 100*SectorSize {
		t.Errorf("first: %+v", first)
	}
	if second.Type != TypeESP || second.ID.String() != "01234567-89ab-cdef-0123-456789abcdef" || second.Attributes != AttributeNoAuto {
		t.Errorf("second: %+v", second)
	}
}

func TestOneDamagedTableIsSaidAndTheOtherUsed(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(d *sparse)
		want   string
	}{
		{"first header", func(d *sparse) { d.head[SectorSize+60] ^= 1 }, "first table: the header's CRC-32"},
		{"first entries", func(d *sparse) { d.head[2*SectorSize+60] ^= 1 }, "first table: the entries' CRC-32"},
		{"first header wiped", func(d *sparse) { clear(d.head[SectorSize : 2*SectorSize]) }, `first table: sector 1 does not begin with "EFI PART"`},
		{"last header", func(d *sparse) { d.tail[len(d.tail)-SectorSize+60] ^= 1 }, "backup table: the header's CRC-32"},
		{"last entries", func(d *sparse) { d.tail[60] ^= 1 }, "backup table: the entries' CRC-32"},
		{"written to a larger disk", func(d *sparse) {
			d.head = append(d.head, make([]byte, d.size-int64(len(d.head)+len(d.tail)))...)
			d.head = append(d.head, d.tail...)
			d.tail = nil
			d.size += mib
		}, "backup table: it is expected at sector"},
		{"no protective partition", func(d *sparse) { d.head[450] = 0x83 }, "sector 0: no protective partition"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := testDisk(t)
			test.change(&d)
			img, err := Open(d, d.size)
			if err != nil {
				t.Fatal(err)
			}
			if len(img.Layout.Partitions) != 5 {
				t.Errorf("%d partitions", len(img.Layout.Partitions))
			}
			if img.Damage == nil || !strings.Contains(img.Damage.Error(), test.want) {
				t.Errorf("got %v, want %q", img.Damage, test.want)
			}
		})
	}
}

// TestHostileTablesAreRefused changes the header or entries of both copies
// and makes their checksums right again, as somebody with intent would.
func TestHostileTablesAreRefused(t *testing.T) {
	le := binary.LittleEndian
	for _, test := range []struct {
		name   string
		change func(header, entries []byte)
		want   string
	}{
		{"four billion entries", func(h, _ []byte) { le.PutUint32(h[80:], 0xFFFFFFFF) }, "4294967295 entries"},
		{"entries of no size", func(h, _ []byte) { le.PutUint32(h[84:], 0) }, "entries of 0 bytes"},
		{"entries of 4 GiB", func(h, _ []byte) { le.PutUint32(h[84:], 0xFFFFFF80) }, "entries of 4294967168 bytes"},
		{"entries past the disk", func(h, _ []byte) { le.PutUint64(h[72:], 1<<63) }, "entries at sector 9223372036854775808"},
		{"header longer than a sector", func(h, _ []byte) { le.PutUint32(h[12:], 1<<31) }, "a header of 2147483648 bytes"},
		{"usable past the disk", func(h, _ []byte) { le.PutUint64(h[48:], 1<<60) }, "usable sectors"},
		{"unknown revision", func(h, _ []byte) { le.PutUint32(h[8:], 0x20000) }, "revision 0x20000"},
		{"partition in the table", func(_, e []byte) { le.PutUint64(e[32:], 10) }, "partition 1: sectors 10 to"},
		{"partition past the disk", func(_, e []byte) { le.PutUint64(e[40:], 1<<63) }, "partition 1: sectors 2048 to 9223372036854775808"},
		{"partition of less than nothing", func(_, e []byte) { le.PutUint64(e[40:], 100) }, "partition 1: sectors 2048 to 100"},
		{"partitions that overlap", func(_, e []byte) { le.PutUint64(e[128+32:], 2048) }, `partitions "weft-bios" and "weft-boot" overlap`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := testDisk(t)
			change := func(header, entries []byte) {
				test.change(header, entries)
				le.PutUint32(header[88:], crc32.ChecksumIEEE(entries))
				le.PutUint32(header[16:], 0)
				n := min(le.Uint32(header[12:]), SectorSize)
				le.PutUint32(header[16:], crc32.ChecksumIEEE(header[:n]))
			}
			const entries = tableSectors * SectorSize
			change(d.head[SectorSize:2*SectorSize], d.head[2*SectorSize:])
			change(d.tail[entries:], d.tail[:entries])
			_, err := Open(d, d.size)
			if !errors.Is(err, ErrNoTable) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestWhatIsNoDiskIsRefused(t *testing.T) {
	for name, d := range map[string]sparse{
		"empty file":       {},
		"a few bytes":      {head: []byte("hello"), size: 5},
		"all zeros":        {size: 64 * mib},
		"shorter than two": {size: 1000},
	} {
		if _, err := Open(d, d.size); !errors.Is(err, ErrNoTable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A file that is shorter than its size says.
	d := testDisk(t)
	if _, err := Open(bytes.NewReader(d.head[:700]), d.size); !errors.Is(err, ErrNoTable) || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("cut short: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	d := testDisk(f)
	f.Add(d.head, d.tail, d.size)
	f.Add(d.head[:SectorSize], d.tail, d.size)
	f.Add(d.head, []byte{}, d.size+mib)
	f.Fuzz(func(t *testing.T, head, tail []byte, size int64) {
		if int64(len(head)+len(tail)) > size {
			return
		}
		// Let the fuzzer past the checksums of the first copy.
		if len(head) >= (2+tableSectors)*SectorSize {
			header := head[SectorSize:]
			le := binary.LittleEndian
			n := min(uint64(le.Uint32(header[80:]))*uint64(le.Uint32(header[84:])), tableSectors*SectorSize)
			le.PutUint32(header[88:], crc32.ChecksumIEEE(head[2*SectorSize:][:n]))
			le.PutUint32(header[16:], 0)
			le.PutUint32(header[16:], crc32.ChecksumIEEE(header[:min(le.Uint32(header[12:]), SectorSize)]))
		}
		img, err := Open(sparse{head, tail, size}, size)
		if err != nil {
			return
		}
		for i, p := range img.Layout.Partitions {
			if p.Start < 0 || p.Size <= 0 || p.Start+p.Size > size {
				t.Fatalf("partition outside the disk: %+v", p)
			}
			for _, q := range img.Layout.Partitions[:i] {
				if overlap(p, q) {
					t.Fatalf("partitions overlap: %+v %+v", q, p)
				}
			}
		}
	})
}
