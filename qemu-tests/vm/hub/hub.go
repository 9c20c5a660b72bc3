// Package hub is an Ethernet switch in user space: it joins QEMU guests, and
// programs of the harness, on one segment without any privilege.
//
// A port's cable is one end of a socket pair that QEMU inherits and opens
// with "-netdev dgram,local.type=fd"; a datagram is a frame. Nothing is bound
// to any address, so nothing outside can join. The switch learns addresses
// and floods what it does not know, like the cheapest switch one can buy: it
// has no spanning tree, no VLANs and no flow control, and it drops frames for
// a port that does not take them. A guest that bridges two ports of one
// segment makes a loop.
package hub

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// minFrame is two addresses and a type (IEEE 802.3, 3.1.1), without the
	// padding and check sequence that virtual cards leave out.
	minFrame = 14
	// maxFrame is the largest frame a port takes: QEMU's own limit
	// (NET_BUFSIZE, include/net/net.h), 64 KiB and headers.
	maxFrame = 4096 + 65536
	// queueLength is how many frames wait for a slow port before further
	// ones are dropped; Linux uses the same (txqueuelen 1000).
	queueLength = 1000
	// ageing is how long an address stays learned (IEEE 802.1Q, table 8-6).
	ageing = 300 * time.Second
	// maxStations bounds the table against guests that invent addresses.
	maxStations = 8192
)

// ErrClosed says that a segment or a port is closed.
var ErrClosed = errors.New("hub: closed")

// mac is an Ethernet address.
type mac [6]byte

func (m mac) group() bool { return m[0]&1 != 0 }

// station is where an address was last seen, and when.
type station struct {
	port *Port
	seen time.Time
}

// A Segment is one switch. Its methods may be called at the same time.
type Segment struct {
	name string
	now  func() time.Time

	mu       sync.Mutex
	closed   bool
	ports    []*Port
	stations map[mac]station
	captures []*capture
}

// New returns a segment without ports. Its name is for people and for the
// command line that reproduces a guest.
func New(name string) *Segment { return newAt(name, time.Now) }

func newAt(name string, now func() time.Time) *Segment {
	return &Segment{name: name, now: now, stations: map[mac]station{}}
}

// Name returns the segment's name.
func (s *Segment) Name() string { return s.name }

// Ports returns the segment's ports in the order they came.
func (s *Segment) Ports() []*Port {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ports)
}

// Close unplugs every port and ends every capture. It is safe to call twice.
func (s *Segment) Close() error {
	s.mu.Lock()
	ports := s.ports
	s.closed = true
	for _, p := range ports {
		p.end()
	}
	s.ports, s.captures = nil, nil
	clear(s.stations)
	s.mu.Unlock()
	for _, p := range ports {
		p.close()
	}
	return nil
}

// add makes a port part of the segment.
func (s *Segment) add(p *Port) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("segment %s: port %s: %w", s.name, p.name, ErrClosed)
	}
	s.ports = append(s.ports, p)
	return nil
}

// remove takes a port and what was learned of it out of the segment, for good.
func (s *Segment) remove(p *Port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports = slices.DeleteFunc(s.ports, func(q *Port) bool { return q == p })
	s.forget(p)
	p.end()
}

// forget drops the addresses learned on p, as a switch does when a cable is
// pulled. The caller holds the lock.
func (s *Segment) forget(p *Port) {
	for address, at := range s.stations {
		if at.port == p {
			delete(s.stations, address)
		}
	}
}

// forward takes a frame from a port and passes it to where it belongs. The
// frame must not change afterwards: all receivers share it.
func (s *Segment) forward(from *Port, frame []byte) {
	if len(frame) < minFrame || len(frame) > maxFrame {
		from.count(func(c *Counters) { c.Invalid++ })
		return
	}
	destination, source := mac(frame[0:6]), mac(frame[6:12])
	if source.group() {
		// No card has a group address (IEEE 802, 8.2): learning it would
		// send everybody's broadcasts to one port.
		from.count(func(c *Counters) { c.Invalid++ })
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if from.ended() {
		return
	}
	if !from.isUp() {
		from.count(func(c *Counters) { c.Down++ })
		return
	}
	from.count(func(c *Counters) { c.FramesIn++; c.BytesIn += uint64(len(frame)) })
	now := s.now()
	for _, c := range s.captures {
		c.frame(now, frame)
	}
	s.learn(source, from, now)
	if at, ok := s.stations[destination]; ok && !destination.group() && now.Sub(at.seen) < ageing {
		if at.port != from {
			at.port.offer(frame)
		}
		return
	}
	for _, p := range s.ports {
		if p != from {
			p.offer(frame)
		}
	}
}

// learn notes where an address is. A full table drops what it holds: the
// segment then floods until it has learned again.
func (s *Segment) learn(address mac, p *Port, now time.Time) {
	if _, known := s.stations[address]; !known && len(s.stations) >= maxStations {
		clear(s.stations)
	}
	s.stations[address] = station{p, now}
}
