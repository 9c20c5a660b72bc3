package flash

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

// maxWindow is the most memory a compressed image may ask for.
const maxWindow = 32 << 20

// A Source is an image to be written.
type Source struct {
	// Path is the file, Map what of the image is data.
	Path string
	Map  Map

	packed string // the suffix of a compressed file
}

// An ImageError says that a file cannot be written to a device as an image:
// it is none, is cut off, or could not be read.
type ImageError struct {
	Path string
	Err  error
}

// Error names the file.
func (e *ImageError) Error() string { return fmt.Sprintf("image %s: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *ImageError) Unwrap() error { return e.Err }

// OpenSource looks at an image: a raw one, or one that ends in .zst, .gz or
// .xz. The block map is the file bmap; "" takes the one beside the image if
// there is one, and "none" takes none. A compressed image without a block map
// is read once to know what is in it: all refusals come before the first byte
// is written.
func OpenSource(ctx context.Context, path, bmap string, read func(int64)) (*Source, error) {
	s := &Source{Path: path}
	for _, suffix := range []string{".zst", ".gz", ".xz"} {
		if strings.HasSuffix(path, suffix) {
			s.packed = suffix
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, &ImageError{path, errors.New("it is no plain file")}
	}
	data, err := s.findBmap(bmap)
	switch {
	case err != nil:
		return nil, err
	case data != nil:
		if s.Map, err = ParseBmap(data); err == nil && s.packed == "" && info.Size() != s.Map.Size {
			err = fmt.Errorf("the block map is of an image of %d bytes, this one has %d", s.Map.Size, info.Size())
		}
	case s.packed == "":
		s.Map, err = sparse(path, info.Size())
	default:
		s.Map, err = s.scan(ctx, read)
	}
	if err == nil {
		err = s.Map.check()
	}
	if err == nil {
		err = s.bootable()
	}
	if err != nil {
		return nil, &ImageError{path, err}
	}
	return s, nil
}

// errNoDisk is the error of a file that is no image of a disk.
var errNoDisk = errors.New("it is no image of a disk: its first sector has no boot signature")

// bootable looks at the signature that the first sector of every disk image has
// (55 AA at byte 510): of an MBR, and of the one that protects a GPT (UEFI
// specification 2.10, section 5.2.3).
func (s *Source) bootable() error {
	st, err := s.Stream()
	if err != nil {
		return err
	}
	defer st.Close()
	var sector [512]byte
	if _, err := io.ReadFull(st.in, sector[:]); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("first sector: %w", err)
	}
	if sector[510] != 0x55 || sector[511] != 0xaa {
		return errNoDisk
	}
	return nil
}

// findBmap reads the block map that belongs to the image.
func (s *Source) findBmap(name string) ([]byte, error) {
	if name == "none" {
		return nil, nil
	}
	names := []string{name}
	if name == "" {
		names = []string{strings.TrimSuffix(s.Path, s.packed) + ".bmap", s.Path + ".bmap"}
	}
	for _, n := range names {
		f, err := os.Open(n)
		if errors.Is(err, fs.ErrNotExist) && name == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("block map: %w", err)
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, maxBmap+1))
	}
	return nil, nil
}

// sparse asks the file system which parts of a file are no holes.
func sparse(path string, size int64) (Map, error) {
	f, err := os.Open(path)
	if err != nil {
		return Map{}, err
	}
	defer f.Close()
	m := Map{Size: size}
	for at := int64(0); at < size; {
		start, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // only a hole follows
		}
		if err != nil {
			return Map{Size: size, Ranges: []Range{{Size: size}}}, nil // no such file system: all is data
		}
		end, err := unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return Map{}, fmt.Errorf("holes: %w", err)
		}
		m.Ranges = append(m.Ranges, Range{Start: start, Size: end - start})
		at = end
	}
	return m, nil
}

// scan reads a compressed image and maps the blocks that are not zero.
func (s *Source) scan(ctx context.Context, read func(int64)) (Map, error) {
	st, err := s.Stream()
	if err != nil {
		return Map{}, err
	}
	defer st.Close()
	var m Map
	buf, zeros := make([]byte, 1<<20), make([]byte, blockSize)
	for {
		if err := ctx.Err(); err != nil {
			return Map{}, err
		}
		n, err := io.ReadFull(st.in, buf)
		for at := 0; at < n; at += blockSize {
			b := buf[at:min(at+blockSize, n)]
			if bytes.Equal(b, zeros[:len(b)]) {
				continue
			}
			start := m.Size + int64(at)
			if k := len(m.Ranges); k > 0 && m.Ranges[k-1].End() == start {
				m.Ranges[k-1].Size += int64(len(b))
			} else {
				m.Ranges = append(m.Ranges, Range{Start: start, Size: int64(len(b))})
			}
		}
		m.Size += int64(n)
		read(int64(n))
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && s.whole(st):
			return m, nil
		case err != nil:
			return Map{}, fmt.Errorf("unpack: %w", err)
		case m.Size > maxImage:
			return Map{}, fmt.Errorf("unpack: it has more than %d bytes", int64(maxImage))
		}
	}
}

// whole tells the end of an image from that of a file cut short, which
// decompressors report by the same error.
func (s *Source) whole(st *Stream) bool {
	_, err := st.in.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// A Stream reads an image from its start to its end, and checks the parts
// whose digest is known.
type Stream struct {
	in    io.Reader
	file  *os.File
	raw   bool
	size  int64
	at    int64
	close func()

	ranges []Range
	sum    hash.Hash
	summed int64 // how much of ranges[0] is in sum
}

// Stream opens the image for reading.
func (s *Source) Stream() (*Stream, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	st := &Stream{file: f, in: f, raw: s.packed == "", size: s.Map.Size, ranges: s.Map.Ranges, sum: sha256.New(), close: func() {}}
	switch packed := bufio.NewReaderSize(f, 1<<20); s.packed {
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(packed, zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow)); err == nil {
			st.in, st.close = z, z.Close
		}
	case ".gz":
		st.in, err = gzip.NewReader(packed)
	case ".xz":
		st.in, err = xz.ReaderConfig{DictCap: maxWindow}.NewReader(packed)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("image %s: unpack: %w", s.Path, err)
	}
	return st, nil
}

// Fill reads the bytes at an offset, which must not be before what was read.
// Bytes beyond the end of the image are zero.
func (s *Stream) Fill(b []byte, off int64) error {
	if s.raw && off > s.at {
		if _, err := s.file.Seek(off, io.SeekStart); err != nil {
			return err
		}
		s.at = off
	}
	for skip := make([]byte, 64<<10); s.at < off; {
		if err := s.read(skip[:min(int64(len(skip)), off-s.at)]); err != nil {
			return err
		}
	}
	n := int64(len(b))
	if s.at+n > s.size {
		n = max(s.size-s.at, 0)
		clear(b[n:])
	}
	return s.read(b[:n])
}

func (s *Stream) read(b []byte) error {
	if _, err := io.ReadFull(s.in, b); err != nil {
		return fmt.Errorf("byte %d of the image: %w", s.at, err)
	}
	start := s.at
	s.at += int64(len(b))
	for len(s.ranges) > 0 && s.ranges[0].Start < s.at {
		r := s.ranges[0]
		from, to := max(r.Start+s.summed, start), min(r.End(), s.at)
		if r.SHA256 != "" && from == r.Start+s.summed && from < to { // else a part was skipped
			s.sum.Write(b[from-start : to-start])
			s.summed += to - from
		}
		if s.at < r.End() {
			break
		}
		if got := hex.EncodeToString(s.sum.Sum(nil)); r.SHA256 != "" && s.summed == r.Size && got != r.SHA256 {
			return fmt.Errorf("bytes %d to %d of the image are not what its block map says: SHA-256 %s, should be %s\nfix: fetch or build the image again", r.Start, r.End()-1, got, r.SHA256)
		}
		s.ranges, s.summed = s.ranges[1:], 0
		s.sum.Reset()
	}
	return nil
}

// Close ends reading.
func (s *Stream) Close() error {
	s.close()
	return s.file.Close()
}
