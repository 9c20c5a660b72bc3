package image

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/klauspost/compress/gzip"

	"weft/builder/disk"
	"weft/builder/fat"
	"weft/builder/plan"
	"weft/builder/rpi"
	"weft/builder/tree"
	"weft/document"
	"weft/slot"
)

const (
	// rpiFirmware is where Debian's raspi-firmware has the files that a
	// Raspberry Pi starts with.
	rpiFirmware = "usr/lib/raspi-firmware/"
	// rpiLicence is the name of the licence of those files on the boot
	// partition. They may be passed on with it, for use with a Raspberry Pi.
	rpiLicence = "LICENCE.firmware"
)

// raspberryPi reports whether the disk is for a Raspberry Pi.
func (in Input) raspberryPi() bool { return in.Plan.Boots(plan.RaspberryPi) }

// deviceTrees are the file names of the trees of the board's models.
func (in Input) deviceTrees() []string {
	var list []string
	for _, m := range in.Plan.Board.Models {
		for _, name := range m.DeviceTrees {
			list = append(list, path.Base(name))
		}
	}
	return list
}

// addRaspberryPi adds what the firmware of a Raspberry Pi reads: its own
// files with their licence, config.txt, and in a folder beside kernel and
// initramfs the device trees and the command line. The folder is the prefix of
// config.txt, so to start something else another prefix is enough. It is the
// boot stage's, which starts the slot; the slot's folder is as complete.
func (d *diskWriter) addRaspberryPi(t *tree.Tree, kernel tree.Content) error {
	board := d.in.Plan.Board
	d.addSystem(t, path.Dir(slot.A.Kernel()), kernel, d.commandLine())
	prefix := rpi.SlotPrefix(slot.A)
	if board.RaspberryPi.Staged() {
		prefix = rpi.StagePrefix
		d.addSystem(t, slot.StageDir, kernel, d.in.Plan.StageCommandLine(d.partUUIDs())+" "+rpi.StageArguments)
	}
	config, err := rpi.Config{
		Prefix:    prefix,
		Kernel:    path.Base(slot.A.Kernel()),
		Initramfs: path.Base(slot.A.Initrd()),
		Board:     *board.RaspberryPi,
	}.Text()
	if err != nil {
		return document.Problems{d.in.Plan.BoardProblem("raspberryPi", err.Error()).WithFix("make it shorter")}
	}
	t.File("config.txt", 0o644, tree.Bytes([]byte(config)))
	d.addOverlays(t)
	return d.addFirmware(t)
}

// addSystem adds all that belongs to a kernel.
func (d *diskWriter) addSystem(t *tree.Tree, folder string, kernel tree.Content, line string) {
	t.File(path.Join(folder, path.Base(slot.A.Kernel())), 0o644, kernel)
	t.File(path.Join(folder, path.Base(slot.A.Initrd())), 0o644, tree.Bytes(d.initramfs))
	t.File(path.Join(folder, rpi.CommandLineFile), 0o644, tree.Bytes([]byte(line+" "+rpi.MemoryCgroup+"\n")))
	d.addTrees(t, folder)
}

// writeRecord writes the slot record of a new disk, in both copies: slot A with
// all its tries.
func writeRecord(_ context.Context, w *disk.Window) error {
	for range 2 {
		if _, err := slot.InGap.Save(w, slot.NewRecord(slot.A)); err != nil {
			return err
		}
	}
	return nil
}

// addTrees adds the device trees of the models.
func (d *diskWriter) addTrees(t *tree.Tree, folder string) {
	for _, m := range d.machines {
		names := []string{path.Base(m.Tree)}
		if known, ok := rpi.ByTree(names[0]); ok {
			names = known.FileNames()
		}
		for _, name := range names {
			if name = path.Join(folder, name); !has(t, name) {
				t.File(name, 0o644, tree.Bytes(m.Data))
			}
		}
	}
}

// has reports whether a tree has a file; models may share one.
func has(t *tree.Tree, name string) bool {
	_, ok := t.Lookup(name)
	return ok
}

// addFirmware adds the files that the models start with.
func (d *diskWriter) addFirmware(t *tree.Tree) error {
	board := d.in.Plan.Board
	files := d.in.Packages[board.RaspberryPi.Package]
	var problems document.Problems
	for i, m := range board.Models {
		for j, name := range m.Firmware {
			if has(t, name) {
				continue
			}
			content, err := tree.FromFS(files, rpiFirmware+name)
			if errors.Is(err, fs.ErrNotExist) {
				key := document.Index(document.Join(document.Index("models", i), "firmware"), j)
				problems = append(problems, d.in.Plan.BoardProblem(key, fmt.Sprintf("package %s has no %s", board.RaspberryPi.Package, name)).
					WithFix("name a file of its folder /"+rpiFirmware))
				continue
			}
			if err != nil {
				return err
			}
			t.File(name, 0o644, content)
		}
	}
	if len(problems) > 0 {
		return problems
	}
	licence, err := tree.FromFS(files, "usr/share/doc/"+board.RaspberryPi.Package+"/copyright")
	if err != nil {
		return fmt.Errorf("package %s: the licence of the firmware: %w", board.RaspberryPi.Package, err)
	}
	t.File(rpiLicence, 0o644, licence)
	return nil
}

// addOverlays adds the overlays that the board names.
func (d *diskWriter) addOverlays(t *tree.Tree) {
	for name, data := range d.in.Overlays {
		t.File("overlays/"+name+".dtbo", 0o644, tree.Bytes(data))
	}
}

// gzipKernel is the kernel compressed by gzip, which the firmware unpacks
// while it loads: a third of the bytes to read from a slow card.
func (d *diskWriter) gzipKernel(kernel tree.Content) (tree.Content, error) {
	if d.kernel != nil {
		return tree.Bytes(d.kernel), nil
	}
	key := "kernel-gzip-1-" + hex.EncodeToString([]byte(d.in.KernelDigest))
	if data, ok := d.in.Cache.Get(key); ok {
		d.kernel = data
		return tree.Bytes(data), nil
	}
	r, err := kernel.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.DefaultCompression)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	if _, err := io.Copy(w, r); err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	d.in.Cache.Put(key, out.Bytes())
	d.kernel = out.Bytes()
	return tree.Bytes(d.kernel), nil
}

// prove follows the firmware of every model through the finished image. What
// is wrong there although all files were as they should be comes of lines of
// the board file.
func (d *diskWriter) prove(r io.ReaderAt, size int64) error {
	image, err := disk.Open(r, size)
	if err != nil {
		return err
	}
	section, ok := image.Section(disk.Boot)
	if !ok {
		return fmt.Errorf("the finished image has no partition %s", disk.Boot)
	}
	boot, err := fat.Open(section, section.Size())
	if err != nil {
		return err
	}
	_, faults := rpi.Prove(image, boot, d.in.deviceTrees())
	var problems document.Problems
	for _, err := range faults {
		problems = append(problems, d.in.Plan.BoardProblem("raspberryPi", "this image would not boot: "+err.Error()).
			WithFix("change the models, or the lines below raspberryPi that lead to it"))
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}
