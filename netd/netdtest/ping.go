package netdtest

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"weft/netd/nstest"
)

// A Packet is an echo request and what became of it.
type Packet struct {
	// From and To are the node numbers of the two pods.
	From, To int
	// IPv6 says the family.
	IPv6 bool
	// Sent is when it was sent.
	Sent time.Time
	// Answered says that the reply came within [AnswerWithin].
	Answered bool
	// After is how long the reply took.
	After time.Duration
}

// AnswerWithin is how long a reply may take before the packet is lost. On a
// LAN of namespaces it takes a millisecond; the program that reads it, on a
// busy machine, may come to it seconds later.
const AnswerWithin = 5 * time.Second

// A Target is a pod to ping.
type Target struct {
	Node    int
	Address netip.Addr
}

// A Pinger pings from one pod, one target after the other.
type Pinger struct {
	from    int
	every   time.Duration
	targets []Target
	conns   [2]net.PacketConn // IPv4, IPv6

	mu      sync.Mutex
	packets []Packet
	waiting map[uint16]int // the packet of a sequence number
	next    uint16
}

// NewPinger makes a pinger in a pod of node from. Its packets are sent by
// [Pinger.Run].
func NewPinger(t testing.TB, pod *nstest.Node, from int, every time.Duration, targets []Target) *Pinger {
	t.Helper()
	p := &Pinger{from: from, every: every, targets: targets, waiting: map[uint16]int{}}
	// A socket belongs to the namespace of the thread that made it.
	err := pod.Do(func() (err error) {
		if p.conns[0], err = net.ListenPacket("ip4:icmp", "0.0.0.0"); err == nil {
			p.conns[1], err = net.ListenPacket("ip6:ipv6-icmp", "::")
		}
		return err
	})
	if err != nil {
		t.Fatalf("ping from %s: %v", pod.Name, err)
	}
	t.Cleanup(func() { p.conns[0].Close(); p.conns[1].Close() })
	for i, conn := range p.conns {
		go p.receive(conn, i == 1)
	}
	return p
}

// Run sends until stop is closed, and then waits for the last replies.
func (p *Pinger) Run(stop <-chan struct{}) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			p.await()
			return
		case <-tick.C:
			p.send(p.targets[i%len(p.targets)])
		}
	}
}

// await waits for the last replies.
func (p *Pinger) await() {
	for end := time.Now().Add(AnswerWithin); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		waiting := 0
		for _, i := range p.waiting {
			if time.Since(p.packets[i].Sent) < AnswerWithin {
				waiting++
			}
		}
		p.mu.Unlock()
		if waiting == 0 {
			return
		}
	}
}

// Packets are those sent so far.
func (p *Pinger) Packets() []Packet {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Packet{}, p.packets...)
}

// Types of ICMP messages (RFC 792) and of ICMPv6 (RFC 4443).
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

func (p *Pinger) send(to Target) {
	ipv6 := to.Address.Is6()
	p.mu.Lock()
	p.next++
	sequence := p.next
	p.waiting[sequence] = len(p.packets)
	p.packets = append(p.packets, Packet{From: p.from, To: to.Node, IPv6: ipv6, Sent: time.Now()})
	p.mu.Unlock()
	message := make([]byte, 64)
	message[0] = echoRequest4
	binary.BigEndian.PutUint16(message[4:], uint16(p.from))
	binary.BigEndian.PutUint16(message[6:], sequence)
	conn := p.conns[0]
	if ipv6 {
		message[0], conn = echoRequest6, p.conns[1] // the kernel adds the checksum
	} else {
		binary.BigEndian.PutUint16(message[2:], checksum(message))
	}
	// What cannot be sent is lost like anything else that gets no answer.
	_, _ = conn.WriteTo(message, &net.IPAddr{IP: to.Address.AsSlice()})
}

func (p *Pinger) receive(conn net.PacketConn, ipv6 bool) {
	b := make([]byte, 2048)
	for {
		n, _, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		now := time.Now()
		if n < 8 || binary.BigEndian.Uint16(b[4:]) != uint16(p.from) || ipv6 && b[0] != echoReply6 || !ipv6 && b[0] != echoReply4 {
			continue
		}
		p.mu.Lock()
		sequence := binary.BigEndian.Uint16(b[6:])
		if i, waits := p.waiting[sequence]; waits {
			one := &p.packets[i]
			one.After = now.Sub(one.Sent)
			one.Answered = one.After <= AnswerWithin
			delete(p.waiting, sequence)
		}
		p.mu.Unlock()
	}
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// String names the packet in a list.
func (p Packet) String() string {
	family := "IPv4"
	if p.IPv6 {
		family = "IPv6"
	}
	return fmt.Sprintf("node %d to %d %s", p.From, p.To, family)
}
