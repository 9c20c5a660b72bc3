package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// share makes out a file with the blocks of in (ioctl_ficlone(2)).
func share(out, in *os.File) error {
	return unix.IoctlFileClone(int(out.Fd()), int(in.Fd()))
}

// copyRanges copies what is no hole inside the kernel (copy_file_range(2),
// lseek(2), SEEK_DATA). It is [errors.ErrUnsupported] where the two files or
// their file systems cannot.
func copyRanges(ctx context.Context, out, in *os.File) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if err := out.Truncate(size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		start, err := in.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			return unable(err)
		}
		if at, err = in.Seek(start, unix.SEEK_HOLE); err != nil {
			return unable(err)
		}
		if err := copyRange(ctx, out, in, start, at); err != nil {
			return err
		}
	}
	return nil
}

// copyRange copies the bytes from start to end.
func copyRange(ctx context.Context, out, in *os.File, start, end int64) error {
	for from, to := start, start; from < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.CopyFileRange(int(in.Fd()), &from, int(out.Fd()), &to, int(min(end-from, 64*copyBlock)), 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return unable(err)
		}
		if n == 0 {
			return fmt.Errorf("at byte %d: %w", from, io.ErrUnexpectedEOF)
		}
	}
	return nil
}

// unable marks what a kernel or file system that has no such call answers:
// two file systems before Linux 5.3, and those that never can.
func unable(err error) error {
	for _, e := range []unix.Errno{unix.EXDEV, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM} {
		if errors.Is(err, e) {
			return errors.Join(errors.ErrUnsupported, err)
		}
	}
	return err
}
