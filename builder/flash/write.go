package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"

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

	free chan []byte // buffers that nothing is in
	seed maphash.Seed
	sums map[int64]uint64 // of the data that is on the device, by its place
}

// A Result says what was written.
type Result struct {
	// Written are the bytes sent to the device, Proved those that were found
	// there from an earlier run, Zero those that were made or found zero.
	Written int64 `json:"written"`
	Proved  int64 `json:"proved"`
	Zero    int64 `json:"zeroed"`
	// SHA256 is the digest over all that was verified, in the order of the
	// disk, with the place and size of each chunk.
	SHA256 string `json:"sha256,omitempty"`
}

const (
	// saveEvery is how much is written between two saves of the state: some
	// seconds of a good card. The device need not be flushed for it, since
	// all that the state says is proved before it is believed.
	saveEvery = 256 << 20
	// zeroAtOnce is how much a device is asked to make zero at once, so that
	// Ctrl-C is heard.
	zeroAtOnce = 256 << 20
)

// Run writes the image and reads all of it back. When ctx ends or the device
// goes, the state says where to go on.
func (j *Job) Run(ctx context.Context, d Disk) (Result, error) {
	var r Result
	j.seed, j.sums = maphash.MakeSeed(), map[int64]uint64{}
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
	case errors.Is(err, ErrDiffers):
		// Written again, it would be taken for granted.
		return r, errors.Join(err, j.State.Remove())
	}
	// The device need not be flushed: what is in doubt shows when it is proved.
	saved := j.State.Save()
	if !d.Present() {
		err = &Refusal{j.Device.Name, ErrPulled, err.Error(), "put it back in, and give the same command with --resume"}
	}
	return r, errors.Join(err, saved)
}

// prove reads what an earlier run has written; what is not there any more, or
// not of this image, is forgotten, and written again.
func (j *Job) prove(ctx context.Context, d Disk, r *Result) (err error) {
	if len(j.State.Done) == 0 {
		return nil
	}
	var total int64
	for _, c := range j.Steps {
		if j.State.Done[c.Start] {
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
	var steps []Chunk
	for _, c := range j.Steps {
		if j.State.Done[c.Start] {
			steps = append(steps, c)
		}
	}
	want, done := make([]byte, chunkSize), map[int64]bool{}
	err = j.pipe(ctx, steps, j.read(d), func(f filled) error {
		task.Add(f.Size)
		right := f.buf == nil
		if !f.Zero {
			if err := content(stream, f.Chunk, want[:f.Size]); err != nil {
				return fmt.Errorf("image %s: %w", j.Source.Path, err)
			}
			right = bytes.Equal(f.buf, want[:f.Size])
			j.sums[f.Start] = f.sum
		}
		if right {
			done[f.Start] = true
			r.Proved += f.Size
		}
		return nil
	})
	if err != nil {
		return err
	}
	if done[0] && len(done) < len(j.Steps) {
		// The card would boot before it is finished.
		delete(done, 0)
		r.Proved -= steps[0].Size
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

// write sends everything to the device that is not there, the head last.
func (j *Job) write(ctx context.Context, d Disk, r *Result) (err error) {
	var (
		total             int64
		head, zeros, data []Chunk
	)
	for _, c := range j.Steps {
		if j.State.Done[c.Start] {
			continue
		}
		total += c.Size
		switch {
		case c.Start == 0:
			head = append(head, c)
		case c.Zero:
			zeros = append(zeros, c)
		default:
			data = append(data, c)
		}
	}
	task := j.Report.Start("write "+j.Device.Name, total, progress.Bytes)
	defer func() { task.Done(err) }()
	stream, err := j.Source.Stream()
	if err != nil {
		return err
	}
	defer stream.Close()

	// The image is read from its start to its end, and its head written last.
	last := filled{}
	for _, c := range head {
		last = filled{Chunk: c, buf: aligned(int(c.Size))}
		// A card that is not finished must not look like what it was before;
		// with a data partition to keep, its table is what finds that again.
		if c.Bytes == nil {
			if err := errors.Join(j.put(d, c, last.buf), j.flush(d)); err != nil {
				return err
			}
		}
		if err := content(stream, c, last.buf); err != nil {
			return fmt.Errorf("image %s: %w", j.Source.Path, err)
		}
	}
	if err := j.zero(ctx, d, zeros, r, task); err != nil {
		return err
	}
	unsaved := int64(0)
	err = j.pipe(ctx, data, func(f *filled) {
		if err := content(stream, f.Chunk, f.buf); err != nil {
			f.err = fmt.Errorf("image %s: %w", j.Source.Path, err)
			return
		}
		f.sum = j.sum(f.buf)
	}, func(f filled) error {
		if err := j.put(d, f.Chunk, f.buf); err != nil {
			return err
		}
		j.State.Done[f.Start], j.sums[f.Start] = true, f.sum
		r.Written += f.Size
		task.Add(f.Size)
		if unsaved += f.Size; unsaved < saveEvery {
			return nil
		}
		unsaved = 0
		return j.State.Save()
	})
	if err != nil {
		return err
	}
	if err := j.flush(d); err != nil {
		return err
	}
	if len(head) > 0 {
		if err := j.put(d, last.Chunk, last.buf); err != nil {
			return err
		}
		j.State.Done[0], j.sums[0] = true, j.sum(last.buf)
		r.Written += last.Size
		task.Add(last.Size)
	}
	return j.flush(d)
}

// zero makes chunks zero. A device that can is told to, for as many at once as
// lie side by side. With others, reading is several times faster than writing
// on flash, and most of a card is zero already.
func (j *Job) zero(ctx context.Context, d Disk, chunks []Chunk, r *Result, task progress.Task) error {
	for len(chunks) > 0 {
		n, size := 0, int64(0)
		for ; n < len(chunks) && size < zeroAtOnce && chunks[n].Start == chunks[0].Start+size; n++ {
			size += chunks[n].Size
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !d.Zero(chunks[0].Start, size) {
			break
		}
		for _, c := range chunks[:n] {
			j.State.Done[c.Start] = true
		}
		r.Zero += size
		task.Add(size)
		chunks = chunks[n:]
	}
	return j.pipe(ctx, chunks, j.read(d), func(f filled) error {
		if f.buf != nil {
			clear(f.buf)
			if err := j.put(d, f.Chunk, f.buf); err != nil {
				return err
			}
			r.Written += f.Size
		}
		j.State.Done[f.Start] = true
		r.Zero += f.Size
		task.Add(f.Size)
		return nil
	})
}

// put writes bytes to the place of a chunk.
func (j *Job) put(d Disk, c Chunk, b []byte) error {
	if _, err := d.WriteAt(b, c.Start); err != nil {
		return fmt.Errorf("device %s: write byte %d: %w", j.Device.Name, c.Start, err)
	}
	return nil
}

// flush waits until the device has taken what it was given.
func (j *Job) flush(d Disk) error {
	if err := d.Sync(); err != nil {
		return fmt.Errorf("device %s: flush: %w", j.Device.Name, err)
	}
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
	all := sha256.New()
	err = j.pipe(ctx, j.Steps, j.read(d), func(f filled) error {
		if f.Zero && f.buf != nil || !f.Zero && f.sum != j.sums[f.Start] {
			return j.differs(f.Chunk, f.buf)
		}
		fmt.Fprintln(all, f.Start, f.Size, f.Zero)
		all.Write(f.buf)
		task.Add(f.Size)
		return nil
	})
	if err == nil {
		r.SHA256 = hex.EncodeToString(all.Sum(nil))
	}
	return err
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
