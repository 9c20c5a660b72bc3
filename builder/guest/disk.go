// Package guest gives the virtual machines that run an image what each needs
// of its own: a copy of the disk, and on it a node file.
//
// It starts nothing; package vm does.
package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"weft/builder/disk"
	"weft/builder/fat"
	"weft/profiles"
)

// copyBlock is the unit in which a copy looks for zeros, in bytes.
const copyBlock = 1 << 20

// CopyDisk copies the image from to the new file to, which must not exist.
// Blocks of zeros become holes, so the copy takes no more room than the
// image has content.
func CopyDisk(ctx context.Context, from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			os.Remove(to)
		}
	}()
	if err := copySparse(ctx, out, in); err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	return nil
}

// copySparse writes everything that is not zero and sets the length.
func copySparse(ctx context.Context, out *os.File, in io.Reader) error {
	var (
		block = make([]byte, copyBlock)
		zeros = make([]byte, copyBlock)
		at    int64
	)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(in, block)
		if n > 0 && !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := out.WriteAt(block[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return out.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
}

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
	info, err := f.Stat()
	if err != nil {
		return err
	}
	image, err := disk.Open(f, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	boot, ok := image.Layout.Partition(disk.Boot)
	if !ok {
		return fmt.Errorf("%s: no partition %s; is it an image of weft?", path, disk.Boot)
	}
	volume, err := fat.OpenWritable(window{f, boot.Start}, boot.Size)
	if err != nil {
		return fmt.Errorf("%s: boot partition: %w", path, err)
	}
	if err := volume.WriteFile(profiles.NodeFile, data, now); err != nil {
		return fmt.Errorf("%s: %s: %w", path, profiles.NodeFile, err)
	}
	return f.Sync()
}

// A window is a partition of a disk.
type window struct {
	disk  *os.File
	start int64
}

func (w window) ReadAt(p []byte, off int64) (int, error)  { return w.disk.ReadAt(p, w.start+off) }
func (w window) WriteAt(p []byte, off int64) (int, error) { return w.disk.WriteAt(p, w.start+off) }
