package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// copyBlock is the unit in which a copy looks for zeros, in bytes.
const copyBlock = 1 << 20

// CopyDisk copies the image from to the new file to, which must not exist and
// which only its owner may read. Holes stay holes, and where the file system
// lets files share their blocks, as Btrfs and XFS do, nothing is copied at all.
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
	if err := copyDisk(ctx, out, in); err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	return nil
}

// copyDisk copies in the quickest way the system has: sharing of blocks, the
// copy inside the kernel of what is no hole, or reading and writing.
func copyDisk(ctx context.Context, out, in *os.File) error {
	if share(out, in) == nil {
		return nil
	}
	err := copyRanges(ctx, out, in)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := out.Truncate(0); err != nil {
		return err
	}
	return copySparse(ctx, out, in)
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
