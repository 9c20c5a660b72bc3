// Package deb unpacks Debian packages without writing a file tree: the
// contents go, uncompressed, into one file, and a list of entries says where
// in it each file of the package lies.
//
// It reads the ar archive, the data.tar in it (.xz in parallel by block,
// .zst, .gz, or uncompressed) and the tar headers. It refuses paths and links
// that lead out of the package, device nodes, and anything beyond its limits.
// It ignores control.tar: no maintainer script ever runs. It does not check
// signatures; what it is given must already be verified.
//
// Paths are those of a merged /usr: what a package has under /bin, /sbin or
// /lib appears under /usr/bin, /usr/sbin, /usr/lib, where it lies on every
// Debian system since bookworm.
package deb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"weft/builder/apt/xzblock"
)

var (
	// ErrFormat: the package is broken, or of a form not supported.
	ErrFormat = errors.New("broken package")
	// ErrTooLarge: the package passes a limit.
	ErrTooLarge = errors.New("package larger than allowed")
	// ErrUnsafe: a path or link that no package should have.
	ErrUnsafe = errors.New("unsafe package")
)

// Limits bound what a package may unpack to.
type Limits struct {
	// Size is the largest data.tar, in bytes.
	Size int64
	// Entries is the largest number of files, links and directories.
	Entries int
}

// DefaultLimits holds every package weft fetches: the largest in trixie that
// an image may need, firmware-nvidia-graphics, unpacks to 0.5 GB, and a kernel
// has 4,300 entries.
var DefaultLimits = Limits{Size: 2 << 30, Entries: 100_000}

// An Entry is one file, directory or symbolic link of a package.
type Entry struct {
	// Path is slash-separated and relative, with no "." or ".." in it.
	Path string
	// Mode holds the type (regular, directory, symbolic link), permissions,
	// setuid, setgid and sticky.
	Mode fs.FileMode
	// Offset and Size say where a regular file's contents lie in the data.
	Offset, Size int64
	// ModTime is the file's time in the package, in whole seconds.
	ModTime time.Time
	// Link is a symbolic link's target. It is relative and never leads out
	// of the package: absolute and escaping targets are rewritten to what
	// they mean when the package's root is the root directory.
	Link string
	// SHA256 is the checksum of a regular file's contents.
	SHA256 [32]byte
}

// Data is where the uncompressed contents go.
type Data interface {
	io.WriterAt
	io.ReaderAt
}

// Unpack writes the uncompressed data.tar of the package src, of size bytes,
// to data and returns its size and the package's entries, sorted by path.
// Directories that the package implies but does not list are added. written,
// when not nil, is called from several goroutines with the number of bytes
// just written.
func Unpack(ctx context.Context, data Data, src io.ReaderAt, size int64, limits Limits, written func(int)) (int64, []Entry, error) {
	list, err := readArchive(src, size)
	if err != nil {
		return 0, nil, err
	}
	m, err := dataMember(src, list)
	if err != nil {
		return 0, nil, err
	}
	if written == nil {
		written = func(int) {}
	}
	n, err := decompress(ctx, data, io.NewSectionReader(src, m.offset, m.size), m, limits.Size, written)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", m.name, err)
	}
	entries, err := readTar(ctx, data, n, limits.Entries)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", m.name, err)
	}
	return n, entries, nil
}

// decompress writes the tar archive in member m to data.
func decompress(ctx context.Context, data Data, src *io.SectionReader, m member, limit int64, written func(int)) (int64, error) {
	switch kind := strings.TrimPrefix(m.name, "data.tar"); kind {
	case ".xz":
		n, err := xzblock.Decode(ctx, data, src, m.size, xzblock.Options{Limit: limit, Written: written})
		switch {
		case errors.Is(err, xzblock.ErrTooLarge):
			return 0, fmt.Errorf("%w: %w", ErrTooLarge, err)
		case errors.Is(err, xzblock.ErrFormat):
			return 0, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		return n, err
	case ".zst":
		// The window bounds memory; dpkg-deb writes 8 MiB at its default level.
		r, err := zstd.NewReader(src, zstd.WithDecoderMaxWindow(64<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		defer r.Close()
		return copyLimited(ctx, data, r, limit, written)
	case ".gz":
		r, err := gzip.NewReader(src)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		return copyLimited(ctx, data, r, limit, written)
	case "":
		return copyLimited(ctx, data, src, limit, written)
	default:
		return 0, fmt.Errorf("%w: compression %s is not supported; .xz, .zst and .gz are", ErrFormat, kind)
	}
}

// copyLimited copies r to data from offset 0, at most limit bytes.
func copyLimited(ctx context.Context, data io.WriterAt, r io.Reader, limit int64, written func(int)) (int64, error) {
	buf := make([]byte, 256<<10)
	var at int64
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := r.Read(buf)
		if int64(n) > limit-at {
			return 0, fmt.Errorf("%w: more than %d bytes of contents", ErrTooLarge, limit)
		}
		if n > 0 {
			if _, err := data.WriteAt(buf[:n], at); err != nil {
				return 0, fmt.Errorf("write contents: %w", err)
			}
			at += int64(n)
			written(n)
		}
		if err == io.EOF {
			return at, nil
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrFormat, err)
		}
	}
}
