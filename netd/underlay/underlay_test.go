package underlay

import (
	"net/netip"
	"strings"
	"testing"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// host has two devices; the default routes leave by eth0, with one more of a
// higher metric by eth1.
func host(addresses ...Address) Host {
	return Host{
		Links:     []Link{{Index: 2, Name: "eth0", MTU: 1500, Up: true}, {Index: 3, Name: "eth1", MTU: 9000, Up: true}},
		Addresses: addresses,
		Defaults:  []Default{{Index: 3, Metric: 200}, {Index: 2, Metric: 100}, {IPv6: true, Index: 2, Metric: 1024}},
	}
}

func TestChoose(t *testing.T) {
	cases := []struct {
		name    string
		host    Host
		ipv6    bool
		given   []netip.Addr
		device  string
		address string
		err     string
	}{
		{"the address given decides", host(Address{Index: 2, IP: ip("10.0.0.1")}, Address{Index: 3, IP: ip("10.9.0.1")}), false,
			[]netip.Addr{ip("10.9.0.1")}, "eth1", "10.9.0.1", ""},
		{"the address given is nowhere", host(Address{Index: 2, IP: ip("10.0.0.1")}), false,
			[]netip.Addr{ip("10.9.0.1")}, "", "", "no device carries 10.9.0.1"},
		{"an address of the other family does not matter", host(Address{Index: 2, IP: ip("10.0.0.1")}), false,
			[]netip.Addr{ip("fd00::1")}, "eth0", "10.0.0.1", ""},
		{"the default route of the lowest metric", host(Address{Index: 3, IP: ip("10.9.0.1")}, Address{Index: 2, IP: ip("10.0.0.1")}), false, nil, "eth0", "10.0.0.1", ""},
		{"global before link scope", host(Address{Index: 2, IP: ip("10.0.0.8"), LinkScope: true}, Address{Index: 2, IP: ip("10.0.0.1")}), false, nil, "eth0", "10.0.0.1", ""},
		{"permanent before dynamic", host(Address{Index: 2, IP: ip("fd00::8"), Dynamic: true}, Address{Index: 2, IP: ip("fd00::1")}), true, nil, "eth0", "fd00::1", ""},
		{"lasting before temporary", host(Address{Index: 2, IP: ip("fd00::8"), Dynamic: true, Temporary: true}, Address{Index: 2, IP: ip("fd00::1"), Dynamic: true}), true, nil, "eth0", "fd00::1", ""},
		{"deprecated is skipped", host(Address{Index: 2, IP: ip("fd00::8"), Deprecated: true}, Address{Index: 2, IP: ip("fd00::1"), Dynamic: true}), true, nil, "eth0", "fd00::1", ""},
		{"tentative is waited for", host(Address{Index: 2, IP: ip("fd00::8"), Unusable: true}), true, nil, "", "", "no usable IPv6 address"},
		{"link-local is no underlay", host(Address{Index: 2, IP: ip("fe80::1")}), true, nil, "", "", "no usable IPv6 address"},
		{"no default route", Host{}, false, nil, "", "", "no IPv4 default route"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Choose(c.host, c.ipv6, c.given)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error is %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || got.Name != c.device || got.Address != ip(c.address) || got.MTU == 0 {
				t.Errorf("chosen is %+v, %v; want %s on %s", got, err, c.address, c.device)
			}
		})
	}
}
