package hub

import (
	"context"
	"fmt"
)

// A Tap is a port that the program itself reads and writes: where tests put
// their DHCP servers and routers.
type Tap struct {
	*Port
}

// Tap adds a port for the program itself.
func (s *Segment) Tap(name string) (*Tap, error) {
	p, err := s.Plug(name)
	if err != nil {
		return nil, err
	}
	return &Tap{p}, nil
}

// ReadFrame returns the next frame the segment sends to the port. The frame
// is shared with other ports and must not be changed. It fails with ctx's
// error, or [ErrClosed] when the port is unplugged.
func (t *Tap) ReadFrame(ctx context.Context) ([]byte, error) {
	select {
	case frame := <-t.queue:
		t.count(func(c *Counters) { c.FramesOut++; c.BytesOut += uint64(len(frame)) })
		return frame, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("segment %s: port %s: read: %w", t.segment.name, t.name, ctx.Err())
	case <-t.done:
		return nil, fmt.Errorf("segment %s: port %s: read: %w", t.segment.name, t.name, ErrClosed)
	}
}

// WriteFrame sends a frame, of 14 to 69632 bytes with addresses and type,
// into the segment. A frame that is none is counted and goes nowhere. It
// fails only with [ErrClosed].
func (t *Tap) WriteFrame(frame []byte) error {
	if t.ended() {
		return fmt.Errorf("segment %s: port %s: write: %w", t.segment.name, t.name, ErrClosed)
	}
	t.segment.forward(t.Port, append([]byte(nil), frame...))
	return nil
}
