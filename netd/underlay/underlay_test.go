package underlay

import (
	"net/netip"
	"strings"
	"testing"

	"weft/profiles"
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

// chosen is what a case expects: a device with an address, or an error that
// holds a text.
type chosen struct{ device, address, err string }

func (c chosen) check(t *testing.T, got Device, err error) {
	t.Helper()
	if c.err != "" {
		if err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("error is %v, want %q; chosen is %+v", err, c.err, got)
		}
		return
	}
	if err != nil || got.Name != c.device || got.Address != ip(c.address) || got.MTU == 0 {
		t.Errorf("chosen is %+v, %v; want %s on %s", got, err, c.address, c.device)
	}
}

func TestChooseWithoutWays(t *testing.T) {
	multipath := host(Address{Index: 2, IP: ip("10.0.0.1")}, Address{Index: 3, IP: ip("10.9.0.1")})
	multipath.Defaults = []Default{{Index: 3, Metric: 100}, {Index: 2, Metric: 100}, {Index: 9, Metric: 200}}
	dead := multipath
	dead.Defaults = []Default{{Index: 3, Metric: 100, Dead: true}, {Index: 2, Metric: 100}}
	noAddress := multipath
	noAddress.Addresses = noAddress.Addresses[:1]
	cases := []struct {
		name  string
		host  Host
		ipv6  bool
		given []netip.Addr
		want  chosen
	}{
		{"the address given decides", host(Address{Index: 2, IP: ip("10.0.0.1")}, Address{Index: 3, IP: ip("10.9.0.1")}), false,
			[]netip.Addr{ip("10.9.0.1")}, chosen{device: "eth1", address: "10.9.0.1"}},
		{"the address given is nowhere", host(Address{Index: 2, IP: ip("10.0.0.1")}), false,
			[]netip.Addr{ip("10.9.0.1")}, chosen{err: "no device carries 10.9.0.1, this node's IPv4 address; there are: eth0 (10.0.0.1)"}},
		{"an address of the other family does not matter", host(Address{Index: 2, IP: ip("10.0.0.1")}), false,
			[]netip.Addr{ip("fd00::1")}, chosen{device: "eth0", address: "10.0.0.1"}},
		{"the default route of the lowest metric", host(Address{Index: 3, IP: ip("10.9.0.1")}, Address{Index: 2, IP: ip("10.0.0.1")}), false, nil, chosen{device: "eth0", address: "10.0.0.1"}},
		{"the first hop of a multipath route", multipath, false, nil, chosen{device: "eth1", address: "10.9.0.1"}},
		{"a hop that is dead comes last", dead, false, nil, chosen{device: "eth0", address: "10.0.0.1"}},
		{"a hop without an address is passed over", noAddress, false, nil, chosen{device: "eth0", address: "10.0.0.1"}},
		{"a default route that is not the best is not taken", host(Address{Index: 3, IP: ip("10.9.0.1")}), false, nil,
			chosen{err: "the IPv4 default route: device eth0 has no usable IPv4 address; there are: eth1 (10.9.0.1)"}},
		{"global before link scope", host(Address{Index: 2, IP: ip("10.0.0.8"), LinkScope: true}, Address{Index: 2, IP: ip("10.0.0.1")}), false, nil, chosen{device: "eth0", address: "10.0.0.1"}},
		{"permanent before dynamic", host(Address{Index: 2, IP: ip("fd00::8"), Dynamic: true}, Address{Index: 2, IP: ip("fd00::1")}), true, nil, chosen{device: "eth0", address: "fd00::1"}},
		{"lasting before temporary", host(Address{Index: 2, IP: ip("fd00::8"), Dynamic: true, Temporary: true}, Address{Index: 2, IP: ip("fd00::1"), Dynamic: true}), true, nil, chosen{device: "eth0", address: "fd00::1"}},
		{"deprecated is skipped", host(Address{Index: 2, IP: ip("fd00::8"), Deprecated: true}, Address{Index: 2, IP: ip("fd00::1"), Dynamic: true}), true, nil, chosen{device: "eth0", address: "fd00::1"}},
		{"tentative is waited for", host(Address{Index: 2, IP: ip("fd00::8"), Unusable: true}), true, nil, chosen{err: "no usable IPv6 address"}},
		{"link-local is no underlay", host(Address{Index: 2, IP: ip("fe80::1")}), true, nil, chosen{err: "no usable IPv6 address"}},
		{"an address of pods is no underlay", host(Address{Index: 2, IP: ip("10.244.1.1")}, Address{Index: 2, IP: ip("10.0.0.1")}), false, nil, chosen{device: "eth0", address: "10.0.0.1"}},
		{"no default route", Host{}, false, nil, chosen{err: "there is no IPv4 default route, and neither the node nor network.underlay names a device; no device has a usable IPv4 address"}},
	}
	network := profiles.Network{Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Choose(c.host, c.ipv6, c.given, network)
			c.want.check(t, got, err)
		})
	}
}

// busy is a host with two uplinks of both families, a bridge for pods and a
// private wire; the routes were looked up for three addresses.
var busy = Host{
	Links: []Link{{Index: 1, Name: "lo", MTU: 65536}, {Index: 2, Name: "ens3", MTU: 1500}, {Index: 3, Name: "ens4", MTU: 9000},
		{Index: 4, Name: "cni0", MTU: 1450}, {Index: 5, Name: "wlan0", MTU: 1500}},
	Addresses: []Address{
		{Index: 1, IP: ip("127.0.0.1")}, {Index: 1, IP: ip("::1")},
		{Index: 2, IP: ip("10.0.0.4")}, {Index: 2, IP: ip("2001:db8::4")},
		{Index: 3, IP: ip("192.168.7.9")}, {Index: 3, IP: ip("192.168.7.8")}, {Index: 3, IP: ip("fd77::8"), Dynamic: true}, {Index: 3, IP: ip("fd77::9")},
		{Index: 4, IP: ip("10.244.1.1")},
		{Index: 5, IP: ip("10.5.0.5")},
	},
	Defaults: []Default{{Index: 2}, {IPv6: true, Index: 2}},
	Routes: map[netip.Addr]Route{
		ip("192.168.9.1"): {Index: 3, Source: ip("192.168.7.8")},
		ip("fd99::1"):     {Index: 3},
		ip("10.5.0.1"):    {Index: 5, Source: ip("10.5.0.5")},
	},
}

func TestChooseByWays(t *testing.T) {
	type list = []string
	addrs := func(all ...string) (out []netip.Addr) {
		for _, a := range all {
			out = append(out, ip(a))
		}
		return out
	}
	prefixes := func(all ...string) (out []netip.Prefix) {
		for _, p := range all {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	cases := []struct {
		name   string
		ways   profiles.UnderlayChoice
		v4, v6 chosen
	}{
		{"a name", profiles.UnderlayChoice{Interfaces: list{"ens4"}},
			chosen{device: "ens4", address: "192.168.7.9"}, chosen{device: "ens4", address: "fd77::9"}},
		{"the first name there is", profiles.UnderlayChoice{Interfaces: list{"eth0", "ens4", "ens3"}},
			chosen{device: "ens4", address: "192.168.7.9"}, chosen{device: "ens4", address: "fd77::9"}},
		{"the first name with an address of the family", profiles.UnderlayChoice{Interfaces: list{"wlan0", "ens3"}},
			chosen{device: "wlan0", address: "10.5.0.5"}, chosen{device: "ens3", address: "2001:db8::4"}},
		{"an address, and its device for the other family", profiles.UnderlayChoice{Interfaces: list{"192.168.7.8"}},
			chosen{device: "ens4", address: "192.168.7.8"}, chosen{device: "ens4", address: "fd77::9"}},
		{"names that are not there", profiles.UnderlayChoice{Interfaces: list{"eth0", "10.1.1.1"}},
			chosen{err: "there is no device eth0; no device has the address 10.1.1.1; there are: ens3 (10.0.0.4), ens4 (192.168.7.9, 192.168.7.8), wlan0 (10.5.0.5)"},
			chosen{err: "there is no device eth0; no device has the address 10.1.1.1; there are: ens3 (2001:db8::4), ens4 (fd77::8, fd77::9)"}},
		{"a bridge of pods by name", profiles.UnderlayChoice{Interfaces: list{"cni0"}},
			chosen{err: "device cni0 has no usable IPv4 address"}, chosen{err: "device cni0 has no usable IPv6 address"}},
		{"an expression that matches names", profiles.UnderlayChoice{InterfacesRegex: list{"^ens[4-9]"}},
			chosen{device: "ens4", address: "192.168.7.9"}, chosen{device: "ens4", address: "fd77::9"}},
		{"an expression that matches addresses before names", profiles.UnderlayChoice{InterfacesRegex: list{`ens3|7\.8$|fd77::8`}},
			chosen{device: "ens4", address: "192.168.7.8"}, chosen{device: "ens4", address: "fd77::8"}},
		{"an expression for IPv4 addresses finds the device for IPv6", profiles.UnderlayChoice{InterfacesRegex: list{`^192\.168\.`}},
			chosen{device: "ens4", address: "192.168.7.9"}, chosen{device: "ens4", address: "fd77::9"}},
		{"an expression that would match pods", profiles.UnderlayChoice{InterfacesRegex: list{`^10\.2`}},
			chosen{err: `no device matches ^10\.2`}, chosen{err: `no device matches ^10\.2`}},
		{"an expression that matches nothing", profiles.UnderlayChoice{InterfacesRegex: list{"^eth"}},
			chosen{err: "no device matches ^eth; there are: ens3 (10.0.0.4)"}, chosen{err: "no device matches ^eth; there are: ens3 (2001:db8::4)"}},
		{"an expression that is none", profiles.UnderlayChoice{InterfacesRegex: list{"(", "ens3"}},
			chosen{device: "ens3", address: "10.0.0.4"}, chosen{device: "ens3", address: "2001:db8::4"}},
		{"the route to an address of each family", profiles.UnderlayChoice{CanReach: addrs("10.5.0.1", "fd99::1")},
			chosen{device: "wlan0", address: "10.5.0.5"}, chosen{device: "ens4", address: "fd77::9"}},
		{"the route's source address", profiles.UnderlayChoice{CanReach: addrs("192.168.9.1")},
			chosen{device: "ens4", address: "192.168.7.8"}, chosen{device: "ens4", address: "fd77::9"}},
		{"no route", profiles.UnderlayChoice{CanReach: addrs("203.0.113.9")},
			chosen{err: "there is no route to 203.0.113.9; there are: ens3"}, chosen{err: "there is no route to 203.0.113.9; there are: ens3"}},
		{"a route by a device without the family", profiles.UnderlayChoice{CanReach: addrs("10.5.0.1")},
			chosen{device: "wlan0", address: "10.5.0.5"}, chosen{err: "the route to 10.5.0.1 does not help: device wlan0 has no usable IPv6 address"}},
		{"a subnet of each family", profiles.UnderlayChoice{Subnet: prefixes("10.5.0.0/16", "fd77::/64")},
			chosen{device: "wlan0", address: "10.5.0.5"}, chosen{device: "ens4", address: "fd77::8"}},
		{"a subnet of one family", profiles.UnderlayChoice{Subnet: prefixes("192.168.7.0/24")},
			chosen{device: "ens4", address: "192.168.7.9"}, chosen{device: "ens4", address: "fd77::9"}},
		{"a subnet nobody is in", profiles.UnderlayChoice{Subnet: prefixes("172.16.0.0/12")},
			chosen{err: "no device has an address in 172.16.0.0/12; there are: ens3"}, chosen{err: "no device has an address in 172.16.0.0/12"}},
		{"a subnet around the pods", profiles.UnderlayChoice{Subnet: prefixes("10.128.0.0/9")},
			chosen{err: "no device has an address in 10.128.0.0/9"}, chosen{err: "no device has an address in 10.128.0.0/9"}},
		{"ways in their order", profiles.UnderlayChoice{Subnet: prefixes("10.5.0.0/16"), CanReach: addrs("192.168.9.1"), InterfacesRegex: list{"^eth"}, Interfaces: list{"eth0"}},
			chosen{device: "ens4", address: "192.168.7.8"}, chosen{device: "ens4", address: "fd77::9"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			network := profiles.Network{Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
				Underlay: profiles.Underlay{UnderlayChoice: c.ways}}
			got, err := Choose(busy, false, nil, network)
			c.v4.check(t, got, err)
			got, err = Choose(busy, true, nil, network)
			c.v6.check(t, got, err)
		})
	}
}

func TestFamiliesMayHaveDifferentDevices(t *testing.T) {
	network := profiles.Network{Underlay: profiles.Underlay{
		UnderlayChoice: profiles.UnderlayChoice{Interfaces: []string{"ens3"}},
		IPv6:           &profiles.UnderlayChoice{InterfacesRegex: []string{"^ens4$"}, CanReach: []netip.Addr{ip("fd99::1")}},
	}}
	got, err := Choose(busy, false, nil, network)
	chosen{device: "ens3", address: "10.0.0.4"}.check(t, got, err)
	got, err = Choose(busy, true, nil, network)
	chosen{device: "ens4", address: "fd77::9"}.check(t, got, err)
	// What the other family's way needs is asked for as well.
	if reach := CanReach(network); len(reach) != 1 || reach[0] != ip("fd99::1") {
		t.Errorf("routes are looked up for %v", reach)
	}
	// The node's own address counts before all ways.
	got, err = Choose(busy, false, []netip.Addr{ip("10.5.0.5")}, network)
	chosen{device: "wlan0", address: "10.5.0.5"}.check(t, got, err)
}

func TestExternalAddressesChangeOnlyWhatIsPublished(t *testing.T) {
	device := Device{Index: 2, Name: "ens3", MTU: 1500, Address: ip("10.0.0.4")}
	node := profiles.NetdNode{ExternalAddresses: []netip.Addr{ip("2001:db8::99"), ip("203.0.113.5")}}
	external := profiles.Network{ExternalIP: true}
	for _, c := range []struct {
		name    string
		device  Device
		ipv6    bool
		node    profiles.NetdNode
		network profiles.Network
		want    netip.Addr
	}{
		{"not asked for", device, false, node, profiles.Network{}, ip("10.0.0.4")},
		{"asked for", device, false, node, external, ip("203.0.113.5")},
		{"none of the family", device, false, profiles.NetdNode{ExternalAddresses: node.ExternalAddresses[:1]}, external, ip("10.0.0.4")},
		{"no underlay", Device{}, true, node, external, netip.Addr{}},
	} {
		if got := Published(c.device, c.ipv6, c.node, c.network); got != c.want {
			t.Errorf("%s: published is %v, want %v", c.name, got, c.want)
		}
	}
	got, err := Choose(busy, false, nil, external)
	chosen{device: "ens3", address: "10.0.0.4"}.check(t, got, err)
}

func TestBroadcastAddressIsTheLastOfTheNetwork(t *testing.T) {
	for net, want := range map[string]string{"10.0.0.0/24": "10.0.0.255", "10.0.0.0/8": "10.255.255.255", "192.168.7.16/30": "192.168.7.19",
		"192.168.7.16/31": "", "192.168.7.16/32": "", "fd00::/64": "", "": ""} {
		d := Device{}
		if net != "" {
			d.Net = netip.MustParsePrefix(net)
		}
		if got := d.Broadcast(); got.IsValid() != (want != "") || want != "" && got.String() != want {
			t.Errorf("%s: %s, want %s", net, got, want)
		}
	}
}
