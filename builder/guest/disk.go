// Package guest gives the virtual machines that run an image what each needs
// of its own: a copy of the disk, and on it a node file.
//
// It starts nothing; package vm does.
package guest

import (
	"errors"
	"fmt"
	"os"
	"time"

	"weft/builder/disk"
	"weft/builder/fat"
	"weft/profiles"
)

// SetNodeFile writes a node file onto the boot partition of a disk, in place
// of the one that may be there.
func SetNodeFile(path string, node profiles.Node, now time.Time) error {
	data, err := node.YAML()
	if err != nil {
		return err
	}
	return SetNodeFileData(path, data, now)
}

// SetNodeFileData is [SetNodeFile] with the file's content.
func SetNodeFileData(path string, data []byte, now time.Time) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := splice(f, data, now); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Sync()
}

// splice writes a node file onto the boot partition of a disk and leaves it to
// the system when that reaches the device.
func splice(f *os.File, data []byte, now time.Time) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	image, err := disk.Open(f, info.Size())
	if err != nil {
		return err
	}
	boot, ok := image.Layout.Partition(disk.Boot)
	if !ok {
		return fmt.Errorf("no partition %s; is it an image of weft?", disk.Boot)
	}
	volume, err := fat.OpenWritable(window{f, boot.Start}, boot.Size)
	if err != nil {
		return fmt.Errorf("boot partition: %w", err)
	}
	if err := volume.WriteFile(profiles.NodeFile, data, now); err != nil {
		return fmt.Errorf("%s: %w", profiles.NodeFile, err)
	}
	return nil
}

// A window is a partition of a disk.
type window struct {
	disk  *os.File
	start int64
}

func (w window) ReadAt(p []byte, off int64) (int, error)  { return w.disk.ReadAt(p, w.start+off) }
func (w window) WriteAt(p []byte, off int64) (int, error) { return w.disk.WriteAt(p, w.start+off) }
