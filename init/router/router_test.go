package router

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// option builds one option of whole units.
func option(kind byte, lifetime uint32, body []byte) []byte {
	for (len(body)+8)%8 != 0 {
		body = append(body, 0)
	}
	o := []byte{kind, byte((len(body) + 8) / 8), 0, 0}
	o = binary.BigEndian.AppendUint32(o, lifetime)
	return append(o, body...)
}

func rdnss(lifetime uint32, addresses ...string) []byte {
	var body []byte
	for _, a := range addresses {
		body = append(body, netip.MustParseAddr(a).AsSlice()...)
	}
	return option(optRDNSS, lifetime, body)
}

func TestServersHoldAsLongAsTheRouterSays(t *testing.T) {
	var table Table
	see := func(options ...[]byte) {
		t.Helper()
		a, err := Parse(slices.Concat(options...))
		if err != nil {
			t.Fatal(err)
		}
		table.Add(start, a)
	}
	a, b, far := netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:db8::54")
	see(rdnss(600, a.String(), b.String()), option(optDNSSL, 1200, []byte("\x07example\x03org\x00\x03lan\x00")), rdnss(0xffffffff, far.String()))
	servers, domains, next := table.At(start)
	if !slices.Equal(servers, []netip.Addr{a, b, far}) || !slices.Equal(domains, []string{"example.org", "lan"}) || next != start.Add(600*time.Second) {
		t.Errorf("got %v, %v until %s", servers, domains, next)
	}
	see(rdnss(0, b.String()))
	if servers, _, _ = table.At(start); !slices.Equal(servers, []netip.Addr{a, far}) {
		t.Errorf("after %s was taken back: %v", b, servers)
	}
	servers, domains, next = table.At(start.Add(700 * time.Second))
	if !slices.Equal(servers, []netip.Addr{far}) || len(domains) != 2 || next != start.Add(1200*time.Second) {
		t.Errorf("after ten minutes: %v, %v until %s", servers, domains, next)
	}
	if servers, domains, next = table.At(start.Add(time.Hour)); len(servers) != 1 || len(domains) != 0 || !next.IsZero() {
		t.Errorf("after an hour: %v, %v until %s", servers, domains, next)
	}
}

func TestASecondRouterCannotPushOutTheFirst(t *testing.T) {
	var table Table
	for i := range 20 {
		a, err := Parse(rdnss(600, netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i + 1)}).String()))
		if err != nil {
			t.Fatal(err)
		}
		table.Add(start, a)
	}
	servers, _, _ := table.At(start)
	if len(servers) != maxServers || servers[0].As16()[15] != 1 {
		t.Errorf("kept %v", servers)
	}
}

func TestMalformedOptionsAreRefused(t *testing.T) {
	for name, options := range map[string][]byte{
		"cut short":        {optRDNSS, 3, 0, 0},
		"no length":        {optRDNSS, 0, 0, 0, 0, 0, 0, 0},
		"too long":         {optRDNSS, 9, 0, 0, 0, 0, 0, 0},
		"half an address":  option(optRDNSS, 1, make([]byte, 8)),
		"an endless name":  option(optDNSSL, 1, []byte("\x06lonely\x00")[:7]),
		"a long label":     option(optDNSSL, 1, []byte{200, 'a', 0}),
		"a line of itself": option(optDNSSL, 1, []byte("\x04a\nbc\x00")),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "an endless name" {
				options = append(options[:8], []byte("\x07endless")...)
			}
			if a, err := Parse(options); !errors.Is(err, ErrOption) {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
	a, err := Parse(append([]byte{1, 1, 2, 0, 0, 0, 0, 1}, rdnss(5, "::1", "ff02::1", "2001:db8::1")...))
	if err != nil || len(a.Servers) != 1 {
		t.Errorf("other options and addresses of no server: %+v, %v", a, err)
	}
}

func TestKernelMessagesAreRead(t *testing.T) {
	options := rdnss(60, "2001:db8::53")
	message := make([]byte, userOptHeader)
	message[0], message[8] = 10, typeRA
	binary.NativeEndian.PutUint16(message[2:], uint16(len(options)))
	binary.NativeEndian.PutUint32(message[4:], 42)
	n, err := decodeOptions(append(message, options...))
	if err != nil || n.Index != 42 || len(n.Advert.Servers) != 1 || n.Flags {
		t.Errorf("got %+v, %v", n, err)
	}
	if _, err := decodeOptions(message[:userOptHeader]); err == nil {
		t.Error("a message without its options is read")
	}

	link := make([]byte, 16)
	link[0] = 10
	binary.NativeEndian.PutUint32(link[4:], 7)
	// IFLA_PROTINFO with IFLA_INET6_FLAGS: managed, ready.
	link = append(link, 12, 0, 12, 0x80, 8, 0, 1, 0, 0x40, 0, 0, 0x80)
	n, err = decodeFlags(link)
	if err != nil || n.Index != 7 || !n.Flags || !n.Managed || n.Other {
		t.Errorf("got %+v, %v", n, err)
	}
	if _, err := decodeFlags(link[:len(link)-2]); err == nil {
		t.Error("a message cut short is read")
	}
}

func FuzzDecodeFlags(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 12, 0x80, 8, 0, 1, 0, 0x40, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := decodeFlags(data); err != nil && n.Flags {
			t.Fatalf("%+v with %v", n, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(rdnss(60, "2001:db8::53"))
	f.Add(option(optDNSSL, 60, []byte("\x07example\x03org\x00")))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Parse(data)
		if err != nil {
			return
		}
		var table Table
		table.Add(start, a)
		servers, domains, next := table.At(start)
		if len(servers) > maxServers || len(domains) > maxDomains || !next.IsZero() && !next.After(start) {
			t.Fatalf("%v, %v until %s", servers, domains, next)
		}
	})
}
