package flash

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A linuxDisk is opened with O_DIRECT, so that reads come from the device.
type linuxDisk struct {
	*os.File
	system Linux
	device Device
}

// Zero punches a hole, which the kernel does only if the device offers it
// without being sent zeros [block/fops.c, blkdev_fallocate].
func (d *linuxDisk) Zero(off, size int64) bool {
	return unix.Fallocate(int(d.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, size) == nil
}

// Present looks whether the device is there and of the same medium.
func (d *linuxDisk) Present() bool {
	now := d.system.device(d.device.Name)
	return now.Size == d.device.Size && now.Sequence == d.device.Sequence
}

// sequence asks the opened device for its number of the medium, which cannot
// change under it.
func (d *linuxDisk) sequence() (uint64, error) {
	var seq uint64
	_, _, e := unix.Syscall(unix.SYS_IOCTL, d.Fd(), unix.BLKGETDISKSEQ, uintptr(unsafe.Pointer(&seq)))
	if e != 0 {
		return 0, fmt.Errorf("BLKGETDISKSEQ: %w", e)
	}
	return seq, nil
}

// Close tells the kernel about the new partitions before it lets go.
func (d *linuxDisk) Close() error {
	// It fails where partitions are not looked for, as on most loop devices.
	_ = unix.IoctlSetInt(int(d.Fd()), unix.BLKRRPART, 0)
	return d.File.Close()
}
