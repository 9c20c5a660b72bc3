package disk

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
)

// A Producer fills one partition. It must write the same bytes each time.
type Producer func(ctx context.Context, w *Window) error

// Bytes returns a producer that writes b at the start of its partition.
func Bytes(b []byte) Producer {
	return func(_ context.Context, w *Window) error {
		_, err := w.WriteAt(b, 0)
		return err
	}
}

// A Source is everything that an image is made of.
type Source struct {
	// Layout is the partition table.
	Layout Layout
	// BootCode goes to sector 0, at most [BootCodeSize] bytes.
	BootCode []byte
	// Contents fill partitions, by name. A partition without one is zero.
	Contents map[string]Producer
	// Gap fills what is free between the table and the first partition. Its
	// offsets count from the start of the disk, and what would hit the table
	// or a partition is refused.
	Gap Producer
	// Digest asks for the SHA-256 of the whole image. Holes are not read for
	// it, but they have to be hashed: about 0.7 s for each GiB of image, most
	// of it while other partitions are written.
	Digest bool
	// Check, when it is set, looks at the finished image before that gets its
	// name; an error is [Write]'s.
	Check func(r io.ReaderAt, size int64) error
}

// An Extent is a run of bytes of an image.
type Extent struct {
	Start, Size int64
}

// A Result says what [Write] wrote.
type Result struct {
	// Size is the size of the image, in bytes.
	Size int64
	// Extents are the parts of the image that were written, in order, in
	// units of 4 KiB. Everything else is zero.
	Extents []Extent
	// SHA256 is the digest of the image, when it was asked for.
	SHA256 [sha256.Size]byte
}

// Written returns how many bytes of the image are not holes.
func (r Result) Written() int64 {
	var n int64
	for _, e := range r.Extents {
		n += e.Size
	}
	return n
}

// Write makes the image at path. It writes a sparse file beside it, flushes
// it to the disk and then gives it its name, replacing what was there: path
// holds either what it held before or the whole image. When Write fails or
// ctx ends, nothing is left behind.
func Write(ctx context.Context, path string, src Source) (Result, error) {
	head, tail, err := src.tables()
	if err != nil {
		return Result{}, fmt.Errorf("image %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return Result{}, fmt.Errorf("image: %w", err)
	}
	defer os.Remove(f.Name()) // fails once the file has its name
	defer f.Close()
	result, err := src.fill(ctx, f, head, tail)
	if err != nil {
		return Result{}, fmt.Errorf("image %s: %w", path, err)
	}
	if src.Check != nil {
		if err := src.Check(f, result.Size); err != nil {
			return Result{}, err
		}
	}
	if err := publish(f, path); err != nil {
		return Result{}, fmt.Errorf("image %s: %w", path, err)
	}
	return result, nil
}

// tables returns both ends of the disk, and refuses contents that have no
// partition to go to.
func (s Source) tables() (head, tail []byte, err error) {
	if head, tail, err = s.Layout.tables(s.BootCode); err != nil {
		return nil, nil, err
	}
	names := make([]string, 0, len(s.Contents))
	for name := range s.Contents {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if _, ok := s.Layout.Partition(name); !ok {
			return nil, nil, fmt.Errorf("there is content for partition %q, but no such partition", name)
		}
	}
	return head, tail, nil
}

// fill writes the whole image into an empty file and makes it last.
func (s Source) fill(ctx context.Context, f *os.File, head, tail []byte) (Result, error) {
	size := s.Layout.Size
	if err := f.Truncate(size); err != nil {
		return Result{}, err
	}
	hash := startDigest(f, s.Digest)
	defer hash.stop()
	result := Result{Size: size}
	// final notes what was written and tells the digest how far it may go.
	final := func(extents []Extent, until int64) {
		for _, e := range extents {
			result.Extents = appendExtent(result.Extents, e)
		}
		hash.final(extents, until)
	}

	parts := s.filled()
	next := func(i int) int64 { // where the next data may begin
		if i < len(parts) {
			return parts[i].Start
		}
		return (size - int64(len(tail))) / blockSize * blockSize
	}
	if _, err := f.WriteAt(head, 0); err != nil {
		return Result{}, err
	}
	fill := func(w *Window, produce Producer) ([]Extent, error) {
		w.ctx, w.file, w.written = ctx, f, newBlocks(w.part.Size)
		if err := produce(ctx, w); err != nil {
			return nil, fmt.Errorf("%s: %w", w, err)
		}
		return w.written.extents(w.part.Start), ctx.Err()
	}
	extents := []Extent{{0, roundUp(int64(len(head)))}}
	if s.Gap != nil {
		gap, err := fill(&Window{part: Partition{Size: s.Layout.first()}, from: roundUp(int64(len(head)))}, s.Gap)
		if err != nil {
			return Result{}, err
		}
		extents = append(extents, gap...)
	}
	final(extents, next(0))
	for i, p := range parts {
		extents, err := fill(&Window{part: p}, s.Contents[p.Name])
		if err != nil {
			return Result{}, err
		}
		final(extents, next(i+1))
	}
	if _, err := f.WriteAt(tail, size-int64(len(tail))); err != nil {
		return Result{}, err
	}
	at := next(len(parts))
	if at < size {
		final([]Extent{{at, size - at}}, size)
	} else {
		final(nil, size)
	}

	// The digest goes on while the disk catches up.
	if err := f.Sync(); err != nil {
		return Result{}, err
	}
	var err error
	result.SHA256, err = hash.finish()
	return result, err
}

// filled returns the partitions that have content, in the order of the disk,
// so that the digest can follow.
func (s Source) filled() []Partition {
	var parts []Partition
	for _, p := range s.Layout.Partitions {
		if s.Contents[p.Name] != nil {
			parts = append(parts, p)
		}
	}
	sort.Slice(parts, func(i, j int) bool { return parts[i].Start < parts[j].Start })
	return parts
}

// publish gives a finished temporary file its name.
func publish(f *os.File, path string) error {
	// A temporary file is private; an image is a file like any other.
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// appendExtent adds an extent at the end, joining it to the one it touches.
func appendExtent(all []Extent, e Extent) []Extent {
	if n := len(all); n > 0 && all[n-1].Start+all[n-1].Size == e.Start {
		all[n-1].Size += e.Size
		return all
	}
	return append(all, e)
}

func roundUp(n int64) int64 { return (n + blockSize - 1) / blockSize * blockSize }
