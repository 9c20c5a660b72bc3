package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"unsafe"

	"weft/builder/progress"
)

// A Job is an image on its way to a device.
type Job struct {
	Source *Source
	Device Device
	// Steps are what is written; see [Steps].
	Steps []Chunk
	// State is what was written before, and is kept while more is.
	State *State
	// Report shows how far the work has come.
	Report progress.Reporter
}

// A Result says what was written.
type Result struct {
	// Written are the bytes sent to the device, Proved those that were found
	// there from an earlier run, Zero those that were made or found zero.
	Written int64 `json:"written"`
	Proved  int64 `json:"proved"`
	Zero    int64 `json:"zeroed"`
	// SHA256 is the digest over all that was verified, in the order of the
	// disk.
	SHA256 string `json:"sha256,omitempty"`
}

// saveEvery is how much is written between two saves of the state: a second or
// two of a good card.
const saveEvery = 64 << 20

// Run writes the image and reads all of it back. When ctx ends or the device
// goes, the state says where to go on.
func (j *Job) Run(ctx context.Context, d Disk) (Result, error) {
	var r Result
	err := j.prove(ctx, d, &r)
	if err == nil {
		err = j.write(ctx, d, &r)
	}
	if err == nil {
		err = j.verify(ctx, d, &r)
	}
	switch {
	case err == nil:
		return r, j.State.Remove()
	case !d.Present():
		return r, &Refusal{j.Device.Name, ErrPulled, err.Error(), "put it back in, and give the same command with --resume"}
	case errors.Is(err, ErrDiffers):
		// Written again, it would be taken for granted.
		return r, errors.Join(err, j.State.Remove())
	}
	return r, err
}

// prove reads what an earlier run has written; what is not there any more, or
// not of this image, is forgotten, and written again.
func (j *Job) prove(ctx context.Context, d Disk, r *Result) (err error) {
	if len(j.State.Done) == 0 {
		return nil
	}
	var total int64
	for _, c := range j.Steps {
		if j.State.Done[c.Start] != "" {
			total += c.Size
		}
	}
	task := j.Report.Start("look at what was written before", total, progress.Bytes)
	defer func() { task.Done(err) }()
	stream, err := j.Source.Stream()
	if err != nil {
		return err
	}
	defer stream.Close()
	have, want := aligned(chunkSize), make([]byte, chunkSize)
	done := map[int64]string{}
	for _, c := range j.Steps {
		sum := j.State.Done[c.Start]
		if sum == "" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := content(stream, c, want[:c.Size]); err != nil {
			return fmt.Errorf("image %s: %w", j.Source.Path, err)
		}
		if _, err := d.ReadAt(have[:c.Size], c.Start); err != nil {
			return fmt.Errorf("device %s: read byte %d: %w", j.Device.Name, c.Start, err)
		}
		if bytes.Equal(have[:c.Size], want[:c.Size]) {
			done[c.Start] = sumOf(have[:c.Size])
			r.Proved += c.Size
		}
		task.Add(c.Size)
	}
	j.State.Done = done
	return nil
}

// content is what a chunk is to be.
func content(stream *Stream, c Chunk, b []byte) error {
	switch {
	case c.Bytes != nil:
		copy(b, c.Bytes)
	case c.Zero:
		clear(b)
	default:
		return stream.Fill(b, c.Start)
	}
	return nil
}

// A filled chunk is one with its bytes.
type filled struct {
	Chunk
	buf []byte
	sum string
	err error
}

// write sends everything to the device that is not there, the head last.
func (j *Job) write(ctx context.Context, d Disk, r *Result) (err error) {
	var (
		total int64
		todo  []Chunk
	)
	for _, c := range j.Steps {
		if j.State.Done[c.Start] == "" {
			total += c.Size
			todo = append(todo, c)
		}
	}
	task := j.Report.Start("write "+j.Device.Name, total, progress.Bytes)
	defer func() { task.Done(err) }()

	// A card that is not finished must not look like what it was before; with
	// a data partition to keep, its table is what finds that again.
	if n := len(j.Steps); n > 0 && j.Steps[0].Start == 0 && j.Steps[0].Bytes == nil && j.State.Done[0] == "" {
		if _, err := d.WriteAt(aligned(int(j.Steps[0].Size)), 0); err != nil {
			return fmt.Errorf("device %s: write byte 0: %w", j.Device.Name, err)
		}
	}
	ctx, stop := context.WithCancel(ctx)
	// Three buffers keep the device busy while the next is unpacked and
	// hashed: 12 MiB, whatever the image.
	free, work := make(chan []byte, 3), make(chan filled)
	for range cap(free) {
		free <- aligned(chunkSize)
	}
	go j.fill(ctx, todo, free, work)
	defer func() { // the goroutine ends before the source is given back
		stop()
		for range work {
		}
	}()
	var head filled
	unsaved := int64(0)
	for f := range work {
		if f.err != nil {
			return errors.Join(f.err, j.save(d))
		}
		if f.Start == 0 {
			head = filled{Chunk: f.Chunk, buf: aligned(int(f.Size)), sum: f.sum}
			copy(head.buf, f.buf)
		} else if err := j.put(d, f, r); err != nil {
			return errors.Join(err, j.save(nil))
		}
		if f.Start != 0 {
			task.Add(f.Size)
			if unsaved += f.Size; unsaved >= saveEvery {
				unsaved = 0
				if err := j.save(d); err != nil {
					return err
				}
			}
		}
		free <- f.buf[:chunkSize]
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(err, j.save(d))
	}
	if err := j.save(d); err != nil {
		return err
	}
	if head.buf != nil {
		if err := j.put(d, head, r); err != nil {
			return err
		}
		task.Add(head.Size)
	}
	return j.save(d)
}

// save flushes the device and writes the state. Without a device nothing is
// flushed, and what is in doubt shows when it is proved.
func (j *Job) save(d Disk) error {
	if d != nil {
		if err := d.Sync(); err != nil {
			return fmt.Errorf("device %s: flush: %w", j.Device.Name, err)
		}
	}
	return j.State.Save()
}

// fill reads the image, chunk after chunk.
func (j *Job) fill(ctx context.Context, todo []Chunk, free chan []byte, work chan filled) {
	defer close(work)
	send := func(f filled) bool {
		select {
		case work <- f:
			return true
		case <-ctx.Done():
			return false
		}
	}
	stream, err := j.Source.Stream()
	if err != nil {
		send(filled{err: err})
		return
	}
	defer stream.Close()
	for _, c := range todo {
		var buf []byte
		select {
		case buf = <-free:
		case <-ctx.Done():
			return
		}
		f := filled{Chunk: c, buf: buf[:c.Size]}
		if err := content(stream, c, f.buf); err != nil {
			f.err = fmt.Errorf("image %s: %w", j.Source.Path, err)
		}
		f.sum = sumOf(f.buf)
		if !send(f) || f.err != nil {
			return
		}
	}
}

// put makes a chunk of the device what it is to be.
func (j *Job) put(d Disk, f filled, r *Result) error {
	write := true
	if f.Zero {
		r.Zero += f.Size
		write = !d.Zero(f.Start, f.Size)
		if write {
			// Reading is several times faster than writing on flash, and most
			// of a card is zero already.
			now := aligned(int(f.Size))
			if _, err := d.ReadAt(now, f.Start); err != nil {
				return fmt.Errorf("device %s: read byte %d: %w", j.Device.Name, f.Start, err)
			}
			write = !bytes.Equal(now, f.buf)
		}
	}
	if write {
		if _, err := d.WriteAt(f.buf, f.Start); err != nil {
			return fmt.Errorf("device %s: write byte %d: %w", j.Device.Name, f.Start, err)
		}
		r.Written += f.Size
	}
	j.State.Done[f.Start] = f.sum
	return nil
}

// verify reads everything back and compares. It comes after all writing, so
// that a card that claims more room than it has shows itself: it would have
// written later data over earlier.
func (j *Job) verify(ctx context.Context, d Disk, r *Result) (err error) {
	var total int64
	for _, c := range j.Steps {
		total += c.Size
	}
	task := j.Report.Start("verify "+j.Device.Name, total, progress.Bytes)
	defer func() { task.Done(err) }()
	all, buf := sha256.New(), aligned(chunkSize)
	for _, c := range j.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:c.Size]
		if _, err := d.ReadAt(b, c.Start); err != nil {
			return fmt.Errorf("device %s: read byte %d: %w", j.Device.Name, c.Start, err)
		}
		if sumOf(b) != j.State.Done[c.Start] {
			return j.differs(c, b)
		}
		all.Write(b)
		task.Add(c.Size)
	}
	r.SHA256 = hex.EncodeToString(all.Sum(nil))
	return nil
}

// differs says where a chunk is not what was written.
func (j *Job) differs(c Chunk, got []byte) error {
	want := make([]byte, c.Size)
	stream, err := j.Source.Stream()
	if err == nil {
		err = errors.Join(content(stream, c, want), stream.Close())
	}
	at := int64(0)
	for err == nil && at < c.Size-1 && got[at] == want[at] {
		at++
	}
	return errors.Join(&Refusal{j.Device.Name, ErrDiffers, fmt.Sprintf("first at byte %d", c.Start+at),
		"take another card: this one, or its reader, does not keep what it is given"}, err)
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
