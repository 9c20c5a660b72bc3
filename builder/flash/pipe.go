package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"unsafe"
)

// buffers is how many chunks are in memory: one is worked on, one waits and
// one is filled. That keeps a device busy, with 12 MiB whatever the image.
const buffers = 3

// A filled chunk is one with its bytes.
type filled struct {
	Chunk
	buf []byte
	// sum is what [proof] says of the bytes, where the filling asked it.
	sum string
	err error
}

// pipe has fill fill chunk after chunk, ahead of what each does with them, in
// their order and two at most. When it returns, fill runs no more.
func (j *Job) pipe(ctx context.Context, chunks []Chunk, fill func(*filled), each func(filled) error) error {
	if j.free == nil {
		j.free = make(chan []byte, buffers)
		for range buffers {
			j.free <- aligned(chunkSize)
		}
	}
	inner, stop := context.WithCancel(ctx)
	full := make(chan filled, 1)
	go func() {
		defer close(full)
		for _, c := range chunks {
			if inner.Err() != nil {
				return
			}
			f := filled{Chunk: c, buf: (<-j.free)[:c.Size]}
			fill(&f)
			full <- f
			if f.err != nil {
				return
			}
		}
	}()
	defer func() { // what is on its way comes back
		stop()
		for f := range full {
			j.free <- f.buf[:chunkSize]
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
		j.free <- f.buf[:chunkSize]
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// read fills chunks from a device.
func (j *Job) read(d Disk) func(*filled) {
	return func(f *filled) {
		if _, err := d.ReadAt(f.buf, f.Start); err != nil {
			f.err = fmt.Errorf("device %s: read byte %d: %w", j.Device.Name, f.Start, err)
		}
	}
}

// zeroed is the proof of a chunk of zeros: looking at them is faster than any
// digest.
const zeroed = "zero"

// proof tells right bytes of a chunk from wrong ones: their SHA-256, or for a
// chunk of zeros that they are, and "" if not.
func proof(c Chunk, b []byte) string {
	switch {
	case !c.Zero:
		return sumOf(b)
	case isZero(b):
		return zeroed
	}
	return ""
}

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
