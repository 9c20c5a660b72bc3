// Package xzblock decodes .xz files in parallel, one goroutine a block.
//
// It reads the index at the end of each stream, hands every block as a stream
// of its own to github.com/ulikunitz/xz, and writes what comes out at its
// place in the destination. Memory is one LZMA2 dictionary a worker, whatever
// the size of the blocks. Files of one block are decoded by one worker.
//
// It needs random access to the whole file, and supports the LZMA2 filter
// alone: the BCJ and delta filters, which no Debian archive file uses, are
// refused. It does not compress.
//
// The structures follow "The .xz File Format" 1.2.1 (cited as [xz]).
package xzblock

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/ulikunitz/xz"
	"golang.org/x/sync/errgroup"
)

// MaxDictionary is the largest LZMA2 dictionary accepted, in bytes: that of
// `xz -9`. A header may claim 4 GiB, which must not be allocated.
const MaxDictionary = 64 << 20

// dictionaryBudget bounds the memory of all dictionaries in use at a time, in
// bytes; the number of workers is cut to fit.
const dictionaryBudget = 64 << 20

// copyBuffer is how much is decoded between two writes and two looks at the
// context, in bytes.
const copyBuffer = 256 << 10

var (
	// ErrTooLarge: the contents, the dictionary or the index pass a limit.
	ErrTooLarge = errors.New("xz: larger than allowed")
	// ErrFormat: the structure is broken, or of a form not supported.
	ErrFormat = errors.New("xz: broken file")
)

// Options bound and observe a decoding.
type Options struct {
	// Limit is the largest uncompressed size accepted, in bytes. It is
	// checked against the index before anything is decoded, and the blocks
	// are held to the index.
	Limit int64
	// Workers is how many blocks are decoded at a time; GOMAXPROCS when 0.
	Workers int
	// Written is called, from several goroutines, with the number of bytes
	// just written; nil to not be told.
	Written func(n int)
}

// Decode writes the uncompressed contents of the .xz file src, of size bytes,
// to dst from offset 0 on, and returns their size. Every checksum of the file
// is verified. On error dst holds part of the contents, which must not be
// used.
func Decode(ctx context.Context, dst io.WriterAt, src io.ReaderAt, size int64, opt Options) (int64, error) {
	list, total, err := readBlocks(src, size, opt.Limit)
	if err != nil {
		return 0, err
	}
	dictionary := int64(1)
	for i := range list {
		if err := list[i].readHeader(src); err != nil {
			return 0, err
		}
		dictionary = max(dictionary, list[i].dictionary)
	}
	workers := opt.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = max(1, min(workers, len(list), int(dictionaryBudget/dictionary)))

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, b := range list {
		// After the first error the rest return at once: decode looks at ctx.
		group.Go(func() error { return b.decode(ctx, dst, src, opt.Written) })
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	return total, nil
}

// decode writes the block's contents to their place in dst.
func (b *block) decode(ctx context.Context, dst io.WriterAt, src io.ReaderAt, written func(int)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	in := bufio.NewReaderSize(b.stream(src), copyBuffer)
	r, err := xz.ReaderConfig{SingleStream: true}.NewReader(in)
	if err != nil {
		return fmt.Errorf("block at byte %d: %w", b.offset, wrap(err))
	}
	buf := make([]byte, copyBuffer)
	at, left := b.out, b.size
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, buf)
		if int64(n) > left {
			return fmt.Errorf("%w: block at byte %d is longer than the index says", ErrFormat, b.offset)
		}
		if n > 0 {
			if _, err := dst.WriteAt(buf[:n], at); err != nil {
				return fmt.Errorf("write decoded block: %w", err)
			}
			if written != nil {
				written(n)
			}
		}
		at, left = at+int64(n), left-int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF && left == 0 {
			break
		}
		if err != nil {
			return fmt.Errorf("block at byte %d: %w", b.offset, wrap(err))
		}
	}
	if left != 0 {
		return fmt.Errorf("%w: block at byte %d is shorter than the index says", ErrFormat, b.offset)
	}
	return nil
}

// stream presents the block as an .xz file of one stream with one block.
func (b *block) stream(src io.ReaderAt) io.Reader {
	header, trailer := oneBlockStream(b.flags, b.unpadded, b.size)
	return io.MultiReader(
		bytes.NewReader(header),
		io.NewSectionReader(src, b.offset, padded(b.unpadded)),
		bytes.NewReader(trailer),
	)
}

// wrap marks what the decoder found as a fault of the file.
func wrap(err error) error {
	return fmt.Errorf("%w: %w", ErrFormat, err)
}
