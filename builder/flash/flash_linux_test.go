package flash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/builder/disk"
	"weft/builder/progress"
	"weft/ext4"

	"github.com/klauspost/compress/zstd"
)

// loop makes a loop device with a size and random old content, so that what is
// not written shows.
func loop(t testing.TB, size int64) (Device, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "card")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(f, rand.New(rand.NewSource(1)), size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	return attach(t, path), path
}

// attach makes a loop device of a file.
func attach(t testing.TB, path string, flags ...string) Device {
	t.Helper()
	out, err := exec.Command("losetup", append([]string{"--find", "--show"}, append(flags, path)...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v: %s\ninstall it: make deps; it needs root", err, out)
	}
	name := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", name).CombinedOutput(); err != nil {
			t.Logf("losetup --detach %s: %v: %s", name, err, out)
		}
	})
	return described(t, name)
}

func described(t testing.TB, name string) Device {
	t.Helper()
	all, err := Host().Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d, err := Find(all, name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const mib = 1 << 20

// image makes a sparse image like those of weft: a table, a boot partition
// with data in two places, an empty root, a data partition of ext4.
func image(t testing.TB, seed byte) string {
	t.Helper()
	layout := disk.Layout{ID: disk.DeriveGUID("t", "disk"), Size: 96 * mib, Partitions: []disk.Partition{
		{Name: disk.Boot, Type: disk.TypeESP, ID: disk.DeriveGUID(fmt.Sprint(seed), "boot"), Start: mib, Size: 31 * mib},
		{Name: disk.RootB, Type: disk.TypeLinuxData, ID: disk.DeriveGUID("t", "b"), Start: 32 * mib, Size: 31 * mib},
		{Name: disk.Data, Type: disk.TypeLinuxData, ID: disk.DeriveGUID(fmt.Sprint(seed), "data"), Start: 63 * mib, Size: 32 * mib},
	}}
	path := filepath.Join(t.TempDir(), "image.img")
	_, err := disk.Write(t.Context(), path, disk.Source{Layout: layout, Contents: map[string]disk.Producer{
		disk.Boot: func(_ context.Context, w *disk.Window) error {
			_, err := w.WriteAt(bytes.Repeat([]byte{seed, 2, 3}, 2*mib), 0)
			_, more := w.WriteAt([]byte{seed}, 20*mib+12345)
			return errors.Join(err, more)
		},
		disk.Data: func(_ context.Context, w *disk.Window) error {
			return ext4.Make(w, ext4.Params{Size: w.Size(), Label: disk.Data, UUID: [16]byte{seed}, Epoch: time.Unix(1e9, 0), Zeroed: true})
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// flash puts an image onto a device.
func flash(t testing.TB, path string, d Device, o Options) (Plan, Result, error) {
	t.Helper()
	s, err := OpenSource(t.Context(), path, "", func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	if o.Report == nil {
		o.Report = progress.Discard
	}
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	return Flash(t.Context(), Host(), s, d, o, false)
}

// equal fails unless a card has what an image has, but for the inside of the
// partition that is empty and the free blocks of the data partition, which
// begin behind 778 blocks and a journal of 1024.
func equal(t *testing.T, card, image string) {
	t.Helper()
	want, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(card)
	if err != nil {
		t.Fatal(err)
	}
	tail := got[len(got)-mib:]
	if len(got) > len(want) && !bytes.Equal(tail, make([]byte, mib)) {
		t.Error("the end of the card is not zero")
	}
	got = got[:len(want)]
	for _, b := range [][]byte{got, want} {
		clear(b[33*mib : 62*mib])
		clear(b[63*mib+(778+1024)*4096 : 94*mib])
	}
	if !bytes.Equal(got, want) {
		at := 0
		for got[at] == want[at] {
			at++
		}
		t.Errorf("the card differs from the image at byte %d", at)
	}
}

func TestCardEqualsImage(t *testing.T) {
	raw := image(t, 1)
	s, err := OpenSource(t.Context(), raw, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bmap, err := Bmap(s.Map, f)
	if err != nil {
		t.Fatal(err)
	}
	pack := func(name string, command ...string) string {
		path := filepath.Join(t.TempDir(), name)
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd := exec.Command(command[0], append(command[1:], raw)...)
		cmd.Stdout = out
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\ninstall it: make deps", command[0], err)
		}
		return path
	}
	withMap := pack("image.img.zst", "zstd", "-c")
	if err := os.WriteFile(strings.TrimSuffix(withMap, ".zst")+".bmap", bmap, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"raw": raw, "zst": pack("i.zst", "zstd", "-c"), "gz": pack("i.gz", "gzip", "-c"), "xz": pack("i.xz", "xz", "-0", "-c"), "zst with block map": withMap,
	} {
		t.Run(name, func(t *testing.T) {
			d, card := loop(t, 100*mib)
			_, r, err := flash(t, path, d, Options{})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, card, raw)
			if r.Written > 20*mib {
				t.Errorf("%d bytes were sent for an image with %d", r.Written, s.Map.Mapped())
			}
		})
	}
	t.Run("damaged by the block map", func(t *testing.T) {
		d, _ := loop(t, 100*mib)
		broken := filepath.Join(t.TempDir(), "image.img.zst")
		data, err := os.ReadFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		data[2*mib] ^= 1
		z, _ := zstd.NewWriter(nil)
		if err := errors.Join(os.WriteFile(broken, z.EncodeAll(data, nil), 0o644), os.WriteFile(strings.TrimSuffix(broken, ".zst")+".bmap", bmap, 0o644)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := flash(t, broken, d, Options{}); err == nil || !strings.Contains(err.Error(), "not what its block map says") {
			t.Errorf("got %v", err)
		}
	})
}

func TestHeldDevicesAreRefused(t *testing.T) {
	d, card := loop(t, 100*mib)
	raw := image(t, 1)
	t.Run("in use", func(t *testing.T) {
		f, err := os.OpenFile(d.Path, os.O_RDWR|syscall.O_EXCL, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, _, err := flash(t, raw, d, Options{}); !errors.Is(err, ErrInUse) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("changed since it was chosen", func(t *testing.T) {
		for _, change := range []func(*Device){
			func(d *Device) { d.Sequence-- }, func(d *Device) { d.Size -= mib }, func(d *Device) { d.Serial = "other" }, func(d *Device) { d.Number = "8:0" },
		} {
			was := d
			change(&was)
			if _, _, err := flash(t, raw, was, Options{}); !errors.Is(err, ErrChanged) {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("mounted", func(t *testing.T) {
		if out, err := exec.Command("mkfs.ext4", "-q", "-F", card).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\ninstall e2fsprogs: make deps", err, out)
		}
		dir := t.TempDir()
		if err := syscall.Mount(d.Path, dir, "ext4", 0, ""); err != nil {
			t.Fatal(err)
		}
		defer syscall.Unmount(dir, 0)
		now := described(t, d.Path)
		if err := Check(now, mib, []string{d.Proof()}); !errors.Is(err, ErrMounted) || !strings.Contains(err.Error(), dir) {
			t.Errorf("got %v", err)
		}
		if _, _, err := flash(t, raw, now, Options{}); !errors.Is(err, ErrInUse) {
			t.Errorf("mounted after it was chosen: %v", err)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		ro := attach(t, image(t, 3), "--read-only")
		if err := Check(ro, mib, []string{ro.Proof()}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the disk of this system", func(t *testing.T) {
		all, err := Host().Devices(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			for _, m := range d.Mounts {
				if err := Check(d, mib, []string{d.Proof()}); m == "/" && !errors.Is(err, ErrSystemDisk) {
					t.Errorf("%s: %v", d.Name, err)
				}
			}
		}
	})
}

func TestDataPartitionIsKept(t *testing.T) {
	d, card := loop(t, 160*mib)
	first, second := image(t, 1), image(t, 2)
	if _, _, err := flash(t, first, d, Options{}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("bash", "-euc", `sgdisk -e -d 3 -n 3:63M:159M -c 3:weft-data "$0" >&2
		debugfs -w -R "write /etc/hostname password" "$0?offset=66060288" >&2`, card).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\ninstall gdisk and e2fsprogs: make deps", err, out)
	}
	before := part(t, card)
	p, _, err := flash(t, second, d, Options{Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	after := part(t, card)
	if p.Kept == nil || !bytes.Equal(before, after) {
		t.Errorf("the data partition changed; kept %+v", p.Kept)
	}
	if out, err := exec.Command("sgdisk", "-v", card).CombinedOutput(); err != nil || !strings.Contains(string(out), "No problems found") {
		t.Errorf("sgdisk: %v: %s", err, out)
	}
	if out, err := exec.Command("debugfs", "-R", "stat password", card+"?offset=66060288").CombinedOutput(); err != nil || !strings.Contains(string(out), "Type: regular") {
		t.Errorf("the file: %v: %s", err, out)
	}
	f, err := os.Open(card)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := disk.Open(f, 160*mib)
	if err != nil || img.Damage != nil {
		t.Fatal(err, img.Damage)
	}
	if got, _ := img.Layout.Partition(disk.Data); got.ID != disk.DeriveGUID("2", "data") || got.Size < 90*mib {
		t.Errorf("the partition is %+v", got)
	}
	t.Run("not ours", func(t *testing.T) {
		if out, err := exec.Command("tune2fs", "-L", "photos", card+"?offset=66060288").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if _, _, err := flash(t, second, d, Options{Keep: true}); !errors.Is(err, ErrNoData) || !strings.Contains(err.Error(), "photos") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("never was weft's", func(t *testing.T) {
		d, _ := loop(t, 100*mib)
		if _, _, err := flash(t, second, d, Options{Keep: true}); !errors.Is(err, ErrNoData) {
			t.Errorf("got %v", err)
		}
	})
}

// part reads the data partition.
func part(t *testing.T, card string) []byte {
	t.Helper()
	b, err := os.ReadFile(card)
	if err != nil {
		t.Fatal(err)
	}
	return b[63*mib : 159*mib]
}
