package rpi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"weft/boards"
	"weft/builder/buildtest"
	"weft/builder/disk"
	"weft/builder/fat"
	"weft/builder/guest"
	"weft/builder/inspect"
	"weft/builder/rpi"
	"weft/slot"
)

// A volume is an image that can be changed; the changes stay in memory.
type volume struct {
	io.ReaderAt
	size    int64
	sectors map[int64][]byte // by number
}

func (v *volume) ReadAt(b []byte, off int64) (int, error) {
	n, err := v.ReaderAt.ReadAt(b, off)
	for at := off / disk.SectorSize; at*disk.SectorSize < off+int64(n); at++ {
		if sector, ok := v.sectors[at]; ok {
			from := max(at*disk.SectorSize, off)
			copy(b[from-off:n], sector[from-at*disk.SectorSize:])
		}
	}
	return n, err
}

func (v *volume) WriteAt(b []byte, off int64) (int, error) {
	for done := 0; done < len(b); {
		at := (off + int64(done)) / disk.SectorSize
		if v.sectors[at] == nil {
			sector := make([]byte, disk.SectorSize)
			if _, err := v.ReaderAt.ReadAt(sector, at*disk.SectorSize); err != nil {
				return done, err
			}
			v.sectors[at] = sector
		}
		done += copy(v.sectors[at][off+int64(done)-at*disk.SectorSize:], b[done:])
	}
	return len(b), nil
}

// A window is a part of a volume.
type window struct {
	*volume
	start int64
}

func (w window) ReadAt(b []byte, off int64) (int, error)  { return w.volume.ReadAt(b, w.start+off) }
func (w window) WriteAt(b []byte, off int64) (int, error) { return w.volume.WriteAt(b, w.start+off) }

// A card is a finished image and what is done to it.
type card struct {
	t     *testing.T
	disk  *volume
	image *disk.Image
	boot  *fat.FS
}

// open reads the image anew.
func open(t *testing.T, f *os.File, size int64) *card {
	t.Helper()
	c := &card{t: t, disk: &volume{f, size, map[int64][]byte{}}}
	c.read()
	return c
}

// read reads table and boot partition as they are now.
func (c *card) read() {
	c.t.Helper()
	image, err := disk.Open(c.disk, c.disk.size)
	if err != nil {
		c.t.Fatal(err)
	}
	p, _ := image.Layout.Partition(disk.Boot)
	boot, err := fat.OpenWritable(window{c.disk, p.Start}, p.Size)
	if err != nil {
		c.t.Fatal(err)
	}
	c.image, c.boot = image, boot
}

// set changes bytes and reads the disk anew.
func (c *card) set(at int64, data ...byte) {
	c.t.Helper()
	if _, err := c.disk.WriteAt(data, at); err != nil {
		c.t.Fatal(err)
	}
	c.read()
}

// write replaces a file, edit a text in one.
func (c *card) write(name string, data []byte) {
	c.t.Helper()
	if err := c.boot.WriteFile(name, data, time.Unix(1, 0)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *card) edit(name, old, text string) {
	c.t.Helper()
	data, err := fs.ReadFile(c.boot, name)
	if err != nil {
		c.t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		c.t.Fatalf("%s has no %q:\n%s", name, old, data)
	}
	c.write(name, []byte(strings.Replace(string(data), old, text, 1)))
}

// record writes a slot record, in both copies.
func (c *card) record(r slot.Record) {
	c.t.Helper()
	for range 2 {
		if _, err := slot.InGap.Save(c.disk, r); err != nil {
			c.t.Fatal(err)
		}
	}
	c.read()
}

// kernel is a small kernel with one byte changed.
func kernel(t *testing.T, at int, b byte) []byte {
	t.Helper()
	image := make([]byte, 4096)
	binary.LittleEndian.PutUint64(image[24:], 0xa)
	copy(image[56:], "ARM\x64")
	image[at] = b
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(image); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const (
	tree3  = "bcm2837-rpi-3-b.dtb"
	config = "config.txt"
	line   = "weft/boot/cmdline.txt"
	lineA  = "weft/a/cmdline.txt"
)

// faults are injected into a finished image; each must be found by name.
var faults = []struct {
	name   string
	inject func(c *card)
	want   string
}{
	{"another type of the first partition", func(c *card) { c.set(446+4, 0xef) }, "the first partition has type 0xef"},
	{"a partition that is not aligned", func(c *card) { c.set(446+16+8, 1, 0x20, 4, 0, 0xff, 0xff, 3, 0) }, "weft-root-a begins at byte"},
	{"FAT32 in name only", func(c *card) {
		p, _ := c.image.Layout.Partition(disk.Boot)
		c.set(p.Start+32, 0x00, 0x80, 0, 0)
	}, "no FAT32: it has"},
	{"a boot sector that lies about its place", func(c *card) {
		p, _ := c.image.Layout.Partition(disk.Boot)
		c.set(p.Start+28, 63, 0, 0, 0)
	}, "begins at sector 63"},
	{"no start.elf", func(c *card) { c.write("start.elf", nil) }, "firmware file start.elf is empty"},
	{"a 32-bit kernel asked for", func(c *card) { c.edit(config, "arm_64bit=1", "arm_64bit=0") }, "does not say arm_64bit=1"},
	{"64 bits for another model only", func(c *card) { c.edit(config, "arm_64bit=1", "[pi4]\narm_64bit=1\n[all]") }, "does not say arm_64bit=1"},
	{"a kernel that is not there", func(c *card) { c.edit(config, "kernel=vmlinuz", "kernel=vmlinux") }, "os_prefix=weft/boot/ is ignored: it does not hold both vmlinux"},
	{"a prefix that is not there", func(c *card) { c.edit(config, "os_prefix=weft/boot/", "os_prefix=weft/c/") }, "os_prefix=weft/c/ is ignored"},
	{"no initramfs", func(c *card) { c.edit(config, "\ninitramfs", "\n#initramfs") }, "no line \"initramfs FILE followkernel\""},
	{"initramfs written like all else", func(c *card) { c.edit(config, "initramfs initrd followkernel", "initramfs=initrd") }, "does not say followkernel"},
	{"another initramfs", func(c *card) { c.edit(config, "initramfs initrd", "initramfs initrd.zst") }, "initramfs weft/boot/initrd.zst is missing"},
	{"an empty initramfs", func(c *card) { c.write("weft/boot/initrd", nil) }, "initramfs weft/boot/initrd is empty"},
	{"trees by the names of Raspberry Pi OS", func(c *card) { c.edit(config, "upstream_kernel=1", "upstream_kernel=0") }, "bcm2710-rpi-3-b.dtb"},
	{"the tree of another model", func(c *card) { c.edit(config, "[all]", "[all]\ndevice_tree=bcm2837-rpi-3-b-plus.dtb") }, "not raspberrypi,3-model-b"},
	{"a damaged tree", func(c *card) { c.write("weft/boot/"+tree3, []byte("no tree")) }, "device tree weft/boot/" + tree3},
	{"a kernel that is none", func(c *card) { c.write("weft/boot/vmlinuz", []byte("MZ no kernel")) }, "kernel weft/boot/vmlinuz: no arm64 Image"},
	{"a kernel of another processor", func(c *card) { c.write("weft/boot/vmlinuz", kernel(c.t, 56, 'R')) }, "the magic number"},
	{"a kernel with pages of 16 KiB", func(c *card) { c.write("weft/boot/vmlinuz", kernel(c.t, 24, 0xc)) }, "pages are not of 4 KiB"},
	{"a kernel with a damaged end", func(c *card) {
		k := kernel(c.t, 100, 1)
		k[len(k)-6] ^= 1
		c.write("weft/boot/vmlinuz", k)
	}, "it is damaged"},
	{"a command line of two lines", func(c *card) { c.edit(line, "console=tty0", "\nconsole=tty0") }, "more than one line"},
	{"an empty command line", func(c *card) { c.write(line, nil) }, "cmdline.txt is empty"},
	{"a long command line", func(c *card) { c.edit(line, "panic=10", strings.Repeat("x", 1600)) }, "with those of the firmware the kernel takes 1536"},
	{"the boot partition of another disk", func(c *card) { c.edit(line, "weft.boot=PARTUUID=", "weft.boot=PARTUUID=0") }, "weft.boot=PARTUUID=0"},
	{"no boot partition named", func(c *card) { c.edit(line, "weft.boot=", "boot=") }, "weft.boot=PARTUUID=… is missing"},
	{"a boot stage with all CPUs", func(c *card) { c.edit(line, "nr_cpus=1", "nr_cpus=4") }, "nr_cpus=1 is missing"},
	{"a slot record that is torn", func(c *card) { c.set(slot.GapOffset1+256, 1) }, "slot record: copy 1: slot record is damaged"},
	{"the other copy torn", func(c *card) { c.set(slot.GapOffset2+256, 1) }, "slot record: copy 2: slot record is damaged"},
	{"a record without a slot", func(c *card) { c.record(slot.Record{}) }, "the slot record knows no slot"},
	{"a slot that is not there", func(c *card) { c.record(slot.NewRecord(slot.A, slot.B)) }, "slot b: kernel weft/b/vmlinuz is missing"},
	{"a slot's kernel that is none", func(c *card) { c.write("weft/a/vmlinuz", []byte("MZ no kernel")) }, "slot a: kernel weft/a/vmlinuz: no arm64 Image"},
	{"a slot's empty initramfs", func(c *card) { c.write("weft/a/initrd", nil) }, "slot a: initramfs weft/a/initrd is empty"},
	{"a slot's command line of two lines", func(c *card) { c.edit(lineA, "console=tty0", "\nconsole=tty0") }, "slot a: command line weft/a/cmdline.txt has more than one line"},
	{"a slot's command line that is too long", func(c *card) { c.edit(lineA, "panic=10", strings.Repeat("x", 1900)) }, "with those of the boot stage the kernel takes 2005"},
	{"a slot that takes itself for another", func(c *card) { c.edit(lineA, "weft.slot=a", "weft.slot=b") }, "weft.slot=a is missing"},
	{"the root of another disk", func(c *card) { c.edit(lineA, "root=PARTUUID=", "root=PARTUUID=0") }, "root=PARTUUID=0"},
	{"a root that is the data partition", func(c *card) { c.edit(lineA, "-02 ", "-04 ") }, "is no such partition"},
	{"the root of the other slot", func(c *card) { c.edit(lineA, "-02 ", "-03 ") }, "is no such partition"},
	{"no data partition named", func(c *card) { c.edit(lineA, "weft.data=", "data=") }, "weft.data=PARTUUID=… is missing"},
	{"a line longer than the firmware reads", func(c *card) { c.edit(config, "gpu_mem=32", "gpu_mem=32 "+strings.Repeat(" ", 90)+"x") }, "longer than the 98 characters"},
	{"an overlay that is not there", func(c *card) { c.edit(config, "gpu_mem=32", "dtoverlay=vc4-kms-v3d,x=1") }, "overlay overlays/vc4-kms-v3d.dtbo is missing"},
}

func TestEveryFaultOfAFinishedImageIsFoundByName(t *testing.T) {
	p := buildtest.Plan(t, "rpi3", "vxlan")
	pi := *p.Board.RaspberryPi
	pi.BootStage = boards.BootStageOn
	p.Board.RaspberryPi = &pi
	result := buildtest.Build(t, buildtest.Options(t, p, buildtest.CacheDir(t), t.TempDir()))
	f, err := os.Open(result.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	t.Run("nothing", func(t *testing.T) {
		c := open(t, f, result.Size)
		starts, faults := rpi.Prove(c.image, c.boot, []string{tree3, "bcm2837-rpi-3-b-plus.dtb", "bcm2837-rpi-3-a-plus.dtb"})
		if len(faults) > 0 {
			t.Errorf("a sound image has faults: %v", faults)
		}
		for _, s := range starts {
			if s.Kernel != "weft/boot/vmlinuz" || s.Initramfs != "weft/boot/initrd" || s.Tree != s.Model {
				t.Errorf("%+v", s)
			}
			if len(s.Slots) != 1 || s.Slots[0].Kernel != "weft/a/vmlinuz" || s.Slots[0].Initramfs != "weft/a/initrd" {
				t.Errorf("slots of %s: %+v", s.Model, s.Slots)
			}
			if w := s.WithoutStage(); w.Kernel != "weft/a/vmlinuz" || w.Staged() || w.DeviceTree != s.DeviceTree {
				t.Errorf("without the boot stage: %+v", w)
			}
		}
		if _, faults := rpi.Prove(c.image, c.boot, []string{"bcm2711-rpi-4-b.dtb"}); len(faults) == 0 {
			t.Error("a Raspberry Pi 4 boots from the image of a 3")
		}
	})
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			c := open(t, f, result.Size)
			// Debian's kernel takes a while to unpack, thirty times.
			c.write("weft/boot/vmlinuz", kernel(t, 100, 1))
			c.write("weft/a/vmlinuz", kernel(t, 100, 1))
			if _, found := rpi.Prove(c.image, c.boot, []string{tree3}); len(found) > 0 {
				t.Fatalf("faults before there is any: %v", found)
			}
			fault.inject(c)
			_, found := rpi.Prove(c.image, c.boot, []string{tree3})
			var all []string
			for _, err := range found {
				all = append(all, err.Error())
			}
			if !strings.Contains(strings.Join(all, "\n"), fault.want) {
				t.Errorf("found %q, want %q", all, fault.want)
			}
		})
	}
	t.Run("slot A without the boot stage", func(t *testing.T) {
		c := open(t, f, result.Size)
		c.edit(config, "\nos_prefix=weft/boot/", "\nos_prefix=weft/a/")
		starts, faults := rpi.Prove(c.image, c.boot, []string{tree3})
		if len(faults) > 0 || starts[0].Kernel != "weft/a/vmlinuz" || starts[0].Slots != nil {
			t.Errorf("%+v, %v", starts, faults)
		}
	})
	t.Run("inspected", func(t *testing.T) { inspected(t, f, result.Size) })
	t.Run("refused by QEMU", func(t *testing.T) { notRun(t, result.Path) })
	t.Run("judged by others", func(t *testing.T) { judged(t, result.Path) })
}

func TestABoardWithoutTheBootStageStartsSlotA(t *testing.T) {
	p := buildtest.Plan(t, "rpi3", "vxlan")
	result := buildtest.Build(t, buildtest.Options(t, p, buildtest.CacheDir(t), t.TempDir()))
	f, err := os.Open(result.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := open(t, f, result.Size)
	starts, faults := rpi.Prove(c.image, c.boot, []string{tree3})
	if len(faults) > 0 || starts[0].Kernel != "weft/a/vmlinuz" || starts[0].Staged() {
		t.Errorf("%+v, %v", starts, faults)
	}
	if _, err := fs.Stat(c.boot, "weft/boot"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("weft/boot: %v", err)
	}
	if _, err := slot.InGap.Load(c.image.Whole()); !errors.Is(err, slot.ErrDamaged) {
		t.Errorf("there is a slot record: %v", err)
	}
}

// inspected reads the image as weft inspect does.
func inspected(t *testing.T, f *os.File, size int64) {
	image, err := inspect.Open(f, size)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	report := image.Report()
	if err := report.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		", MBR, ", "Raspberry Pi 3 Model A+\n    starts with   bootcode.bin, start.elf, fixup.dat\n",
		"device tree   weft/boot/bcm2837-rpi-3-b.dtb (Raspberry Pi 3 Model B)", "weft.stage weft.boot=",
		"slot a: to prove itself, 3 tries left\n    kernel        weft/a/vmlinuz", "weft.record=gap", "watchdog.open_timeout=120", "cgroup_enable=memory", "/LICENCE.firmware",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, text.String())
		}
	}
	if len(report.Faults) > 0 {
		t.Errorf("faults: %q", report.Faults)
	}
}

// notRun gives the image to a virtual machine, as weft run does.
func notRun(t *testing.T, path string) {
	_, err := guest.Machines(t.Context(), guest.Options{Image: path, Dir: t.TempDir(), Nodes: 1, Now: time.Now()})
	var refused *guest.ImageError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "rpi3 boots by the firmware of a Raspberry Pi, which QEMU does not have") {
		t.Errorf("got %v", err)
	}
}

// judged asks fdisk and fsck.
func judged(t *testing.T, path string) {
	table := buildtest.Tool(t, "sfdisk", "--dump", path)
	for _, want := range []string{"label: dos", "start=        8192, size=      262144, type=c", "type=83"} {
		if !strings.Contains(table, want) {
			t.Errorf("sfdisk does not say %q:\n%s", want, table)
		}
	}
	buildtest.Tool(t, "sfdisk", "--verify", path)
	boot := buildtest.Partition(t, path, disk.CardAlignment, 128<<20)
	buildtest.Tool(t, "fsck.vfat", "-n", boot)
}
