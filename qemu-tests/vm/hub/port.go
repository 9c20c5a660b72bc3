package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
)

// A Port is one socket of a segment. A guest's port has a cable; a port made
// by [Segment.Tap] is read and written by the program itself.
type Port struct {
	segment *Segment
	name    string
	up      atomic.Bool
	queue   chan []byte
	done    chan struct{}
	once    sync.Once

	mu       sync.Mutex
	counters Counters
	cable    *cable
}

// Counters are what a port has seen.
type Counters struct {
	// FramesIn and BytesIn came from the guest, FramesOut and BytesOut were
	// handed to it.
	FramesIn, BytesIn, FramesOut, BytesOut uint64
	// Dropped frames found the port's queue full, Down ones the port down,
	// and Invalid ones were no Ethernet frames.
	Dropped, Down, Invalid uint64
}

// cable is the switch's end of a socket pair and the goroutines on it.
type cable struct {
	conn   net.Conn
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

func (c *cable) close() {
	c.cancel()
	c.conn.Close()
	c.wait.Wait()
}

// Plug adds a port for a guest. It carries nothing until [Port.Cable] gives
// it a cable.
func (s *Segment) Plug(name string) (*Port, error) {
	p := &Port{segment: s, name: name, queue: make(chan []byte, queueLength), done: make(chan struct{})}
	p.up.Store(true)
	return p, s.add(p)
}

// Name returns the port's name.
func (p *Port) Name() string { return p.name }

// SetUp connects the port or, with false, cuts it: frames in both directions
// are lost, as with a cable pulled out of a switch whose guest is not told.
func (p *Port) SetUp(up bool) {
	p.segment.mu.Lock()
	defer p.segment.mu.Unlock()
	p.up.Store(up)
	if !up {
		p.segment.forget(p)
	}
}

func (p *Port) isUp() bool { return p.up.Load() }

// Counters returns what the port has seen so far.
func (p *Port) Counters() Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counters
}

func (p *Port) count(f func(*Counters)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.counters)
}

// offer queues a frame for the port, or counts why not. It never waits.
func (p *Port) offer(frame []byte) {
	if !p.isUp() {
		p.count(func(c *Counters) { c.Down++ })
		return
	}
	select {
	case p.queue <- frame:
	default:
		p.count(func(c *Counters) { c.Dropped++ })
	}
}

// Unplug takes the port out of its segment and closes its cable.
func (p *Port) Unplug() {
	p.segment.remove(p)
	p.close()
}

// end marks the port as out of its segment. The caller holds the segment's
// lock, so no frame of the port is learned after it.
func (p *Port) end() { p.once.Do(func() { close(p.done) }) }

func (p *Port) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *Port) close() {
	p.mu.Lock()
	old := p.cable
	p.cable = nil
	p.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// Cable lays a new cable, in place of any earlier one, and returns its far
// end for QEMU to inherit. The caller closes its own copy.
func (p *Port) Cable() (*os.File, error) {
	near, far, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("segment %s: port %s: cable: %w", p.segment.name, p.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &cable{conn: near, cancel: cancel}
	p.mu.Lock()
	old := p.cable
	p.cable = c
	p.mu.Unlock()
	if old != nil {
		old.close()
	}
	c.wait.Add(2)
	go func() { defer c.wait.Done(); p.receive(c) }()
	go func() { defer c.wait.Done(); p.transmit(ctx, c) }()
	return far, nil
}

// receive passes frames from the guest into the segment until the cable is
// closed.
func (p *Port) receive(c *cable) {
	buffer := make([]byte, maxFrame+1)
	for {
		n, err := c.conn.Read(buffer)
		if err != nil {
			return
		}
		p.segment.forward(p, append([]byte(nil), buffer[:n]...))
	}
}

// transmit passes queued frames to the guest until the cable is closed. A
// guest that does not read, because it is stopped or has no driver yet, lets
// the queue fill; its frames are then dropped, never anybody else's.
func (p *Port) transmit(ctx context.Context, c *cable) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.done:
			return
		case frame := <-p.queue:
			if !p.isUp() {
				p.count(func(c *Counters) { c.Down++ })
				continue
			}
			if _, err := c.conn.Write(frame); errors.Is(err, net.ErrClosed) {
				return
			} else if err != nil {
				p.count(func(c *Counters) { c.Dropped++ })
				continue
			}
			p.count(func(c *Counters) { c.FramesOut++; c.BytesOut += uint64(len(frame)) })
		}
	}
}
