package link

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/profiles"
)

var mac = net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}

// nic is a physical Ethernet device.
func nic(name string) Device {
	return Device{Index: 2, Name: name, MAC: mac, Driver: "virtio_net", Ethernet: true, Physical: true}
}

func TestWithoutAListEveryPhysicalEthernetDeviceIsAnUplink(t *testing.T) {
	wifi, tunnel := nic("wlan0"), nic("flannel.1")
	wifi.Wireless = true
	tunnel.Physical = false
	for name, c := range map[string]struct {
		d    Device
		want bool
	}{
		"Ethernet":         {nic("eth0"), true},
		"a pod's device":   {Device{Name: "veth12", Ethernet: true}, false},
		"a tunnel":         {tunnel, false},
		"loopback":         {Device{Name: "lo"}, false},
		"a serial line":    {Device{Name: "ppp0", Physical: true}, false},
		"without a driver": {Device{Name: "eth1", Ethernet: true, Physical: true}, true},
		"wireless":         {wifi, false},
	} {
		if _, _, ok := Choose(c.d, nil); ok != c.want {
			t.Errorf("%s: %v", name, ok)
		}
	}
}

func TestMatches(t *testing.T) {
	bond := Device{Name: "bond0", MAC: mac, Ethernet: true}
	for name, c := range map[string]struct {
		d    Device
		m    profiles.Match
		want bool
	}{
		"by name":                          {nic("eth0"), profiles.Match{Name: "eth0"}, true},
		"by glob":                          {nic("enp3s0"), profiles.Match{Name: "en*"}, true},
		"by MAC, however written":          {nic("eth0"), profiles.Match{MAC: "52-54-00-12-34-56"}, true},
		"by driver, however written":       {nic("eth0"), profiles.Match{Driver: "virtio-net"}, true},
		"all of it":                        {nic("eth0"), profiles.Match{Name: "eth*", MAC: mac.String(), Driver: "virtio_net"}, true},
		"one thing wrong":                  {nic("eth0"), profiles.Match{Name: "eth*", Driver: "e1000"}, false},
		"another MAC":                      {nic("eth0"), profiles.Match{MAC: "52:54:00:12:34:57"}, false},
		"a broken MAC":                     {nic("eth0"), profiles.Match{MAC: "nonsense"}, false},
		"a broken glob":                    {nic("eth0"), profiles.Match{Name: "[eth0"}, false},
		"nothing given":                    {nic("eth0"), profiles.Match{}, false},
		"a bond by its name":               {bond, profiles.Match{Name: "bond0"}, true},
		"a bond by a glob":                 {bond, profiles.Match{Name: "b*"}, false},
		"a pod that copies a MAC":          {Device{Name: "veth1", MAC: mac, Ethernet: true}, profiles.Match{MAC: mac.String()}, false},
		"no bridge by the name of another": {Device{Name: "cni0", Ethernet: true}, profiles.Match{Name: "eth0"}, false},
	} {
		if got := Matches(c.d, c.m); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTheFirstEntryThatMatchesCounts(t *testing.T) {
	links := []profiles.Link{{Match: profiles.Match{Name: "eth1"}}, {Match: profiles.Match{Name: "eth*"}, MTU: 9000}}
	if l, place, ok := Choose(nic("eth0"), links); !ok || place != 1 || l.MTU != 9000 {
		t.Errorf("%+v at %d, %v", l, place, ok)
	}
	if _, _, ok := Choose(nic("wan0"), links); ok {
		t.Error("a device that is not listed is an uplink")
	}
}

func TestWhatALinkAsksFor(t *testing.T) {
	yes, no := true, false
	static4 := []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}
	static6 := []netip.Prefix{netip.MustParsePrefix("fd00::2/64")}
	for name, c := range map[string]struct {
		l      profiles.Link
		dhcp   bool
		advert bool
	}{
		"nothing said":         {profiles.Link{}, true, true},
		"a static IPv4":        {profiles.Link{Addresses: static4}, false, true},
		"a static IPv6 only":   {profiles.Link{Addresses: static6}, true, true},
		"static and DHCP":      {profiles.Link{Addresses: static4, DHCP4: &yes}, true, true},
		"neither":              {profiles.Link{DHCP4: &no, RouterAdvertisements: &no}, false, false},
		"no router, but DHCP4": {profiles.Link{RouterAdvertisements: &no}, true, false},
	} {
		if d, a := WantsDHCP(c.l), WantsAdvertisements(c.l); d != c.dhcp || a != c.advert {
			t.Errorf("%s: DHCP %v, advertisements %v", name, d, a)
		}
	}
}

func TestReadDevice(t *testing.T) {
	sys := t.TempDir()
	dir := filepath.Join(sys, "class/net/eth0")
	if err := os.MkdirAll(filepath.Join(dir, "device"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "type"), []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../bus/virtio/drivers/virtio_net", filepath.Join(dir, "device/driver")); err != nil {
		t.Fatal(err)
	}
	if d, want := ReadDevice(sys, 2, "eth0", mac), nic("eth0"); d.Driver != want.Driver || !d.Ethernet || !d.Physical || d.Wireless {
		t.Errorf("%+v", d)
	}
	if d := ReadDevice(sys, 1, "lo", nil); d.Ethernet || d.Physical {
		t.Errorf("%+v", d)
	}
}

func TestReached(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")
	up := func(place int, carrier bool, addrs ...netip.Addr) Uplink {
		return Uplink{Device: nic("eth0"), Place: place, Carrier: carrier, Addresses: addrs}
	}
	two := []profiles.Link{
		{Match: profiles.Match{Name: "eth0"}, Addresses: []netip.Prefix{netip.PrefixFrom(a, 24), netip.PrefixFrom(b, 64)}},
		{Match: profiles.Match{Name: "eth1", Driver: "e1000"}},
	}
	for name, c := range map[string]struct {
		links []profiles.Link
		ups   []Uplink
		want  string // empty for reached
	}{
		"one of any has an address":  {nil, []Uplink{up(0, false), up(0, true, b)}, ""},
		"no carrier":                 {nil, []Uplink{up(0, false)}, "eth0 has no carrier"},
		"nobody answers":             {nil, []Uplink{up(0, true)}, "no DHCP server"},
		"no device":                  {nil, nil, "no network device"},
		"all that is asked is there": {two, []Uplink{up(0, true, a, b), up(1, true, a)}, ""},
		"an address is missing":      {two, []Uplink{up(0, true, a), up(1, true, a)}, "not all of its addresses"},
		"a device is missing":        {two, []Uplink{up(0, true, a, b)}, "no device matches links[1] (name eth1, driver e1000)"},
	} {
		ok, why := Reached(c.links, c.ups)
		if ok != (c.want == "") || !strings.Contains(why, c.want) {
			t.Errorf("%s: %v, %q", name, ok, why)
		}
	}
}

func TestResolv(t *testing.T) {
	addr := netip.MustParseAddr
	for name, c := range map[string]struct {
		ups  []Uplink
		want string
	}{
		"none": {nil, "# no name server is known\n"},
		"in order, once each, three at most": {
			[]Uplink{{DNS: []netip.Addr{addr("10.0.0.1"), addr("fe80::1%eth0"), addr("fd00::1")}, Domains: []string{"a.example"}},
				{DNS: []netip.Addr{addr("10.0.0.1"), addr("10.0.0.2"), addr("10.0.0.3")}, Domains: []string{"a.example"}}},
			"search a.example\nnameserver 10.0.0.1\nnameserver fd00::1\nnameserver 10.0.0.2\n",
		},
		"a domain that would write lines": {
			[]Uplink{{DNS: []netip.Addr{addr("10.0.0.1")}, Domains: []string{"x\nnameserver 6.6.6.6"}}}, "nameserver 10.0.0.1\n",
		},
	} {
		if got := Resolv(c.ups); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
