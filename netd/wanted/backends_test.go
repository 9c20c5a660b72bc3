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

func hostGWNetwork() profiles.Network {
	n := dual()
	n.Backend = profiles.Backend{Type: "host-gw"}
	return n
}

// onLink is a node that reaches the sound leases of the tests on eth0.
func onLink() Node {
	node := testNode()
	node.Direct = map[netip.Addr]int{addr("10.0.0.2"): 2, addr("10.0.0.3"): 2, addr("fd00:10::2"): 2, addr("fd00:10::3"): 2}
	return node
}

// of gives leases another backend, without what vxlan needs.
func of(backend string, l lease.Lease) lease.Lease {
	l.Backend, l.IPv4.MAC, l.IPv6.MAC, l.IPv4.VNI, l.IPv6.VNI = backend, "", "", 0, 0
	return l
}

// Section "host-gw" of flannel's behaviour.
func TestHostGWIsARouteToThePeersAddressAndNothingElse(t *testing.T) {
	p := plan(t, onLink(), hostGWNetwork(), of(lease.HostGW, sound()))
	two4, two6 := prefix("10.244.2.0/24"), prefix("fd42:0:0:2::/64")
	want := State{Routes: []Route{
		guard(prefix("10.244.1.0/24")),
		{Dst: two4, Via: addr("10.0.0.2"), Link: "eth0", Protocol: ProtocolFor(two4)},
		guard(prefix("fd42:0:0:1::/64")),
		{Dst: two6, Via: addr("fd00:10::2"), Link: "eth0", Metric: 1024, Protocol: ProtocolFor(two6)},
	}}
	if !reflect.DeepEqual(p.State, want) || len(p.Refusals) != 0 {
		t.Errorf("state is %+v, refusals %v\nwant %+v", p.State, p.Refusals, want)
	}
}

func TestBackendsThatAddNothingHaveTheMTUOfTheUnderlay(t *testing.T) {
	for _, kind := range []string{"host-gw", "none"} {
		network := dual()
		network.Backend = profiles.Backend{Type: kind}
		if mtu := MTU(testNode(), network); mtu != 1500 {
			t.Errorf("%s: MTU is %d, want 1500", kind, mtu)
		}
		network.Backend.MTU = 1400
		if mtu := MTU(testNode(), network); mtu != 1400 {
			t.Errorf("%s: MTU is %d, want the one said, 1400", kind, mtu)
		}
		node := testNode()
		node.Underlay.IPv6.MTU = 1200
		if p := plan(t, node, network); len(p.Refusals) != 1 || !strings.Contains(p.Refusals[0].Reason, "1280 bytes that IPv6 needs") {
			t.Errorf("%s: refusals are %v", kind, p.Refusals)
		}
	}
	if mtu := MTU(testNode(), dual()); mtu != 1430 {
		t.Errorf("vxlan: MTU is %d, want the smaller one, 1430", mtu)
	}
}

func TestHostGWRefusesWhatIsNotOnTheLink(t *testing.T) {
	node := onLink()
	node.Direct[addr("10.0.0.2")] = 9 // on a link, but not the underlay's
	delete(node.Direct, addr("fd00:10::2"))
	p := plan(t, node, hostGWNetwork(), of(lease.HostGW, sound()), of(lease.HostGW, third()))
	if len(p.Refusals) != 2 || len(toPeers(p.State)) != 2 {
		t.Fatalf("refusals %v, routes %v", p.Refusals, p.State.Routes)
	}
	for _, r := range p.Refusals {
		if !strings.Contains(r.Reason, "host-gw needs the peers on one link") || !strings.Contains(r.Fix, "use vxlan or wireguard") {
			t.Errorf("refusal is %v", r)
		}
	}
}

func TestHostGWRefusesAnAddressThatIsNotTheDevices(t *testing.T) {
	node := onLink()
	node.External4 = addr("192.0.2.1")
	p := plan(t, node, hostGWNetwork(), of(lease.HostGW, sound()))
	if len(p.Refusals) != 1 || p.Refusals[0].Node != "self" || !strings.Contains(p.Refusals[0].Reason, "192.0.2.1") ||
		!strings.Contains(p.Refusals[0].Fix, "externalIP") || len(toPeers(p.State)) != 1 {
		t.Errorf("refusals %v, routes %v; want this node refused for IPv4", p.Refusals, p.State.Routes)
	}
}

// A network that changes between vxlan and host-gw: who is on the link is
// reached in any combination, who is not is refused with what to do.
func TestPeersOfTheOtherBackend(t *testing.T) {
	other := func(backend string) lease.Lease {
		if backend == lease.VXLAN {
			return sound()
		}
		return of(backend, sound())
	}
	cases := []struct {
		here, there string
		direct      bool
		plain       bool
		refused     string
		keep        []Kind
	}{
		{"vxlan", "vxlan", true, false, "", nil},
		{"vxlan", "host-gw", true, true, "", nil},
		{"vxlan", "host-gw", false, false, "not on this node's link", nil},
		{"vxlan", "wireguard", true, false, "use one backend", nil},
		{"vxlan", "none", true, false, "use one backend", nil},
		{"host-gw", "host-gw", true, true, "", nil},
		{"host-gw", "vxlan", true, true, "", []Kind{KindVXLAN}},
		{"host-gw", "vxlan", false, false, "not on this node's link", []Kind{KindVXLAN}},
		{"host-gw", "wireguard", true, false, "use one backend", nil},
	}
	for _, c := range cases {
		node, network := testNode(), dual()
		network.Backend = profiles.Backend{Type: c.here}
		if c.direct {
			node = onLink()
		}
		p := plan(t, node, network, other(c.there))
		if !slices.Equal(p.Keep, c.keep) {
			t.Errorf("%+v: kept are %v", c, p.Keep)
		}
		if c.refused != "" {
			if len(p.Peers) != 0 || len(p.Refusals) != 2 || !strings.Contains(p.Refusals[0].Reason+p.Refusals[0].Fix, c.refused) {
				t.Errorf("%+v: peers %v, refusals %v", c, p.Peers, p.Refusals)
			}
			continue
		}
		if len(p.Peers) != 2 || p.Peers[0].Plain != c.plain || p.Peers[0].Backend != c.there {
			t.Errorf("%+v: peers are %+v, refusals %v", c, p.Peers, p.Refusals)
		}
	}
}

func TestBackendNoneTakesLeasesOfAnyAndMakesNothing(t *testing.T) {
	network := dual()
	network.Backend = profiles.Backend{Type: "none"}
	p := plan(t, testNode(), network, sound(), of(lease.HostGW, third()))
	if !reflect.DeepEqual(p.State, State{Routes: []Route{}}) || len(p.Peers) != 4 {
		t.Errorf("state is %+v, peers %v, refusals %v", p.State, p.Peers, p.Refusals)
	}
}

// One more lease comes to the same with plain routes, too.
func TestHostGWPlanWithOneMoreLeaseIsThePlanOfAll(t *testing.T) {
	node := onLink()
	all := plan(t, node, hostGWNetwork(), of(lease.HostGW, sound()), of(lease.HostGW, third()))
	first := plan(t, node, hostGWNetwork(), of(lease.HostGW, sound()))
	if _, _, simple := first.With(of(lease.HostGW, third()), nil); simple {
		t.Error("a lease that is not known to be on the link was simple")
	}
	more, _, simple := first.With(of(lease.HostGW, third()), node.Direct)
	if !simple || !reflect.DeepEqual(more.State, all.State) {
		t.Errorf("simple %t, state\n%+v\nwant\n%+v", simple, more.State, all.State)
	}
	if _, _, simple := first.With(third(), node.Direct); simple {
		t.Error("a lease of another backend was simple")
	}
}

func TestNodeWithoutSubnetsWantsNothingAndRefusesNobody(t *testing.T) {
	node := testNode()
	node.IPv4, node.IPv6 = netip.Prefix{}, netip.Prefix{}
	p := plan(t, node, dual(), sound())
	if len(p.Refusals) != 0 || len(p.Peers) != 0 || len(p.State.Links) != 0 {
		t.Errorf("plan is %+v", p)
	}
	if _, _, simple := p.With(third(), nil); simple {
		t.Error("a lease joined a node without subnets")
	}
}

// Peers of one WireGuard device and key, one of each family, are one.
func TestWireGuardPeersOfOneKeyAreOne(t *testing.T) {
	key := Key{1}
	a, b := prefix("10.244.2.0/24"), prefix("fd42:0:0:2::/64")
	s := State{Peers: []WGPeer{
		{Link: "flannel-wg", PublicKey: key, AllowedIPs: []netip.Prefix{b}},
		{Link: "flannel-wg", PublicKey: key, Endpoint: netip.MustParseAddrPort("10.0.0.2:51820"), AllowedIPs: []netip.Prefix{a}},
		{Link: "flannel-wg", PublicKey: Key{}, AllowedIPs: []netip.Prefix{a}},
	}}
	s.Sort()
	want := WGPeer{Link: "flannel-wg", PublicKey: key, Endpoint: netip.MustParseAddrPort("10.0.0.2:51820"), AllowedIPs: []netip.Prefix{a, b}}
	if len(s.Peers) != 2 || !s.Peers[1].Equal(want) {
		t.Errorf("peers are %v, want %v as the second", s.Peers, want)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("not base64")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseKey(text)
		if err != nil {
			return
		}
		if key == (Key{}) {
			t.Errorf("%q was taken", text)
		}
		if again, err := ParseKey(key.String()); err != nil || again != key {
			t.Errorf("%s reads back as %s, %v", key, again, err)
		}
	})
}
