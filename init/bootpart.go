package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/bless"
	"weft/init/keep"
	"weft/init/ready"
	"weft/init/storage"
	"weft/profiles"
	"weft/slot"
)

const (
	// bootDir is where the boot partition is mounted while it is needed.
	bootDir = "/boot"
	// bootWithin is how long the boot partition may take to appear.
	bootWithin = 10 * time.Second
)

// withBoot calls f while the boot partition is mounted. The node file is read
// before the node can be ready and the slot is blessed after, so there are
// never two at it.
func (s *system) withBoot(write bool, f func() error) (err error) {
	id, ok := s.args.PartUUID(profiles.ArgBoot)
	if !ok {
		return errNoBoot
	}
	part, err := s.devices.partition(s.ctx, id, bootWithin)
	if err != nil {
		return err
	}
	// The kernel's default character sets for FAT in Debian's kernels; it
	// cannot load them itself without a modprobe program.
	s.need("vfat", "nls_cp437", "nls_ascii")
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if !write {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(part.Device(), bootDir, "vfat", flags, ""); err != nil {
		return fmt.Errorf("mount the boot partition %s: %w%s", part.Name, err, fatHint(err))
	}
	defer func() {
		if uerr := unix.Unmount(bootDir, 0); uerr != nil {
			err = errors.Join(err, fmt.Errorf("unmount the boot partition: %w", uerr))
		}
	}()
	return f()
}

// fatHint explains why a FAT file system cannot be mounted: EINVAL is also
// what the kernel says when a character set is missing (fs/fat/inode.c).
func fatHint(err error) string {
	switch {
	case errors.Is(err, unix.ENODEV):
		return " (the kernel has no vfat; the board must list it)"
	case errors.Is(err, unix.EINVAL):
		return " (it holds no sound FAT, or the board lacks nls_cp437 or nls_ascii)"
	}
	return ""
}

// errNoBoot says that the node has no boot partition to look at.
var errNoBoot = fmt.Errorf("the kernel argument %s=PARTUUID=… is missing", profiles.ArgBoot)

// readNodeFile reads the node file. Without one the node derives everything.
// With a bad one it does so too, but says that it is not what somebody wanted.
func (s *system) readNodeFile() {
	defer close(s.nodeDone)
	step := s.log.Start("node file")
	var data []byte
	none := false
	err := s.withBoot(false, func() (err error) {
		data, err = keep.Read(filepath.Join(bootDir, profiles.NodeFile), profiles.MaxNodeFile)
		if none = errors.Is(err, fs.ErrNotExist); none {
			return nil
		}
		return err
	})
	switch {
	case none && err == nil, errors.Is(err, errNoBoot):
		step.Done("none; the node derives everything")
		s.board.Set(itemNodeFile, ready.Good, "")
		return
	case err != nil:
		s.log.Problem("node file: %v; the node derives everything", err)
		s.board.Set(itemNodeFile, ready.Failed, err.Error())
		return
	}
	conf, _, problems := profiles.ReadNode(profiles.NodeFile, data)
	if err := problems.Errors(); err != nil {
		s.log.Problem("the node file is not used, the node derives everything:\n%v", err)
		s.board.Set(itemNodeFile, ready.Failed, "it is not used: "+firstLine(err.Error()))
		return
	}
	s.conf = conf
	step.Done(conf.Hostname)
	s.board.Set(itemNodeFile, ready.Good, "")
}

// bless tells the boot loader that this slot works.
func (s *system) bless() {
	s.blessing.Lock()
	defer s.blessing.Unlock()
	value, ok := s.args.Get(profiles.ArgSlot)
	if !ok {
		return // started by hand, without a boot loader that counts
	}
	step := s.log.Start("slot " + value)
	changed, err := s.blessSlot(value)
	switch {
	case err != nil:
		s.log.Problem("%v; the boot loader will count this boot as failed", err)
	case changed:
		step.Done("blessed")
	}
}

// blessSlot blesses by the form the firmware uses.
func (s *system) blessSlot(value string) (changed bool, err error) {
	name, err := slot.Parse(value)
	if err != nil {
		return false, err
	}
	if where, ok := s.args.Get(profiles.ArgRecord); ok {
		return s.blessInGap(where, name)
	}
	if root, _ := s.args.PartUUID(profiles.ArgRoot); storage.IsMBR(root) {
		return false, nil // a Raspberry Pi's firmware, which counts nothing
	}
	if _, err := os.Stat("/sys/firmware/efi"); err != nil {
		return s.blessRecord(name)
	}
	// Looked at first without writing: after the first good boot there is
	// nothing to write, and what is not written a power cut cannot hurt.
	var counted []string
	err = s.withBoot(false, func() (err error) {
		counted, err = bless.Counted(bootDir, name)
		return err
	})
	if err != nil || len(counted) == 0 {
		return false, err
	}
	err = s.withBoot(true, func() (err error) {
		changed, err = bless.Entry(bootDir, name)
		return err
	})
	return changed, err
}

// blessRecord blesses in the BIOS boot partition of the root's disk.
func (s *system) blessRecord(name slot.Name) (bool, error) {
	id, _ := s.args.PartUUID(profiles.ArgRoot)
	_, parts := storage.List("/sys", "/dev")
	root, ok := storage.Find(parts, id)
	if !ok {
		return false, seen(id)
	}
	table, err := readGPT(root)
	if err != nil {
		return false, err
	}
	number, ok := storage.FindType(table, storage.BIOSBoot)
	if !ok {
		return false, fmt.Errorf("%s has no BIOS boot partition", root.Disk)
	}
	for _, p := range parts {
		if p.Disk != root.Disk || p.Number != number {
			continue
		}
		f, err := os.OpenFile(p.Device(), os.O_RDWR, 0)
		if err != nil {
			return false, err
		}
		defer f.Close()
		return bless.Record(f, slot.InPartition, name)
	}
	return false, fmt.Errorf("partition %d of %s is not there", number, root.Disk)
}

// blessInGap blesses in the record of the boot stage.
func (s *system) blessInGap(where string, name slot.Name) (bool, error) {
	if where != profiles.RecordInGap {
		return false, fmt.Errorf("the kernel argument %s=%s: this init knows %s only", profiles.ArgRecord, where, profiles.RecordInGap)
	}
	id, ok := s.args.PartUUID(profiles.ArgBoot)
	if !ok {
		return false, errNoBoot
	}
	part, err := s.devices.partition(s.ctx, id, bootWithin)
	if err != nil {
		return false, err
	}
	f, err := os.OpenFile(part.DiskDevice(), os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return bless.Record(f, slot.InGap, name)
}

// readGPT reads the partition table of a partition's disk.
func readGPT(p storage.Partition) (storage.Table, error) {
	f, err := os.Open(p.DiskDevice())
	if err != nil {
		return storage.Table{}, err
	}
	defer f.Close()
	d, err := storage.Geometry(f)
	if err != nil {
		return storage.Table{}, err
	}
	table, err := storage.ReadTable(f, d, 1)
	if err != nil {
		return storage.ReadTable(f, d, d.Sectors-1)
	}
	return table, nil
}
