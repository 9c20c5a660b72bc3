package flash

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"

	"weft/builder/progress"
)

// Options say how an image is put onto a device.
type Options struct {
	// Keep keeps the data partition that is there, Resume goes on where an
	// earlier run with the same image stopped.
	Keep, Resume bool
	// StateDir is where the state of unfinished devices is kept.
	StateDir string
	// Report shows how far the work has come.
	Report progress.Reporter
	// Wrap, when not nil, stands between the program and the device; for
	// tests that break it.
	Wrap func(Disk) Disk
}

// A Plan is what would be written.
type Plan struct {
	Device Device `json:"device"`
	Image  string `json:"image"`
	// Size is that of the image, Data the bytes that are copied, Zero those
	// that are made zero where they are not, Free those that stay.
	Size int64 `json:"size"`
	Data int64 `json:"data"`
	Zero int64 `json:"zero"`
	Free int64 `json:"free"`
	// Kept is the data partition that stays, with its place on the device.
	Kept *Range `json:"kept,omitempty"`
}

// Flash puts an image onto a device, which has passed [Check], and verifies
// it. With dry it opens the device, looks, and writes nothing.
func Flash(ctx context.Context, sys System, s *Source, d Device, o Options, dry bool) (p Plan, r Result, err error) {
	disk, err := sys.Open(ctx, d)
	if err != nil {
		return p, r, err
	}
	defer func() {
		if e := disk.Close(); err == nil && e != nil {
			err = fmt.Errorf("device %s: close: %w", d.Name, e)
		}
	}()
	if o.Wrap != nil {
		disk = o.Wrap(disk)
	}
	head, free, err := s.look()
	if err != nil {
		return p, r, err
	}
	m := s.Map
	var kept Kept
	if o.Keep {
		if kept, err = Keep(blocks{disk}, d.Size, m, head); err != nil {
			return p, r, &Refusal{d.Name, ErrNoData, err.Error(), "leave out --keep-data: all on the device is lost then"}
		}
		m = kept.image
	}
	steps := Steps(m, d.Size, free, kept.Range, kept.fixed)
	p = Plan{Device: d, Image: filepath.Clean(s.Path), Size: s.Map.Size, Free: d.Size}
	if o.Keep {
		p.Kept = &kept.Range
	}
	for _, c := range steps {
		p.Free -= c.Size
		if c.Zero {
			p.Zero += c.Size
		} else {
			p.Data += c.Size
		}
	}
	if dry {
		return p, r, nil
	}
	state, err := NewState(o.StateDir, d, s, head, steps, o.Resume)
	if err != nil {
		return p, r, err
	}
	job := Job{Source: s, Device: d, Steps: steps, State: state, Report: o.Report}
	r, err = job.Run(ctx, disk)
	return p, r, err
}

// look reads the first MiB of the image, and finds what of the device may keep
// what is there.
func (s *Source) look() (head []byte, free []Range, err error) {
	stream, err := s.Stream()
	if err != nil {
		return nil, nil, err
	}
	defer stream.Close()
	head = make([]byte, headSize)
	if err := stream.Fill(head, 0); err != nil {
		return nil, nil, fmt.Errorf("image %s: %w", s.Path, err)
	}
	var image io.ReaderAt = onward{stream}
	if s.packed == ".gz" || s.packed == ".xz" {
		// To unpack these once more takes longer than to make holes zero.
		image = bytes.NewReader(head)
	}
	return head, Free(s.Map, head, image), nil
}
