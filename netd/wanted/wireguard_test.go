package wanted

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weft/netd/lease"
	"weft/profiles"
)

func wgNetwork(mode string) profiles.Network {
	n := dual()
	n.Backend = profiles.Backend{Type: "wireguard-native", Mode: mode}
	return n
}

func wgNode() Node {
	n := testNode()
	n.PublicKey = Key{1}
	return n
}

// wgLease is the lease of node 2 in flannel's form.
func wgLease() lease.Lease {
	l := sound()
	l.Backend, l.UUID = "wireguard", "22222222-2222-4222-8222-222222222222"
	l.IPv4.MAC, l.IPv6.MAC = "", ""
	l.IPv4.PublicKey, l.IPv6.PublicKey = Key{2}.String(), Key{2}.String()
	l.IPv4.Port, l.IPv6.Port = 51820, 51821
	return l
}

// The state of section "wireguard separate" of flannel's behaviour.
func TestWireGuardHasADeviceForEachFamily(t *testing.T) {
	got := plan(t, wgNode(), wgNetwork(""), wgLease()).State
	link := func(name string, port int) Link {
		return Link{Name: name, Kind: KindWireGuard, Alias: Mark, MTU: 1420, Up: true, ChecksumOffload: true,
			WireGuard: WireGuard{PublicKey: Key{1}, Port: port}}
	}
	want := State{
		Links:     []Link{link("flannel-wg", 51820), link("flannel-wg-v6", 51821)},
		Addresses: []Address{{"flannel-wg", prefix("10.244.1.0/32")}, {"flannel-wg-v6", prefix("fd42:0:0:1::/128")}},
		Routes: []Route{
			{Dst: prefix("10.244.0.0/16"), Link: "flannel-wg", Protocol: ProtocolFor(prefix("10.244.0.0/16"))},
			guard(prefix("10.244.1.0/24")),
			{Dst: prefix("fd42::/48"), Link: "flannel-wg-v6", Metric: 1024, Protocol: ProtocolFor(prefix("fd42::/48"))},
			guard(prefix("fd42:0:0:1::/64")),
		},
		Peers: []WGPeer{
			{Link: "flannel-wg", PublicKey: Key{2}, Endpoint: addrPort("10.0.0.2:51820"), AllowedIPs: prefixList("10.244.2.0/24")},
			{Link: "flannel-wg-v6", PublicKey: Key{2}, Endpoint: addrPort("[fd00:10::2]:51821"), AllowedIPs: prefixList("fd42:0:0:2::/64")},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("state is\n%+v\nwant\n%+v", got, want)
	}
}

// The cases of flannel's selectPublicEndpoint.
func TestModeChoosesTheUnderlay(t *testing.T) {
	cases := []struct {
		name, mode  string
		four, six   string // the peer's addresses
		own6        string
		want        string
		wantRefusal bool
	}{
		{"auto takes IPv4", "auto", "198.51.100.2", "2001:db8::2", "2001:db8::1", "198.51.100.2:51820", false},
		{"auto takes IPv6 when IPv4 is private and both have public IPv6", "auto", "10.0.0.2", "2001:db8::2", "2001:db8::1", "[2001:db8::2]:51820", false},
		{"auto stays with private IPv4 when the own IPv6 is private", "auto", "10.0.0.2", "2001:db8::2", "fd00:10::1", "10.0.0.2:51820", false},
		{"auto takes IPv6 when there is nothing else", "auto", "", "2001:db8::2", "2001:db8::1", "[2001:db8::2]:51820", false},
		{"IPv4", "ipv4", "10.0.0.2", "2001:db8::2", "2001:db8::1", "10.0.0.2:51820", false},
		{"IPv6", "ipv6", "10.0.0.2", "2001:db8::2", "2001:db8::1", "[2001:db8::2]:51820", false},
		{"IPv4 of a peer without", "ipv4", "", "2001:db8::2", "2001:db8::1", "", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			node, l := wgNode(), wgLease()
			node.Underlay.IPv6.Address = addr(c.own6)
			l.IPv4.Address, l.IPv6.Address = addrOr(c.four), addrOr(c.six)
			l.IPv4.Port, l.IPv6.Port = 0, 0
			p := plan(t, node, wgNetwork(c.mode), l)
			if c.wantRefusal {
				if len(p.Refusals) == 0 || len(p.State.Peers) > 0 {
					t.Errorf("peers %v, refusals %v", p.State.Peers, p.Refusals)
				}
				return
			}
			want := []WGPeer{{Link: "flannel-wg", PublicKey: Key{2}, Endpoint: addrPort(c.want),
				AllowedIPs: prefixList("10.244.2.0/24", "fd42:0:0:2::/64")}}
			if !reflect.DeepEqual(p.State.Peers, want) || len(p.State.Links) != 1 || len(p.State.Addresses) != 2 {
				t.Errorf("peers %+v, %d devices, %d addresses, refusals %v; want %+v", p.State.Peers, len(p.State.Links), len(p.State.Addresses), p.Refusals, want)
			}
		})
	}
}

func TestLeaseWithABadWireGuardKeyCostsOnlyItself(t *testing.T) {
	for _, c := range []struct{ name, key, reason string }{
		{"none", "", "no WireGuard key"},
		{"nonsense", "zzz", "not 32 bytes"},
		{"zeros", Key{}.String(), "key of zeros"},
		{"this node's own", Key{1}.String(), "this node's own"},
		{"that of another", Key{2}.String(), "already the one of two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := wgLease()
			bad.Node, bad.UUID = "three", ""
			bad.IPv4.Subnet, bad.IPv6.Subnet = prefix("10.244.3.0/24"), prefix("fd42:0:0:3::/64")
			bad.IPv4.Address, bad.IPv6.Address = addr("10.0.0.3"), addr("fd00:10::3")
			bad.IPv4.PublicKey, bad.IPv6.PublicKey = c.key, c.key
			p := plan(t, wgNode(), wgNetwork(""), wgLease(), bad)
			if len(p.State.Peers) != 2 || len(p.Refusals) != 2 || !strings.Contains(p.Refusals[0].Reason, c.reason) {
				t.Errorf("%d peers, refusals %v", len(p.State.Peers), p.Refusals)
			}
		})
	}
}

func TestPeerOnTheLaneIsInBothDevicesAndRouted(t *testing.T) {
	node, l := wgNode(), wgLease()
	node.Lane = Lane{PublicKey: Key{10}, Port: 51822, PortV6: 51823, Ways: map[Key]Way{{2}: {Main: true, Lane: true, Via: true, Provoke: true}}}
	l.Lane = lease.Lane{PublicKey: Key{20}.String(), Port: 51822, PortV6: 51823}
	s := plan(t, node, wgNetwork(""), l).State
	if len(s.Links) != 4 || len(s.Addresses) != 4 || len(s.Peers) != 4 || len(toPeers(s)) != 4 {
		t.Fatalf("%d links, %d addresses, %d peers, %d routes", len(s.Links), len(s.Addresses), len(s.Peers), len(toPeers(s)))
	}
	for _, want := range []WGPeer{
		{Link: "flannel-wg.1", PublicKey: Key{20}, Endpoint: addrPort("10.0.0.2:51822"), AllowedIPs: prefixList("10.244.2.0/24"), Keepalive: laneKeepalive},
		{Link: "flannel-wg-v6.1", PublicKey: Key{20}, Endpoint: addrPort("[fd00:10::2]:51823"), AllowedIPs: prefixList("fd42:0:0:2::/64"), Keepalive: laneKeepalive},
		{Link: "flannel-wg", PublicKey: Key{2}, Endpoint: addrPort("10.0.0.2:51820"), AllowedIPs: prefixList("10.244.2.0/24"), Keepalive: 1},
	} {
		if !containsPeer(s.Peers, want) {
			t.Errorf("no %+v in %+v", want, s.Peers)
		}
	}
	for _, l := range s.Links {
		if IsLane(l.Name) != strings.HasSuffix(l.Name, ".1") || len(l.Name) > 15 { // IFNAMSIZ - 1
			t.Errorf("device %s", l.Name)
		}
	}
}

func TestLanePortsAreFree(t *testing.T) {
	for _, c := range []struct{ port, portV6, lane, laneV6 int }{
		{0, 0, 51822, 51823}, {51820, 51822, 51823, 51824}, {9, 5, 10, 11}, {65534, 65535, 65532, 65533}, {65535, 300, 298, 299},
	} {
		lane, laneV6 := LanePorts(profiles.Backend{ListenPort: c.port, ListenPortV6: c.portV6})
		if int(lane) != c.lane || int(laneV6) != c.laneV6 {
			t.Errorf("beside %d and %d: %d and %d, want %d and %d", c.port, c.portV6, lane, laneV6, c.lane, c.laneV6)
		}
	}
}

// What carries a family of pods may be of the other, and must not be among its
// pods either.
func TestNoPeerIsReachedAtAPodOfTheOtherFamily(t *testing.T) {
	one := wgLease()
	one.IPv4.Address = addr("10.244.9.9")
	p := plan(t, wgNode(), wgNetwork(profiles.ModeIPv4), one)
	if len(p.Peers) != 0 || len(p.Refusals) != 2 {
		t.Fatalf("peers are %v, refusals %v", p.Peers, p.Refusals)
	}
	for _, r := range p.Refusals {
		if r.Kind != RefusedAddress || !strings.Contains(r.Reason, "inside the pod network 10.244.0.0/16") {
			t.Errorf("refusal is %v", r)
		}
	}
}

func TestWireGuardMTUIsFlannels(t *testing.T) {
	n := wgNetwork("")
	n.Backend.MTU = 1300
	if l := plan(t, wgNode(), n, wgLease()).State.Links[0]; l.MTU != 1300 {
		t.Errorf("MTU is %d, want the backend's", l.MTU)
	}
	n.Backend.MTU = 9000
	if l := plan(t, wgNode(), n, wgLease()).State.Links[0]; l.MTU != 1420 {
		t.Errorf("MTU is %d, want what the underlay carries", l.MTU)
	}
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func addrOr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}

func prefixList(all ...string) (list []netip.Prefix) {
	for _, s := range all {
		list = append(list, prefix(s))
	}
	return list
}

func containsPeer(all []WGPeer, want WGPeer) bool {
	return slices.ContainsFunc(all, want.Equal)
}
