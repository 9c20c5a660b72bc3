package kubernetestest

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// memory is a listener whose connections are pipes.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	open []*hole
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }

// Dial opens a connection to the server, whatever the address. It is for
// servers in memory.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	h := &hole{Conn: ours}
	select {
	case s.memory.conns <- h:
		s.memory.mu.Lock()
		defer s.memory.mu.Unlock()
		s.memory.open = append(s.memory.open, h)
		return theirs, nil
	case <-s.memory.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Freeze makes all connections there are black holes, as a path that is gone
// does: what is sent vanishes, and nobody is told. New connections work.
func (s *Server) Freeze() {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	for _, h := range s.memory.open {
		h.frozen.Store(true)
	}
}

// Drop cuts all connections there are.
func (s *Server) Drop() {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	for _, h := range s.memory.open {
		h.Close()
	}
	s.memory.open = nil
}

// A hole is a connection that can be frozen.
type hole struct {
	net.Conn
	frozen atomic.Bool
}

func (h *hole) Read(b []byte) (int, error) {
	for {
		n, err := h.Conn.Read(b)
		if err != nil || !h.frozen.Load() {
			return n, err
		}
	}
}

func (h *hole) Write(b []byte) (int, error) {
	if h.frozen.Load() {
		return len(b), nil
	}
	return h.Conn.Write(b)
}
