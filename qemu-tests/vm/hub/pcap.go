package hub

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"time"
)

// capture writes frames as a pcap file (draft-ietf-opsawg-pcap, section 4).
type capture struct {
	w   io.Writer
	err error
}

// Capture writes every frame that enters the segment to w as a pcap file,
// readable by tcpdump and wireshark, until stop is called. stop returns the
// first error of w. w is written under the segment's lock, a whole record a
// call; use a file or a buffer.
func (s *Segment) Capture(w io.Writer) (stop func() error, err error) {
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d) // nanoseconds
	header = binary.LittleEndian.AppendUint16(header, 2)        // version 2.4
	header = binary.LittleEndian.AppendUint16(header, 4)
	header = append(header, make([]byte, 8)...)
	header = binary.LittleEndian.AppendUint32(header, maxFrame)
	header = binary.LittleEndian.AppendUint32(header, 1) // LINKTYPE_ETHERNET
	if _, err := w.Write(header); err != nil {
		return nil, fmt.Errorf("segment %s: capture: %w", s.name, err)
	}
	c := &capture{w: w}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("segment %s: capture: %w", s.name, ErrClosed)
	}
	s.captures = append(s.captures, c)
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.captures = slices.DeleteFunc(s.captures, func(d *capture) bool { return d == c })
		if c.err != nil {
			return fmt.Errorf("segment %s: capture: %w", s.name, c.err)
		}
		return nil
	}, nil
}

func (c *capture) frame(at time.Time, frame []byte) {
	if c.err != nil {
		return
	}
	record := make([]byte, 0, 16+len(frame))
	record = binary.LittleEndian.AppendUint32(record, uint32(at.Unix()))
	record = binary.LittleEndian.AppendUint32(record, uint32(at.Nanosecond()))
	record = binary.LittleEndian.AppendUint32(record, uint32(len(frame)))
	record = binary.LittleEndian.AppendUint32(record, uint32(len(frame)))
	_, c.err = c.w.Write(append(record, frame...))
}
