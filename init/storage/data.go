package storage

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// MadeSize is how large a file system is made when it must be made anew, in
// bytes; it is then grown by the kernel, which is quicker than writing all of
// a large one at once.
const MadeSize = 128 << 20

// Filesystem is what opening the data partition needs of the system.
type Filesystem interface {
	// Probe reports why the device holds no file system of ours; nil when it
	// does.
	Probe(device string) error
	// SetAside keeps what the device holds, if there is room, and returns the
	// device's size afterwards. When it keeps nothing, it returns size.
	SetAside(device string, size int64) int64
	// Make makes a new, empty file system of the given size.
	Make(device string, bytes int64) error
	// Mount mounts the device.
	Mount(device string) error
}

// Open mounts the data partition, size bytes long. One that holds no sound
// file system gets a new one in its place, the old one set aside if there is
// room, and remade then says why: without it the node could not work at all,
// and with it the loss is told.
//
// What is no fault of the data, such as a kernel without ext4, is returned as
// an error and changes nothing on disk.
func Open(fs Filesystem, device string, size int64) (remade, err error) {
	if size < 0 {
		return nil, fmt.Errorf("%s: size %d", device, size)
	}
	damage := fs.Probe(device)
	if damage == nil {
		err := fs.Mount(device)
		if err == nil {
			return nil, nil
		}
		if !damaged(err) {
			return nil, fmt.Errorf("mount %s: %w", device, err)
		}
		damage = fmt.Errorf("mount: %w", err)
	}
	size = fs.SetAside(device, size)
	if err := fs.Make(device, min(size, MadeSize)); err != nil {
		return damage, fmt.Errorf("make a new file system on %s: %w", device, err)
	}
	if err := fs.Mount(device); err != nil {
		return damage, fmt.Errorf("mount the new file system on %s: %w", device, err)
	}
	return damage, nil
}

// damaged reports whether a mount error means that the file system is broken
// (fs/ext4/super.c, fs/jbd2/recovery.c): EINVAL a superblock or journal that
// makes no sense, EUCLEAN corruption found, EBADMSG a wrong checksum, EIO a
// journal that cannot be read or replayed, EOVERFLOW and EFBIG sizes beyond
// the device.
func damaged(err error) bool {
	for _, e := range []unix.Errno{unix.EINVAL, unix.EUCLEAN, unix.EBADMSG, unix.EIO, unix.EOVERFLOW, unix.EFBIG} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
