// Package flash writes images to SD cards, USB sticks and disks, and proves
// that what was written is there.
//
// What to write where, what to refuse and where to go on after an interruption
// are plain functions over values; a [System] finds and opens devices, one for
// each operating system. The package makes no images and knows no boards.
//
// After flashing, the device equals the image in every byte in which the image
// has data. Holes of the image are zeros on the device too, since a file system
// made on a sparse file counts on that; only what the file systems of weft's
// own images do not use keeps what was there, see [Free]. The last MiB of a
// larger device is zero, so that no old backup of a partition table outlives
// the new one.
package flash

import (
	"context"
	"fmt"
	"io"
	"iter"
)

const (
	// sectorSize is the sector of the images: their tables count in it.
	sectorSize = 512
	// blockSize is the unit in which images are sparse, and what direct
	// input and output is aligned to.
	blockSize = 4096
	// chunkSize is how much is written at once. SD cards have erase blocks of
	// up to 4 MiB, and larger writes are no faster.
	chunkSize = 4 << 20
	// headSize is the part of a disk before its first partition. It is
	// written last, so that a card that was not finished does not boot.
	headSize = 1 << 20
)

// A Device is a disk as the system describes it.
type Device struct {
	// Name is what a person types: sda, mmcblk0, disk4. Path is its file.
	Name string `json:"name"`
	Path string `json:"path"`
	// Size is in bytes; 0 when a reader holds no card.
	Size       int64 `json:"size"`
	SectorSize int   `json:"sectorSize"`
	// Vendor, Model and Serial are the device's words. Serial is the CID of a
	// card that shows its own; behind a USB reader it is the reader's.
	Vendor    string `json:"vendor,omitempty"`
	Model     string `json:"model,omitempty"`
	Serial    string `json:"serial,omitempty"`
	Transport string `json:"transport,omitempty"`
	// Removable says that the device or its medium can be taken out.
	Removable bool `json:"removable"`
	ReadOnly  bool `json:"readOnly"`
	// Number is the system's number of the device, Sequence the kernel's
	// count of media: it changes when a card does. 0 where there is none.
	Number   string `json:"number,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	// Partitions are in the order of the disk.
	Partitions []Partition `json:"partitions,omitempty"`
	// Mounts are the folders where something on the device is mounted, also
	// by way of LVM, RAID, encryption and loop devices.
	Mounts []string `json:"mounts,omitempty"`
	// System says why the running system needs the device; "" if it does not.
	System string `json:"system,omitempty"`
	// Users are other things that hold the device.
	Users []string `json:"users,omitempty"`
}

// A Partition is a part of a device that the system shows.
type Partition struct {
	Name  string `json:"name"`
	Label string `json:"label,omitempty"`
	Size  int64  `json:"size"`
}

// Proof is what a script types to show that it means this device: its serial,
// or name and size when it has none.
func (d Device) Proof() string {
	if d.Serial != "" {
		return d.Serial
	}
	return fmt.Sprintf("%s-%d", d.Name, d.Size)
}

// same reports whether two descriptions are of one medium in one place.
func (d Device) same(e Device) bool {
	return d.Name == e.Name && d.Size == e.Size && d.Serial == e.Serial && d.Number == e.Number && d.Sequence == e.Sequence
}

// A System finds and opens devices.
type System interface {
	// Devices describes all disks that could be written to.
	Devices(ctx context.Context) ([]Device, error)
	// Open opens a device for this program alone. It fails with a [Refusal]
	// when it is no longer the one described, or in use.
	Open(ctx context.Context, d Device) (Disk, error)
	// Changes yields whenever devices may have come or gone, once at the
	// beginning, until ctx ends.
	Changes(ctx context.Context) iter.Seq[error]
}

// A Disk is an opened device. Offsets, sizes and memory are multiples of
// 4 KiB, or of a sector at the end of the device.
type Disk interface {
	// ReadAt reads from the device, not from the memory of the system.
	io.ReaderAt
	io.WriterAt
	// Zero asks the device to make a range zero without data being sent. It
	// reports whether it can.
	Zero(off, size int64) bool
	// Sync returns when the device has taken all that was written.
	Sync() error
	// Present reports whether the device is still there.
	Present() bool
	io.Closer
}

// A Range is a run of bytes.
type Range struct {
	Start, Size int64
	// SHA256 is the digest of the bytes in hexadecimal, "" if not known.
	SHA256 string
}

// End is the first byte after the range.
func (r Range) End() int64 { return r.Start + r.Size }
