package dhcp

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// ack makes an acknowledgement with options on top of reply's.
func ack(t testing.TB, options ...dhcpv4.Option) *dhcpv4.DHCPv4 {
	t.Helper()
	request, err := dhcpv4.NewDiscovery(mac)
	if err != nil {
		t.Fatal(err)
	}
	return reply(t, request, dhcpv4.MessageTypeAck, options...)
}

func route(dest, gateway string) Route {
	return Route{netip.MustParsePrefix(dest), netip.MustParseAddr(gateway)}
}

func TestReadTakesWhatTheServerGives(t *testing.T) {
	_, cloud, _ := net.ParseCIDR("169.254.169.254/32")
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	l, err := Read(ack(t,
		dhcpv4.OptDNS(net.IPv4(10, 0, 2, 3), net.IPv4zero, net.IPv4(1, 1, 1, 1)),
		dhcpv4.OptHostName("worker-1\x00junk"),
		dhcpv4.OptDomainName("example.org"),
		dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{0x05, 0xb4}),
		dhcpv4.OptClasslessStaticRoute(
			&dhcpv4.Route{Dest: cloud, Router: net.IPv4zero},
			&dhcpv4.Route{Dest: all, Router: net.IPv4(10, 0, 2, 1)}),
		dhcpv4.OptRenewTimeValue(10*time.Minute),
		dhcpv4.OptRebindingTimeValue(40*time.Minute),
	))
	if err != nil {
		t.Fatal(err)
	}
	if l.Hostname != "worker-1" || l.Domain != "example.org" || l.MTU != 1460 || l.Renew != 10*time.Minute || l.Rebind != 40*time.Minute || l.Expire != time.Hour {
		t.Errorf("lease %+v", l)
	}
	if want := []netip.Addr{netip.MustParseAddr("10.0.2.3"), netip.MustParseAddr("1.1.1.1")}; !slices.Equal(l.DNS, want) {
		t.Errorf("DNS %v", l.DNS)
	}
	// RFC 3442: with classless routes the router option does not count.
	if want := []Route{route("169.254.169.254/32", "0.0.0.0"), route("0.0.0.0/0", "10.0.2.1")}; !slices.Equal(l.Routes, want) {
		t.Errorf("routes %v", l.Routes)
	}
	plain, err := Read(ack(t))
	if err != nil || !slices.Equal(plain.Routes, []Route{route("0.0.0.0/0", "10.0.2.2")}) {
		t.Errorf("routes %v, %v", plain.Routes, err)
	}
	if plain.Same(l) || !plain.Same(plain) {
		t.Error("Same is wrong")
	}
}

func TestNonsenseIsReplacedOrRefused(t *testing.T) {
	for name, c := range map[string]struct {
		options []dhcpv4.Option
		check   func(Lease, error) bool
	}{
		"times in the wrong order": {
			[]dhcpv4.Option{dhcpv4.OptRenewTimeValue(50 * time.Minute), dhcpv4.OptRebindingTimeValue(20 * time.Minute)},
			func(l Lease, err error) bool {
				return err == nil && l.Renew == 30*time.Minute && l.Rebind == 3150*time.Second
			},
		},
		"a lease of a second": {
			[]dhcpv4.Option{dhcpv4.OptIPAddressLeaseTime(time.Second)},
			func(l Lease, err error) bool { return err == nil && l.Expire == minLease && l.Renew == minLease/2 },
		},
		"an MTU of 68": {
			[]dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{0, 68})},
			func(l Lease, err error) bool { return err == nil && l.MTU == 0 },
		},
		"an MTU of three bytes": {
			[]dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{0, 5, 0xdc})},
			func(l Lease, err error) bool { return err == nil && l.MTU == 0 },
		},
		"a mask with holes": {
			[]dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionSubnetMask, []byte{255, 0, 255, 0})},
			func(_ Lease, err error) bool { return errors.Is(err, ErrLease) },
		},
		"no mask": {
			[]dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionSubnetMask, nil)},
			func(l Lease, err error) bool { return err == nil && l.Address.Bits() == 24 },
		},
		"a router that is none": {
			[]dhcpv4.Option{dhcpv4.OptRouter(net.IPv4bcast)},
			func(l Lease, err error) bool { return err == nil && l.Routes == nil },
		},
		"a whole cloud's /32": {
			[]dhcpv4.Option{dhcpv4.OptSubnetMask(net.CIDRMask(32, 32))},
			func(l Lease, err error) bool { return err == nil && l.Address.Bits() == 32 },
		},
	} {
		if l, err := Read(ack(t, c.options...)); !c.check(l, err) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	for _, ip := range []net.IP{nil, net.IPv4zero, net.IPv4bcast, net.IPv4(127, 0, 0, 1), net.IPv4(224, 0, 0, 1)} {
		m := ack(t)
		m.YourIPAddr = ip
		if _, err := Read(m); !errors.Is(err, ErrLease) {
			t.Errorf("address %v: %v", ip, err)
		}
	}
}

func TestPacketsGoOutAndComeIn(t *testing.T) {
	m := ack(t)
	packet := wrap(m.ToBytes())
	if checksum(packet[:ipHeader]) != 0 {
		t.Error("the IP checksum is wrong")
	}
	if _, err := unwrap(packet); !errors.Is(err, ErrPacket) {
		t.Errorf("a packet to the server was taken: %v", err)
	}
	packet[ipHeader+3] = clientPort
	got, err := unwrap(packet)
	if err != nil || !got.YourIPAddr.Equal(m.YourIPAddr) {
		t.Errorf("%v, %v", got, err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"IPv6":               func(b []byte) []byte { b[0] = 0x65; return b },
		"TCP":                func(b []byte) []byte { b[9] = 6; return b },
		"a later fragment":   func(b []byte) []byte { b[7] = 9; return b },
		"a short header":     func(b []byte) []byte { b[0] = 0x41; return b },
		"cut short":          func(b []byte) []byte { return b[:40] },
		"nothing":            func([]byte) []byte { return nil },
		"a UDP length of 3":  func(b []byte) []byte { b[ipHeader+4], b[ipHeader+5] = 0, 3; return b },
		"not DHCP":           func(b []byte) []byte { clear(b[ipHeader+udpHeader:]); return b },
		"a length beyond it": func(b []byte) []byte { b[2] = 0xff; return b },
	} {
		if _, err := unwrap(change(slices.Clone(packet))); !errors.Is(err, ErrPacket) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Padding of short frames after the packet's end does not matter.
	if _, err := unwrap(append(packet, make([]byte, 18)...)); err != nil {
		t.Error(err)
	}
}

func FuzzUnwrapAndRead(f *testing.F) {
	packet := wrap(ack(f).ToBytes())
	packet[ipHeader+3] = clientPort
	f.Add(packet)
	f.Add(packet[:30])
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := unwrap(packet)
		if err != nil {
			return
		}
		l, err := Read(m)
		if err != nil {
			return
		}
		if !l.Address.IsValid() || !l.Address.Addr().Is4() || l.Renew > l.Rebind || l.Rebind > l.Expire || len(l.Routes) > maxRoutes || len(l.DNS) > maxDNS {
			t.Errorf("lease %+v", l)
		}
		for _, r := range l.Routes {
			if !r.Destination.IsValid() || !r.Gateway.Is4() {
				t.Errorf("route %+v", r)
			}
		}
	})
}
