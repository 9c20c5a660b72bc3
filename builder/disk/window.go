package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// blockSize is the unit in which an image is sparse: the block of every file
// system that images are kept on.
const blockSize = 4096

var zeros [blockSize]byte

// A Window is one partition of an image that is being written, or the gap
// before the first one. It reads as
// zeros where nothing was written. Zeros that are written where nothing was
// are left out of the file, so a producer need not care about holes.
//
// A Window is not safe for concurrent use.
type Window struct {
	ctx     context.Context
	file    *os.File
	part    Partition
	from    int64 // what is before is not the window's
	written blocks
}

var (
	_ io.WriterAt = (*Window)(nil)
	_ io.ReaderAt = (*Window)(nil)
)

// ErrNoRoom is wrapped by the error of a write beyond a partition's end.
var ErrNoRoom = errors.New("no room in the partition")

// String names the window; the gap is no partition and has no name.
func (w *Window) String() string {
	if w.part.Name == "" {
		return "the gap before the first partition"
	}
	return "partition " + w.part.Name
}

// Size returns the size of the partition, in bytes.
func (w *Window) Size() int64 { return w.part.Size }

// WriteAt writes b at an offset of the partition. Nothing is written when b
// does not fit, or when the build was cancelled.
func (w *Window) WriteAt(b []byte, off int64) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if off < w.from || off > w.part.Size || int64(len(b)) > w.part.Size-off {
		return 0, fmt.Errorf("%s: %d bytes at byte %d: %w: it is bytes %d to %d", w, len(b), off, ErrNoRoom, w.from, w.part.Size)
	}
	// Runs of blocks that have to be written go out in one call each.
	done, run := 0, 0
	for done < len(b) {
		at := off + int64(done)
		n := min(blockSize-int(at%blockSize), len(b)-done)
		piece := b[done : done+n]
		block := at / blockSize
		if w.written.has(block) || !bytes.Equal(piece, zeros[:n]) {
			w.written.add(block)
			done += n
			continue
		}
		if err := w.flush(b[run:done], off+int64(run)); err != nil {
			return run, err
		}
		done += n
		run = done
	}
	if err := w.flush(b[run:], off+int64(run)); err != nil {
		return run, err
	}
	return len(b), nil
}

func (w *Window) flush(b []byte, off int64) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := w.file.WriteAt(b, w.part.Start+off); err != nil {
		return fmt.Errorf("%s: %w", w, err)
	}
	return nil
}

// ReadAt reads what was written before.
func (w *Window) ReadAt(b []byte, off int64) (int, error) {
	return io.NewSectionReader(w.file, w.part.Start, w.part.Size).ReadAt(b, off)
}

// blocks is a set of blocks of a partition, one bit each.
type blocks []uint64

func newBlocks(size int64) blocks {
	return make(blocks, (size+64*blockSize-1)/(64*blockSize))
}

func (s blocks) has(i int64) bool { return s[i/64]&(1<<(i%64)) != 0 }
func (s blocks) add(i int64)      { s[i/64] |= 1 << (i % 64) }

// extents returns the runs of blocks in the set, shifted by start.
func (s blocks) extents(start int64) []Extent {
	var all []Extent
	for i := int64(0); i < int64(len(s))*64; i++ {
		if s[i/64] == 0 {
			i |= 63
			continue
		}
		if s.has(i) {
			all = appendExtent(all, Extent{Start: start + i*blockSize, Size: blockSize})
		}
	}
	return all
}
