// Package router hears what the IPv6 routers of the node's links say beyond
// addresses and routes: name servers and search domains (RFC 8106), each until
// its lifetime ends, and whether there is a DHCPv6 server (RFC 4861).
//
// The kernel does the router discovery and hands these things on by netlink
// ([Listen]); what name servers come to is a plain value with no clock
// ([Table]). Addresses and routes of routers are the kernel's own business.
package router

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Types of router advertisement options (RFC 8106 section 5.1 and 5.2).
const (
	optRDNSS = 25
	optDNSSL = 31
)

// Forever is a lifetime without end (RFC 8106 section 5.1, 0xffffffff).
const Forever = time.Duration(0xffffffff) * time.Second

// Bounds of what is kept of a link: a router, or somebody who plays one, may
// send what it likes.
const (
	maxServers = 8
	maxDomains = 8
	maxName    = 253 // RFC 1035 section 2.3.4, as text
)

// ErrOption says that an option is malformed.
var ErrOption = errors.New("malformed router advertisement option")

// An Advert is what one advertisement says of the DNS.
type Advert struct {
	Servers []Entry[netip.Addr]
	Domains []Entry[string]
}

// An Entry is one value with its lifetime; 0 takes it back.
type Entry[T comparable] struct {
	Value    T
	Lifetime time.Duration
}

// Parse reads the options of a router advertisement, as they are on the wire.
// Others than the two of RFC 8106 are passed over.
func Parse(options []byte) (Advert, error) {
	var a Advert
	for len(options) > 0 {
		if len(options) < 8 {
			return Advert{}, fmt.Errorf("%w: %d bytes left over", ErrOption, len(options))
		}
		// In units of 8 bytes (RFC 4861 section 4.6).
		size := 8 * int(options[1])
		if size == 0 || size > len(options) {
			return Advert{}, fmt.Errorf("%w: length %d of %d", ErrOption, size, len(options))
		}
		body, lifetime := options[8:size], time.Duration(binary.BigEndian.Uint32(options[4:]))*time.Second
		switch options[0] {
		case optRDNSS:
			if len(body) == 0 || len(body)%16 != 0 {
				return Advert{}, fmt.Errorf("%w: %d bytes of addresses", ErrOption, len(body))
			}
			for chunk := range slices.Chunk(body, 16) {
				addr := netip.AddrFrom16([16]byte(chunk))
				if !addr.IsUnspecified() && !addr.IsMulticast() && !addr.IsLoopback() && !addr.Is4In6() {
					a.Servers = append(a.Servers, Entry[netip.Addr]{addr, lifetime})
				}
			}
		case optDNSSL:
			names, err := domains(body)
			if err != nil {
				return Advert{}, err
			}
			for _, name := range names {
				a.Domains = append(a.Domains, Entry[string]{name, lifetime})
			}
		}
		options = options[size:]
	}
	return a, nil
}

// domains reads names in the form of RFC 1035 section 3.1, without
// compression and padded with zeros.
func domains(data []byte) ([]string, error) {
	var (
		names  []string
		labels []string
	)
	for len(data) > 0 {
		n := int(data[0])
		data = data[1:]
		switch {
		case n == 0:
			if name := strings.Join(labels, "."); name != "" && len(name) <= maxName {
				names = append(names, name)
			}
			labels = nil
		case n > 63 || n > len(data):
			return nil, fmt.Errorf("%w: a label of %d bytes", ErrOption, n)
		default:
			label := strings.ToLower(string(data[:n]))
			if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
				return nil, fmt.Errorf("%w: label %q", ErrOption, label)
			}
			labels = append(labels, label)
			data = data[n:]
		}
	}
	if len(labels) > 0 {
		return nil, fmt.Errorf("%w: a name without its end", ErrOption)
	}
	return names, nil
}

// A Table is what holds now on one link. The zero value is empty.
type Table struct {
	servers []held[netip.Addr]
	domains []held[string]
}

// held is a value and when it ends; zero for never.
type held[T comparable] struct {
	value T
	until time.Time
}

// Add takes in what a router advertised at a time.
func (t *Table) Add(now time.Time, a Advert) {
	for _, e := range a.Servers {
		t.servers = add(t.servers, e, now, maxServers)
	}
	for _, e := range a.Domains {
		t.domains = add(t.domains, e, now, maxDomains)
	}
}

// add replaces, appends or removes one entry. A full list takes no more: what
// came first stays, so that a second router cannot push out the first.
func add[T comparable](list []held[T], e Entry[T], now time.Time, most int) []held[T] {
	i := slices.IndexFunc(list, func(h held[T]) bool { return h.value == e.Value })
	if e.Lifetime == 0 {
		if i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
		return list
	}
	h := held[T]{value: e.Value}
	if e.Lifetime != Forever {
		h.until = now.Add(e.Lifetime)
	}
	switch {
	case i >= 0:
		list[i] = h
	case len(list) < most:
		list = append(list, h)
	}
	return list
}

// At drops what has ended and returns what holds, in the order it came, and
// when the next of it ends; zero for never.
func (t *Table) At(now time.Time) (servers []netip.Addr, domains []string, next time.Time) {
	t.servers, servers, next = live(t.servers, now, next)
	t.domains, domains, next = live(t.domains, now, next)
	return servers, domains, next
}

// live is what of a list holds.
func live[T comparable](list []held[T], now, next time.Time) ([]held[T], []T, time.Time) {
	list = slices.DeleteFunc(list, func(h held[T]) bool { return !h.until.IsZero() && !h.until.After(now) })
	var values []T
	for _, h := range list {
		values = append(values, h.value)
		if !h.until.IsZero() && (next.IsZero() || h.until.Before(next)) {
			next = h.until
		}
	}
	return list, values, next
}
