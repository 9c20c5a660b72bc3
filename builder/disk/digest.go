package disk

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"os"
)

// digestChunk is how much is read for the digest at once.
const digestChunk = 1 << 20

// A digest hashes an image from its start while its end is still being
// written. Data is read back, which finds it in the page cache; holes are
// hashed without reading.
type digest struct {
	work chan piece
	done chan error
	file *os.File
	sum  hash.Hash
	pos  int64 // everything before is hashed
	over bool  // no more pieces come
}

// A piece is a part of the image that will not change any more: everything up
// to a position, with the extents of it that are no holes.
type piece struct {
	extents []Extent
	until   int64
}

// startDigest begins a digest, or returns one that does nothing.
func startDigest(f *os.File, wanted bool) *digest {
	if !wanted {
		return nil
	}
	d := &digest{work: make(chan piece, 8), done: make(chan error, 1), file: f, sum: sha256.New()}
	go func() { d.done <- d.run() }()
	return d
}

// final tells the digest that everything up to a position is written for
// good, and which of it is data. Pieces follow each other.
func (d *digest) final(extents []Extent, until int64) {
	if d != nil {
		d.work <- piece{extents, until}
	}
}

// finish returns the digest of all pieces.
func (d *digest) finish() (sum [sha256.Size]byte, err error) {
	if d == nil {
		return sum, nil
	}
	close(d.work)
	d.over = true
	if err := <-d.done; err != nil {
		return sum, fmt.Errorf("digest: %w", err)
	}
	return [sha256.Size]byte(d.sum.Sum(nil)), nil
}

// stop ends a digest that was not finished.
func (d *digest) stop() {
	if d != nil && !d.over {
		close(d.work)
		<-d.done
	}
}

func (d *digest) run() error {
	var failed error
	buf := make([]byte, digestChunk)
	for p := range d.work {
		for _, e := range p.extents {
			if failed == nil {
				failed = d.extent(e, buf)
			}
		}
		if failed == nil {
			d.zeros(p.until)
		}
	}
	return failed
}

func (d *digest) extent(e Extent, buf []byte) error {
	d.zeros(e.Start)
	for end := e.Start + e.Size; d.pos < end; {
		b := buf[:min(int64(len(buf)), end-d.pos)]
		if err := readFull(d.file, b, d.pos); err != nil {
			return err
		}
		d.sum.Write(b)
		d.pos += int64(len(b))
	}
	return nil
}

// zeros hashes the hole up to a position.
func (d *digest) zeros(to int64) {
	for d.pos < to {
		n := min(int64(len(hole)), to-d.pos)
		d.sum.Write(hole[:n])
		d.pos += n
	}
}

// hole is a piece of nothing.
var hole [64 << 10]byte
