//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// slowFor is how long a slow ping takes to be sent.
const slowFor = 2 * time.Second

// A slowPing is half of a ping that the kernel has already chosen a route for,
// and holds until it has the other half (MSG_MORE, send(2)). It stands for a
// sender that is interrupted for a long time between the two. One that was sent
// by a route that is gone by then is lost, and nobody is told of it.
type slowPing struct {
	begun  time.Time
	socket int
	to     unix.Sockaddr
	rest   []byte
}

// beginSlow begins to send a message of ICMP or ICMPv6.
func beginSlow(to netip.Addr, data []byte) (s slowPing, err error) {
	family, protocol := unix.AF_INET6, unix.IPPROTO_ICMPV6
	if to.Is4() {
		family, protocol = unix.AF_INET, unix.IPPROTO_ICMP
		s.to = &unix.SockaddrInet4{Addr: to.As4()}
	} else {
		s.to = &unix.SockaddrInet6{Addr: to.As16()}
	}
	if s.socket, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol); err != nil {
		return s, err
	}
	deafen(s.socket, to.Is6())
	half := len(data) / 2
	s.begun, s.rest = time.Now(), data[half:]
	if err := unix.Sendto(s.socket, data[:half], unix.MSG_MORE, s.to); err != nil {
		unix.Close(s.socket)
		return s, fmt.Errorf("send half of it: %w", err)
	}
	return s, nil
}

// deafen spares the kernel the work of a socket that hears every answer of
// every ping (ICMP_FILTER, raw(7); ICMPV6_FILTER, RFC 3542, section 3.2).
func deafen(socket int, ipv6 bool) {
	const icmpFilter, all = 1, -1
	if ipv6 {
		var filter unix.ICMPv6Filter
		for i := range filter.Data {
			filter.Data[i] = 1<<32 - 1
		}
		_ = unix.SetsockoptICMPv6Filter(socket, unix.SOL_ICMPV6, unix.ICMPV6_FILTER, &filter)
		return
	}
	_ = unix.SetsockoptInt(socket, unix.SOL_RAW, icmpFilter, all)
}

// end sends the rest.
func (s slowPing) end() {
	if err := unix.Sendto(s.socket, s.rest, 0, s.to); err != nil {
		say("end of a slow ping: %v", err)
	}
	unix.Close(s.socket)
}
