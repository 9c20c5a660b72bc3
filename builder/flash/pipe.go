package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"unsafe"
)

// buffers is how many chunks are in memory: one is worked on, one waits and
// one is filled. That keeps a device busy, with 12 MiB whatever the image.
const buffers = 3

// ahead is how many chunks may be filled before they are worked on; those of
// zeros hold no buffer.
const ahead = 64

// pieceSize is how much of a chunk of zeros is read at once: so little stays
// in the processor's cache until it was looked at.
const pieceSize = 1 << 20

// A filled chunk is one with its bytes; buf is nil when it is to be zero and
// was found so.
type filled struct {
	Chunk
	buf []byte
	sum uint64 // see [Job.sum]; of data only
	err error
}

// pipe has fill fill chunk after chunk, ahead of what each does with them, in
// their order. When it returns, fill runs no more.
func (j *Job) pipe(ctx context.Context, chunks []Chunk, fill func(*filled), each func(filled) error) error {
	if j.free == nil {
		j.free = make(chan []byte, buffers)
		for range buffers {
			j.free <- aligned(chunkSize)
		}
	}
	giveBack := func(b []byte) {
		if b != nil {
			j.free <- b[:chunkSize]
		}
	}
	inner, stop := context.WithCancel(ctx)
	full := make(chan filled, ahead)
	go func() {
		defer close(full)
		var buf []byte
		for _, c := range chunks {
			if inner.Err() != nil {
				break
			}
			if buf == nil {
				buf = <-j.free
			}
			f := filled{Chunk: c, buf: buf[:c.Size]}
			fill(&f)
			if f.buf != nil {
				buf = nil
			}
			full <- f
			if f.err != nil {
				break
			}
		}
		giveBack(buf)
	}()
	defer func() { // what is on its way comes back
		stop()
		for f := range full {
			giveBack(f.buf)
		}
	}()
	for f := range full {
		err := f.err
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = each(f)
		}
		giveBack(f.buf)
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// read fills chunks from a device.
func (j *Job) read(d Disk) func(*filled) {
	return func(f *filled) {
		piece := f.Size
		if f.Zero {
			piece = pieceSize
		}
		dirty := !f.Zero
		for off := int64(0); off < f.Size; off += piece {
			n := min(piece, f.Size-off)
			b := f.buf[:n]
			if dirty {
				b = f.buf[off : off+n]
			}
			if _, err := d.ReadAt(b, f.Start+off); err != nil {
				f.err = fmt.Errorf("device %s: read byte %d: %w", j.Device.Name, f.Start+off, err)
				return
			}
			if !dirty && !isZero(b) {
				dirty = true
				copy(f.buf[off:], b)
				clear(f.buf[:off])
			}
		}
		if !dirty {
			f.buf = nil
		} else if !f.Zero {
			f.sum = j.sum(f.buf)
		}
	}
}

// sum tells bytes that were read back from those that were written, within
// one job. That takes no more than 64 bits, of a key that nobody knows.
func (j *Job) sum(b []byte) uint64 { return maphash.Bytes(j.seed, b) }

// isZero compares all bytes with the one before.
func isZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// aligned is memory that direct input and output takes.
func aligned(n int) []byte {
	b := make([]byte, n+blockSize)
	skip := (blockSize - int(uintptr(unsafe.Pointer(&b[0]))%blockSize)) % blockSize
	return b[skip : skip+n : skip+n]
}
