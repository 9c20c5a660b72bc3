package flash

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"weft/builder/disk"
	"weft/builder/erofs"
	"weft/builder/fat"
	trees "weft/builder/tree"
	"weft/ext4"
)

// A wefts is a disk like weft's: sizes in MiB, random files of so many MiB in
// the boot partition and in root A, beside them files of zeros.
type wefts struct {
	table            disk.TableKind
	label            string // of the boot partition
	boot, slot, data int64
	inBoot, inRoot   int64
	zeros            int64  // in each of two files, in both
	name             string // of the data partition
}

// small is a small disk of weft's.
func small() wefts {
	return wefts{label: bootLabel, boot: 40, slot: 16, data: 32, inBoot: 4, inRoot: 5, zeros: 3, name: disk.Data}
}

// write makes the image and returns where it is, and its layout.
func (w wefts) write(t testing.TB) (string, disk.Layout) {
	t.Helper()
	plan := disk.Plan
	if w.table == disk.MBR {
		plan = disk.PlanMBR
	}
	layout, err := plan(disk.DeriveIDs("t"), disk.Sizes{Arch: "arm64", Boot: w.boot * mib, Root: w.slot * mib, Data: w.data * mib})
	if err != nil {
		t.Fatal(err)
	}
	layout.Partitions[len(layout.Partitions)-1].Name = w.name
	files := func(random, zeros int64) *trees.Tree {
		b := make([]byte, random*mib)
		rand.New(rand.NewSource(random)).Read(b)
		files := trees.New(time.Unix(1e9, 0))
		files.File("a", 0o644, trees.Bytes(make([]byte, zeros*mib)))
		files.File("b", 0o644, trees.Bytes(b))
		files.File("z", 0o644, trees.Bytes(make([]byte, zeros*mib)))
		return files
	}
	path := filepath.Join(t.TempDir(), "weft.img")
	_, err = disk.Write(t.Context(), path, disk.Source{Layout: layout, Contents: map[string]disk.Producer{
		disk.Boot: func(_ context.Context, p *disk.Window) error {
			_, err := fat.Write(p, p.Size(), files(w.inBoot, w.zeros), fat.Params{Type: fat.FAT32, ClusterSize: 512, Label: w.label})
			return err
		},
		disk.RootA: func(_ context.Context, p *disk.Window) error {
			_, err := erofs.Write(p, files(w.inRoot, w.zeros), erofs.Params{UUID: [16]byte{1}, Label: disk.RootA})
			return err
		},
		w.name: func(_ context.Context, p *disk.Window) error {
			return ext4.Make(p, ext4.Params{Size: p.Size(), Label: disk.Data, UUID: [16]byte{1}, Epoch: time.Unix(1e9, 0), Zeroed: true})
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return path, layout
}

// freeOf is what flashing an image leaves as it is.
func freeOf(t *testing.T, path string) []Range {
	t.Helper()
	s, err := OpenSource(t.Context(), path, "", func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	_, free, err := s.look()
	if err != nil {
		t.Fatal(err)
	}
	return free
}

func TestOnlyWhatNothingReadsKeepsOldContent(t *testing.T) {
	for name, table := range map[string]disk.TableKind{"GPT": disk.GPT, "MBR": disk.MBR} {
		t.Run(name, func(t *testing.T) {
			w := small()
			w.table = table
			path, layout := w.write(t)
			free := freeOf(t, path)
			d, card := loop(t, layout.Size+4*mib)
			old, err := os.ReadFile(card)
			if err != nil {
				t.Fatal(err)
			}
			plan, _, err := flash(t, path, d, Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(card)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			// In the image nothing but zeros is free, and it stays old.
			left := int64(0)
			for _, r := range free {
				left += r.Size
				if !isZero(want[r.Start:r.End()]) {
					t.Errorf("the image has data in %+v, which is said to be free", r)
				}
				if !bytes.Equal(got[r.Start:r.End()], old[r.Start:r.End()]) {
					t.Errorf("%+v is free and was written", r)
				}
				copy(want[r.Start:r.End()], old[r.Start:r.End()])
			}
			if !bytes.Equal(got[:len(want)], want) {
				t.Error("the card differs from the image outside of what is free")
			}
			// 40-4-6, 16-5-6, 16 and 32-11 MiB, less 2 of each and what tables take.
			if least := int64(26+3+14+18) * mib; left < least || plan.Free < least {
				t.Errorf("%d bytes are left out, %d planned; want %d at least", left, plan.Free, least)
			}
			sound(t, card, layout)
			zerosAreThere(t, got, layout)
		})
	}
}

// sound has the file systems of a card checked by the tools of others.
func sound(t *testing.T, card string, layout disk.Layout) {
	t.Helper()
	for name, check := range map[string][]string{
		disk.Boot:  {"fsck.vfat", "-n"},
		disk.RootA: {"fsck.erofs"},
		disk.Data:  {"e2fsck", "-fn"},
	} {
		p, ok := layout.Partition(name)
		if !ok {
			t.Fatalf("no partition %s", name)
		}
		f, err := os.Open(card)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		part := filepath.Join(t.TempDir(), name)
		out, err := os.Create(part)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(out, io.NewSectionReader(f, p.Start, p.Size))
		out.Close()
		if err != nil {
			t.Fatal(err)
		}
		if said, err := exec.Command(check[0], append(check[1:], part)...).CombinedOutput(); err != nil {
			t.Errorf("%s of %s: %v: %s\ninstall it: make deps", check[0], name, err, said)
		}
	}
}

// zerosAreThere looks at what is zero in an image and means something: files
// of zeros, and the journal.
func zerosAreThere(t *testing.T, card []byte, layout disk.Layout) {
	t.Helper()
	inside := func(name string) []byte {
		p, _ := layout.Partition(name)
		return card[p.Start : p.Start+p.Size]
	}
	boot, err := fat.Open(bytes.NewReader(inside(disk.Boot)), int64(len(inside(disk.Boot))))
	if err != nil {
		t.Fatal(err)
	}
	root, err := erofs.Open(bytes.NewReader(inside(disk.RootA)))
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []fs.FS{boot, root} {
		for _, name := range []string{"a", "z"} {
			if b, err := fs.ReadFile(from, name); err != nil || len(b) != 3*mib || !isZero(b) {
				t.Errorf("the file %s of %T has %d bytes, not only zeros: %v", name, from, len(b), err)
			}
		}
	}
	if journal := inside(disk.Data)[(778+1)*4096 : (778+1024)*4096]; !isZero(journal) {
		t.Error("the journal is not zero")
	}
}

func TestInImagesOfOthersNothingIsFree(t *testing.T) {
	t.Run("an MBR whose boot partition is not weft's", func(t *testing.T) {
		w := small()
		w.table, w.label = disk.MBR, "BOOTFS"
		path, _ := w.write(t)
		if free := freeOf(t, path); len(free) > 0 {
			t.Errorf("%+v is free", free)
		}
	})
	t.Run("a GPT with other names", func(t *testing.T) {
		w := small()
		w.name = "photos"
		path, _ := w.write(t)
		if free := freeOf(t, path); len(free) > 0 {
			t.Errorf("%+v is free", free)
		}
	})
	t.Run("file systems that are not as weft makes them", func(t *testing.T) {
		path, layout := small().write(t)
		for name, command := range map[string]string{
			disk.RootA: `dd if=/dev/urandom of="$0" bs=1 seek=$(($1 + 1100)) count=4 conv=notrunc status=none`,
			disk.Data:  `tune2fs -C 1 "$0?offset=$1" >&2`,
			disk.Boot:  `printf '\0\0' | dd of="$0" bs=1 seek=$(($1 + 510)) conv=notrunc status=none`,
		} {
			p, _ := layout.Partition(name)
			if out, err := exec.Command("bash", "-euc", command, path, strconv.FormatInt(p.Start, 10)).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", name, err, out)
			}
		}
		b, _ := layout.Partition(disk.RootB)
		if free := freeOf(t, path); len(free) != 1 || free[0].Start != b.Start+mib || free[0].Size != b.Size-2*mib {
			t.Errorf("%+v is free, not the inside of the empty slot alone", free)
		}
	})
}
