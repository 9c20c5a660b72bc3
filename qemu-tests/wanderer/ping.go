//go:build linux

package main

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	// pingEvery is how often each pod is pinged.
	pingEvery = 100 * time.Millisecond
	// pingLate is how late an answer may come on a busy host.
	pingLate = 8 * time.Second
	// ownID tells these pings from those of netd's probe.
	ownID = 0x7765
)

// pings are going on.
type pings struct {
	stop chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex
	open map[ping]time.Time // sent, not answered
	sent map[netip.Addr]int
	who  map[netip.Addr]string // whose pods they are
}

// A ping is one of the 65,536 that a pod can be told apart by.
type ping struct {
	to  netip.Addr
	seq int
}

// startPings pings the probed pods of all peers.
func startPings(s status) (*pings, error) {
	p := &pings{stop: make(chan struct{}), open: map[ping]time.Time{}, sent: map[netip.Addr]int{}, who: map[netip.Addr]string{}}
	for _, peer := range s.Peers {
		p.who[peer.Probe.To] = peer.Name
		p.sent[peer.Probe.To] = 0
	}
	for _, family := range []struct {
		network, address string
		is6              bool
		request          icmp.Type
		reply            icmp.Type
		protocol         int
	}{
		{"ip4:icmp", "0.0.0.0", false, ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply, 1},
		{"ip6:ipv6-icmp", "::", true, ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, 58},
	} {
		conn, err := icmp.ListenPacket(family.network, family.address)
		if err != nil {
			return nil, err
		}
		var targets []netip.Addr
		for _, peer := range s.Peers {
			if peer.Probe.To.Is6() == family.is6 {
				targets = append(targets, peer.Probe.To)
			}
		}
		go p.hear(conn, family.protocol, family.reply)
		p.done.Go(func() { p.send(conn, targets, family.request) })
	}
	return p, nil
}

func (p *pings) send(conn *icmp.PacketConn, targets []netip.Addr, kind icmp.Type) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for seq := 1; ; seq++ {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		for _, to := range targets {
			message := icmp.Message{Type: kind, Body: &icmp.Echo{ID: ownID, Seq: seq & 0xffff, Data: make([]byte, 56)}}
			data, err := message.Marshal(nil)
			if err != nil {
				continue
			}
			p.mu.Lock()
			p.open[ping{to, seq & 0xffff}] = time.Now()
			p.sent[to]++
			p.mu.Unlock()
			if _, err := conn.WriteTo(data, &net.IPAddr{IP: to.AsSlice()}); err != nil {
				say("ping %s: %v", to, err)
			}
		}
	}
}

func (p *pings) hear(conn *icmp.PacketConn, protocol int, reply icmp.Type) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		message, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil || message.Type != reply {
			continue
		}
		echo, is := message.Body.(*icmp.Echo)
		address, ok := netip.AddrFromSlice(from.(*net.IPAddr).IP)
		if !is || !ok || echo.ID != ownID {
			continue
		}
		p.mu.Lock()
		delete(p.open, ping{address.Unmap(), echo.Seq})
		p.mu.Unlock()
	}
}

// lost ends the pings, once each pod was sent so many, and fails when one was
// lost: an answer takes both directions.
func (p *pings) lost(least int) error {
	for start := time.Now(); time.Since(start) < patience; time.Sleep(often) {
		p.mu.Lock()
		enough := slices.Min(slices.Collect(maps.Values(p.sent))) >= least
		p.mu.Unlock()
		if enough {
			break
		}
	}
	close(p.stop)
	p.done.Wait()
	for start := time.Now(); time.Since(start) < pingLate; time.Sleep(often) {
		p.mu.Lock()
		missing := len(p.open)
		p.mu.Unlock()
		if missing == 0 {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	lost := map[netip.Addr]int{}
	for which, at := range p.open {
		lost[which.to]++
		say("lost: %s number %d, %s ago", which.to, which.seq, time.Since(at).Round(time.Millisecond))
	}
	few := false
	for _, to := range slices.SortedFunc(maps.Keys(p.sent), netip.Addr.Compare) {
		say("pings to %s on %s: %d sent, %d lost", to, p.who[to], p.sent[to], lost[to])
		few = few || p.sent[to] < least
	}
	switch {
	case len(p.open) > 0:
		return fmt.Errorf("%d pings were lost", len(p.open))
	case few:
		return fmt.Errorf("fewer than %d pings were sent to a pod", least)
	}
	return nil
}
