package etcdtest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// A Proxy stands between clients and a server: it can be as far away as one
// likes, and cut.
type Proxy struct {
	// URL is where clients reach the server through the proxy.
	URL string

	listener net.Listener
	target   string
	delay    time.Duration

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// NewProxy makes a proxy before s, through which a round trip takes rtt
// longer, that of a new connection too.
func NewProxy(t testing.TB, s *Server, rtt time.Duration) *Proxy {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{URL: u.Scheme + "://" + l.Addr().String(), listener: l, target: u.Host, delay: rtt / 2, conns: map[net.Conn]bool{}}
	go p.serve()
	t.Cleanup(func() { l.Close(); p.Cut() })
	return p
}

// Cut ends all connections and lets no new one through.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		c.Close()
	}
}

// Mend ends a [Proxy.Cut].
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// track notes connections to be cut; false when it is cut now.
func (p *Proxy) track(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.cut {
			c.Close()
			continue
		}
		p.conns[c] = true
	}
	return !p.cut
}

func (p *Proxy) serve() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer near.Close()
			if !p.track(near) {
				return
			}
			far, err := net.Dial("tcp", p.target)
			if err != nil {
				return
			}
			defer far.Close()
			if !p.track(far) {
				return
			}
			var ways sync.WaitGroup
			// What is first said comes a round trip late: that of the
			// connection, which the kernel has made already.
			ways.Go(func() { p.carry(far, near, time.Now().Add(2*p.delay)); far.Close() })
			ways.Go(func() { p.carry(near, far, time.Time{}); near.Close() })
			ways.Wait()
			p.mu.Lock()
			delete(p.conns, near)
			delete(p.conns, far)
			p.mu.Unlock()
		}()
	}
}

// carry carries bytes one way, each delayed by the same time and not before
// notBefore plus that.
func (p *Proxy) carry(to io.Writer, from io.Reader, notBefore time.Time) {
	type chunk struct {
		at   time.Time
		data []byte
	}
	chunks := make(chan chunk, 1024)
	go func() {
		defer close(chunks)
		for {
			b := make([]byte, 64<<10)
			n, err := from.Read(b)
			if n > 0 {
				at := time.Now()
				if at.Before(notBefore) {
					at = notBefore
				}
				chunks <- chunk{at.Add(p.delay), b[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	broken := false
	for c := range chunks {
		time.Sleep(time.Until(c.at))
		if !broken {
			_, err := to.Write(c.data)
			broken = err != nil
		}
	}
}
