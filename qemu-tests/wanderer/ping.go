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
	// pingEvery is how often each pod is pinged, and every slowEvery-th time
	// slowly, too: four slow ones are under way at any time.
	pingEvery = 100 * time.Millisecond
	slowEvery = 5
	// pingLate is how late an answer may come on a busy host.
	pingLate = 8 * time.Second
	// ownID tells these pings from those of netd's probe, slowID those of the
	// slow kind from others.
	ownID  = 0x7765
	slowID = ownID + 1
)

// pings are going on.
type pings struct {
	stop chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex
	open map[ping]time.Time    // sent, not answered
	sent map[netip.Addr]int    // quick ones
	who  map[netip.Addr]string // whose pods they are
}

// A ping is one of the 65,536 of a kind that a pod can be told apart by.
type ping struct {
	to      netip.Addr
	id, seq int
}

// startPings pings the probed pods of all peers, in two kinds: quick ones, and
// slow ones that the kernel is still sending when its routes change.
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

// send pings targets until it is told to stop: each time quickly, and slowly.
func (p *pings) send(conn *icmp.PacketConn, targets []netip.Addr, kind icmp.Type) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	var slow []slowPing
	defer func() {
		for _, s := range slow {
			s.end()
		}
	}()
	for seq := 1; ; seq++ {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		for len(slow) > 0 && time.Since(slow[0].begun) > slowFor {
			slow[0].end()
			slow = slow[1:]
		}
		for _, to := range targets {
			if data, ok := p.next(ping{to, ownID, seq & 0xffff}, kind); ok {
				if _, err := conn.WriteTo(data, &net.IPAddr{IP: to.AsSlice()}); err != nil {
					say("ping %s: %v", to, err)
				}
			}
			if seq%slowEvery > 0 {
				continue
			}
			if data, ok := p.next(ping{to, slowID, seq & 0xffff}, kind); ok {
				s, err := beginSlow(to, data)
				if err != nil {
					say("slow ping %s: %v", to, err)
					continue
				}
				slow = append(slow, s)
			}
		}
	}
}

// next is the message of a ping, which is open from now on.
func (p *pings) next(one ping, kind icmp.Type) ([]byte, bool) {
	message := icmp.Message{Type: kind, Body: &icmp.Echo{ID: one.id, Seq: one.seq, Data: make([]byte, 56)}}
	data, err := message.Marshal(nil)
	if err != nil {
		return nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[one] = time.Now()
	if one.id == ownID {
		p.sent[one.to]++
	}
	return data, true
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
		if !is || !ok {
			continue
		}
		p.mu.Lock()
		delete(p.open, ping{address.Unmap(), echo.ID, echo.Seq})
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
		say("lost: %s number %d, slow %t, begun %s ago", which.to, which.seq, which.id == slowID, time.Since(at).Round(time.Millisecond))
	}
	few := false
	for _, to := range slices.SortedFunc(maps.Keys(p.sent), netip.Addr.Compare) {
		say("pings to %s on %s: %d sent, %d slow ones, %d lost", to, p.who[to], p.sent[to], p.sent[to]/slowEvery, lost[to])
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
