// Package lab is a network for guests: a router with a DHCP server, router
// advertisements, a DHCPv6 server and a time server, on one port of a segment.
//
// It speaks Ethernet frames itself and needs no privilege and no device of
// the host. It answers what a booting node asks, and nothing else: it routes
// nothing, and knows no TCP.
package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"weft/qemu-tests/vm/hub"
)

// The router of every lab, and the address it gives away.
var (
	RouterMAC = net.HardwareAddr{0x02, 0x77, 0x65, 0x66, 0x74, 0x01}
	Router4   = netip.MustParseAddr("192.0.2.1")
	Node4     = netip.MustParsePrefix("192.0.2.10/24")
	Router6   = netip.MustParseAddr("fe80::77:65ff:fe66:7401")
	Prefix6   = netip.MustParsePrefix("2001:db8:77::/64")
	Node6     = netip.MustParseAddr("2001:db8:77::d6c")
	DNS4      = netip.MustParseAddr("192.0.2.53")
	DNS6      = netip.MustParseAddr("2001:db8:77::53")
)

// DHCP4 is what the DHCP server gives.
type DHCP4 struct {
	// Lease is how long; an hour when zero.
	Lease time.Duration
	// Hostname is what it calls the node.
	Hostname string
	// Time names the router as time server.
	Time bool
	// Refuse answers every request with a NAK.
	Refuse bool
}

// Advert is what the router advertises.
type Advert struct {
	// Lifetime is that of the default route; 0 advertises none.
	Lifetime time.Duration
	// Prefix lets nodes make themselves addresses in Prefix6.
	Prefix bool
	// Managed and Other speak of a DHCPv6 server.
	Managed, Other bool
	// DNS names a server and a domain.
	DNS bool
}

// Config is what there is in a lab; a nil part is not there.
type Config struct {
	DHCP4  *DHCP4
	Advert *Advert
	// DHCP6 serves by DHCPv6.
	DHCP6 bool
	// Clock is how far the time server's clock is from the host's; it serves
	// none when nil.
	Clock *time.Duration
}

// A Lab is a running network.
type Lab struct {
	tap *hub.Tap

	mu   sync.Mutex
	conf Config
	seen []string
	news chan struct{} // closed at the next question
}

// New runs a lab on a segment until the test ends.
func New(t *testing.T, segment *hub.Segment, conf Config) *Lab {
	t.Helper()
	tap, err := segment.Tap("lab")
	if err != nil {
		t.Fatal(err)
	}
	l := &Lab{tap: tap, conf: conf, news: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			frame, err := tap.ReadFrame(ctx)
			if err != nil {
				return
			}
			l.hear(frame)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		tap.Unplug()
		if t.Failed() {
			t.Logf("the lab heard %v", l.Seen())
		}
	})
	return l
}

// Set changes what there is in the lab.
func (l *Lab) Set(conf Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conf = conf
}

// Seen lists the questions heard so far, such as "DISCOVER" or "RS".
func (l *Lab) Seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.seen...)
}

// Heard is how often a question was heard so far.
func (l *Lab) Heard(question string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count(question)
}

// count is [Lab.Heard] with the lock held.
func (l *Lab) count(question string) (n int) {
	for _, s := range l.seen {
		if s == question {
			n++
		}
	}
	return n
}

// Await waits until a question was heard at least n times.
func (l *Lab) Await(ctx context.Context, question string, n int) error {
	for {
		l.mu.Lock()
		heard, news := l.count(question), l.news
		l.mu.Unlock()
		if heard >= n {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("%s was heard %d times, want %d: %w", question, heard, n, ctx.Err())
		}
	}
}

// config returns what there is and notes a question.
func (l *Lab) config(question string) Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, question)
	close(l.news)
	l.news = make(chan struct{})
	return l.conf
}

// send sends a frame; a lab that is closed has nobody to tell.
func (l *Lab) send(frame []byte) { _ = l.tap.WriteFrame(frame) }

// hear answers one frame.
func (l *Lab) hear(frame []byte) {
	p, ok := parse(frame)
	if !ok {
		return
	}
	switch {
	case p.arp != nil:
		l.answerARP(p)
	case p.icmp6 != nil:
		l.answerICMP6(p)
	case p.udp != nil && p.to == 67:
		l.answerDHCP4(p)
	case p.udp != nil && p.to == 547:
		l.answerDHCP6(p)
	case p.udp != nil && p.to == 123:
		l.answerNTP(p)
	}
}
