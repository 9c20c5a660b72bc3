package storage

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ext4ResizeFS is EXT4_IOC_RESIZE_FS, _IOW('f', 16, __u64) (fs/ext4/ext4.h):
// the new size in file system blocks.
const ext4ResizeFS = 0x40086610

// GrowPartition lengthens a partition to the end of its disk: the table on
// disk, then what the kernel knows. It works while the partition is in use,
// and does nothing when nothing is to do. It returns what it did.
func GrowPartition(p Partition) (Growth, error) {
	disk, err := os.OpenFile(p.DiskDevice(), os.O_RDWR, 0)
	if err != nil {
		return Growth{}, fmt.Errorf("grow %s: %w", p.Name, err)
	}
	defer disk.Close()
	geometry, err := Geometry(disk)
	if err != nil {
		return Growth{}, fmt.Errorf("grow %s: %w", p.Name, err)
	}
	plan := PlanGrowth
	if IsMBR(p.ID) {
		plan = PlanMBRGrowth
	}
	g, err := plan(disk, geometry, p.ID)
	if err != nil || g.Why == "" {
		return g, err
	}
	if err := g.Apply(disk); err != nil {
		return Growth{}, fmt.Errorf("grow %s: %w", p.Name, err)
	}
	if g.Grown == 0 {
		return g, nil
	}
	sector := int64(geometry.SectorSize)
	if err := blkpg(disk, unix.BLKPG_RESIZE_PARTITION, p.Number, int64(g.First)*sector, int64(g.Last-g.First+1)*sector); err != nil {
		return Growth{}, fmt.Errorf("grow %s: tell the kernel: %w; the new size counts from the next boot", p.Name, err)
	}
	return g, nil
}

// Geometry asks the kernel for a block device's size.
func Geometry(disk *os.File) (Disk, error) {
	sector, err := unix.IoctlGetInt(int(disk.Fd()), unix.BLKSSZGET)
	if err != nil {
		return Disk{}, fmt.Errorf("sector size of %s: %w", disk.Name(), err)
	}
	size, err := Bytes(disk)
	if err != nil {
		return Disk{}, err
	}
	if sector < 512 {
		return Disk{}, fmt.Errorf("sector size of %s: %d", disk.Name(), sector)
	}
	return Disk{Sectors: uint64(size) / uint64(sector), SectorSize: sector}, nil
}

// Bytes is the size of a block device.
func Bytes(device *os.File) (int64, error) {
	var size uint64
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, device.Fd(), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size))); errno != 0 {
		return 0, fmt.Errorf("size of %s: %w", device.Name(), errno)
	}
	return int64(size), nil
}

// slack is how much shorter than its partition a file system may stay, in
// bytes: the kernel leaves out a last block group too small for its own
// tables (fs/ext4/resize.c, ext4_resize_fs).
const slack = 16 << 20

// GrowFilesystem lets the ext4 file system mounted at target fill its device,
// size bytes long, while it is in use. It returns the bytes gained.
func GrowFilesystem(target string, size int64) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return 0, fmt.Errorf("grow %s: %w", target, err)
	}
	// st.Blocks leaves out the file system's own tables, so it errs on the
	// side of trying; the kernel returns at once when nothing is to do.
	before := int64(st.Blocks) * st.Bsize
	if st.Bsize <= 0 || size-before < slack {
		return 0, nil
	}
	dir, err := os.Open(target)
	if err != nil {
		return 0, fmt.Errorf("grow %s: %w", target, err)
	}
	defer dir.Close()
	blocks := uint64(size / st.Bsize)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), ext4ResizeFS, uintptr(unsafe.Pointer(&blocks))); errno != 0 {
		return 0, fmt.Errorf("grow the file system on %s to %d MiB: %w", target, size>>20, errno)
	}
	if err := unix.Statfs(target, &st); err != nil {
		return 0, fmt.Errorf("grow %s: %w", target, err)
	}
	return int64(st.Blocks)*st.Bsize - before, nil
}
