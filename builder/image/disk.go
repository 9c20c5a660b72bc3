package image

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"weft/boards"
	"weft/builder/bios"
	"weft/builder/disk"
	"weft/builder/erofs"
	"weft/builder/fat"
	"weft/builder/machine"
	"weft/builder/plan"
	"weft/builder/tree"
	"weft/document"
	"weft/ext4"
	"weft/profiles"
	"weft/slot"
)

// A diskWriter puts the finished parts of an image onto a disk.
type diskWriter struct {
	in        Input
	id        string
	initramfs []byte
	root      *tree.Tree
	machines  []machine.Machine

	ids    disk.IDs
	layout disk.Layout
	kernel []byte // compressed, once it was
}

// write writes the image to path and completes the result.
func (d *diskWriter) write(ctx context.Context, path string, result *Result) error {
	board := d.in.Plan.Board
	d.ids = disk.DeriveIDs(d.id)
	planned := disk.Plan
	if board.Disk.Table == boards.MBR {
		planned = disk.PlanMBR
	}
	layout, err := planned(d.ids, disk.Sizes{
		Arch: board.Arch,
		BIOS: d.in.Plan.Boots(plan.BIOS),
		Boot: int64(board.Disk.Boot) << 20,
		Root: int64(board.Disk.Slot) << 20,
		Data: int64(board.Disk.Data) << 20,
	})
	if err != nil {
		return fmt.Errorf("disk layout: %w", err)
	}
	d.layout = layout
	source := disk.Source{
		Layout: layout,
		Digest: true,
		Contents: map[string]disk.Producer{
			disk.Boot:  d.writeBoot,
			disk.RootA: d.writeRoot(&result.Root),
			disk.Data:  d.writeData,
		},
	}
	if d.in.raspberryPi() {
		source.Check = d.prove
		if board.RaspberryPi.Staged() {
			source.Gap = writeRecord
		}
	}
	if d.in.Plan.Boots(plan.BIOS) {
		code, loader, err := d.loader()
		if err != nil {
			return err
		}
		source.BootCode = code
		source.Contents[disk.BIOS] = disk.Bytes(loader)
	}
	written, err := disk.Write(ctx, path, source)
	if err != nil {
		return err
	}
	result.Size, result.Mapped = written.Size, written.Written()
	result.SHA256 = fmt.Sprintf("%x", written.SHA256)
	return nil
}

// partition returns a partition that [disk.Plan] has laid out.
func (d *diskWriter) partition(name string) disk.Partition {
	p, _ := d.layout.Partition(name)
	return p
}

// commandLine is the kernel command line of slot A.
func (d *diskWriter) commandLine() string {
	return d.in.Plan.CommandLine(string(slot.A), d.partUUIDs())
}

// partUUIDs name the partitions of slot A.
func (d *diskWriter) partUUIDs() plan.Partitions {
	return plan.Partitions{
		Root: d.layout.PartUUID(d.partition(disk.RootA)),
		Boot: d.layout.PartUUID(d.partition(disk.Boot)),
		Data: d.layout.PartUUID(d.partition(disk.Data)),
	}
}

// nodeExample tells a person who opens the boot partition on a laptop how to
// name a node.
//
//go:embed node.example.yaml
var nodeExample string

// bootTree is the content of the boot partition: the slot's kernel and
// initramfs, for UEFI systemd-boot with its entry, and for a Raspberry Pi what
// its firmware reads.
func (d *diskWriter) bootTree() (*tree.Tree, error) {
	t := tree.New(d.in.Epoch)
	kernel, err := tree.FromFS(d.in.KernelFiles, d.in.Kernel.ImagePath)
	if err != nil {
		return nil, err
	}
	t.File(path.Join(path.Dir(profiles.NodeFile), "node.example.yaml"), 0o644, tree.Bytes([]byte(nodeExample)))
	if d.in.raspberryPi() {
		if kernel, err = d.gzipKernel(kernel); err != nil {
			return nil, err
		}
		return t, errors.Join(d.addRaspberryPi(t, kernel), t.Err())
	}
	t.File(slot.A.Kernel(), 0o644, kernel)
	t.File(slot.A.Initrd(), 0o644, tree.Bytes(d.initramfs))
	if !d.in.Plan.Boots(plan.UEFI) {
		return t, t.Err()
	}
	entry, err := slot.EntryText{
		Slot:     slot.A,
		Title:    "weft (slot a)",
		Version:  d.in.Plan.Version,
		Priority: slot.MaxPriority,
		Options:  d.commandLine(),
	}.Text()
	if err != nil {
		return nil, err
	}
	t.File(slot.LoaderFile, 0o644, tree.Bytes([]byte(slot.LoaderConfig)))
	t.File(path.Join(slot.EntriesDir, slot.NewEntry(slot.A).File()), 0o644, tree.Bytes([]byte(entry)))
	return t, errors.Join(d.addSystemdBoot(t), t.Err())
}

// efiNames are systemd-boot's name in its package and the name by which
// firmware starts it without NVRAM [UEFI 2.10, 3.5.1.1], by architecture.
var efiNames = map[string][2]string{
	"amd64": {"systemd-bootx64.efi", "BOOTX64.EFI"},
	"arm64": {"systemd-bootaa64.efi", "BOOTAA64.EFI"},
}

// addSystemdBoot adds the boot loader where firmware looks for it.
func (d *diskWriter) addSystemdBoot(t *tree.Tree) error {
	names := efiNames[d.in.Plan.Board.Arch]
	loader, err := tree.FromFS(d.in.Packages[plan.BootLoader], "usr/lib/systemd/boot/efi/"+names[0])
	if err != nil {
		return fmt.Errorf("package %s: %w", plan.BootLoader, err)
	}
	t.File("EFI/BOOT/"+names[1], 0o644, loader)
	return nil
}

// writeBoot fills the boot partition.
func (d *diskWriter) writeBoot(_ context.Context, w *disk.Window) error {
	t, err := d.bootTree()
	if err != nil {
		return err
	}
	_, err = fat.Write(w, w.Size(), t, d.fatParams())
	return d.tooSmall(err, "disk.boot")
}

// fatParams are the boot partition's.
func (d *diskWriter) fatParams() fat.Params {
	p := d.partition(disk.Boot)
	return fat.Params{
		Type:          fat.FAT32,
		VolumeID:      binary.BigEndian.Uint32(d.ids.Boot[:]),
		Label:         "WEFT",
		HiddenSectors: uint32(p.LBA()),
	}
}

// tooSmall turns a volume without room into a problem of the board's line
// that sets its size.
func (d *diskWriter) tooSmall(err error, key string) error {
	if !errors.Is(err, fat.ErrNoSpace) && !errors.Is(err, disk.ErrNoRoom) {
		return err
	}
	return document.Problems{d.in.Plan.BoardProblem(key, err.Error()).WithFix("make it larger")}
}

// nowhere takes what is written and keeps nothing.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// loader is the BIOS boot loader: the code of sector 0 and the content of its
// partition, which says where on the disk the kernel and the initramfs are.
func (d *diskWriter) loader() (code, partition []byte, err error) {
	t, err := d.bootTree()
	if err != nil {
		return nil, nil, err
	}
	// The layout follows from the tree alone, so a dry run tells it.
	boot := d.partition(disk.Boot)
	layout, err := fat.Write(nowhere{}, boot.Size, t, d.fatParams())
	if err != nil {
		return nil, nil, d.tooSmall(err, "disk.boot")
	}
	extent := func(name string) slot.Extent {
		offset, size, ok := layout.Extent(name)
		if !ok {
			err = errors.Join(err, fmt.Errorf("boot partition: %s: %w", name, fs.ErrNotExist))
		}
		return slot.Extent{LBA: uint64(boot.Start+offset) / disk.SectorSize, Bytes: uint32(size)}
	}
	system := &bios.System{
		Kernel:      extent(slot.A.Kernel()),
		Initrd:      extent(slot.A.Initrd()),
		CommandLine: d.commandLine(),
		Priority:    slot.MaxPriority,
		Tries:       slot.DefaultTries,
	}
	if err != nil {
		return nil, nil, err
	}
	head, partition, err := bios.Install(d.partition(disk.BIOS).LBA(), system, nil)
	return head[:], partition, err
}

// writeRoot fills root A and notes its size.
func (d *diskWriter) writeRoot(size *int64) disk.Producer {
	return func(_ context.Context, w *disk.Window) (err error) {
		need := int64(0)
		for e := range d.root.All() {
			need += e.Size()
		}
		if need > w.Size() {
			return document.Problems{d.in.Plan.BoardProblem("disk.slot",
				fmt.Sprintf("the root holds %d MiB of files and a slot %d MiB", need>>20, w.Size()>>20)).
				WithFix("make the slot larger")}
		}
		*size, err = erofs.Write(w, d.root, erofs.Params{UUID: d.ids.RootA, Label: disk.RootA})
		return d.tooSmall(err, "disk.slot")
	}
}

// writeData makes the data partition's file system.
func (d *diskWriter) writeData(_ context.Context, w *disk.Window) error {
	return ext4.Make(w, ext4.Params{
		Size:     w.Size(),
		UUID:     d.ids.Data,
		HashSeed: disk.DeriveGUID(d.id, "ext4 hash seed"),
		Label:    disk.Data,
		Epoch:    d.in.Epoch,
		Zeroed:   true,
	})
}
