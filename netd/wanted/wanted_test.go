package wanted

import (
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weft/netd/lease"
	"weft/netd/underlay"
	"weft/profiles"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// testNode is a node of both families on eth0.
func testNode() Node {
	return Node{
		Name: "self", MAC: MAC{2, 0, 0, 0, 0, 1}, IPv4: prefix("10.244.1.0/24"), IPv6: prefix("fd42:0:0:1::/64"),
		Underlay: underlay.Choice{
			IPv4: underlay.Device{Index: 2, Name: "eth0", MTU: 1500, Address: addr("10.0.0.1"), Net: prefix("10.0.0.0/24")},
			IPv6: underlay.Device{Index: 2, Name: "eth0", MTU: 1500, Address: addr("fd00:10::1")},
		},
	}
}

func dual() profiles.Network {
	return profiles.Network{Pods: []netip.Prefix{prefix("10.244.0.0/16"), prefix("fd42::/48")},
		Backend: profiles.Backend{Type: "vxlan"}}
}

// sound is the lease of node 2.
func sound() lease.Lease {
	return lease.Lease{Node: "two", Backend: "vxlan",
		IPv4: lease.Half{Subnet: prefix("10.244.2.0/24"), Address: addr("10.0.0.2"), MAC: "02:00:00:00:00:02"},
		IPv6: lease.Half{Subnet: prefix("fd42:0:0:2::/64"), Address: addr("fd00:10::2"), MAC: "02:00:00:00:00:02"}}
}

// third is the lease of node 3.
func third() lease.Lease {
	return lease.Lease{Node: "three", Backend: "vxlan",
		IPv4: lease.Half{Subnet: prefix("10.244.3.0/24"), Address: addr("10.0.0.3"), MAC: "02:00:00:00:00:03"},
		IPv6: lease.Half{Subnet: prefix("fd42:0:0:3::/64"), Address: addr("fd00:10::3"), MAC: "02:00:00:00:00:03"}}
}

func plan(t *testing.T, node Node, network profiles.Network, leases ...lease.Lease) Plan {
	t.Helper()
	p, err := For(node, network, leases)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The state of section "vxlan dual stack" of flannel's behaviour.
func TestOnePeerTakesRouteNeighbourAndFDBEntryInEachFamily(t *testing.T) {
	got := plan(t, testNode(), dual(), sound()).State
	two := MAC{2, 0, 0, 0, 0, 2}
	link := func(name string, mtu int, local string) Link {
		return Link{Name: name, Kind: KindVXLAN, Alias: Mark, MAC: MAC{2, 0, 0, 0, 0, 1}, MTU: mtu, Up: true,
			ChecksumOffload: true, VXLAN: VXLAN{VNI: 1, Port: 8472, Local: addr(local), Underlay: 2}}
	}
	want := State{
		Links:     []Link{link("flannel-v6.1", 1430, "fd00:10::1"), link("flannel.1", 1450, "10.0.0.1")},
		Addresses: []Address{{"flannel.1", prefix("10.244.1.0/32")}, {"flannel-v6.1", prefix("fd42:0:0:1::/128")}},
		Routes: []Route{
			guard(prefix("10.244.1.0/24")),
			{Dst: prefix("10.244.2.0/24"), Via: addr("10.244.2.0"), Link: "flannel.1", OnLink: true, Protocol: ProtocolFor(prefix("10.244.2.0/24"))},
			guard(prefix("fd42:0:0:1::/64")),
			{Dst: prefix("fd42:0:0:2::/64"), Via: addr("fd42:0:0:2::"), Link: "flannel-v6.1", OnLink: true, Metric: 1024, Protocol: ProtocolFor(prefix("fd42:0:0:2::/64"))},
		},
		FDB: []FDBEntry{{"flannel-v6.1", two, addr("fd00:10::2")}, {"flannel.1", two, addr("10.0.0.2")}},
		Neighs: []Neighbour{
			{"flannel.1", addr("10.244.2.0"), two}, {"flannel-v6.1", addr("fd42:0:0:2::"), two}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("state is\n%+v\nwant\n%+v", got, want)
	}
}

// Each case spoils one lease; the sound ones of other nodes must stay.
func TestBadLeaseCostsOnlyItself(t *testing.T) {
	cases := []struct {
		name   string
		spoil  func(l *lease.Lease)
		reason string
		// sound is how many families of the spoilt lease are still honoured.
		sound int
	}{
		{"outside the network", func(l *lease.Lease) { l.IPv4.Subnet = prefix("192.168.7.0/24") }, "outside the network 10.244.0.0/16", 1},
		{"wider than the network", func(l *lease.Lease) { l.IPv4.Subnet = prefix("10.0.0.0/8") }, "outside the network", 1},
		{"everything", func(l *lease.Lease) { l.IPv4.Subnet = prefix("0.0.0.0/0") }, "outside the network", 1},
		{"overlapping our own subnet", func(l *lease.Lease) { l.IPv4.Subnet = prefix("10.244.1.128/25") }, "overlaps this node's own", 1},
		{"the whole network", func(l *lease.Lease) { l.IPv4.Subnet = prefix("10.244.0.0/16") }, "overlaps this node's own", 1},
		{"the subnet of another", func(l *lease.Lease) { l.IPv4.Subnet = prefix("10.244.2.0/24") }, "overlaps the one of two", 1},
		{"inside the subnet of another", func(l *lease.Lease) { l.IPv4.Subnet = prefix("10.244.2.64/26") }, "overlaps the one of two", 1},
		{"around the subnet of another", func(l *lease.Lease) { l.IPv4.Subnet = prefix("10.244.2.0/23") }, "overlaps the one of two", 1},
		{"IPv6 around the subnet of another", func(l *lease.Lease) { l.IPv6.Subnet = prefix("fd42:0:0:2::/63") }, "overlaps the one of two", 1},
		{"host bits", func(l *lease.Lease) { l.IPv4.Subnet = prefix("10.244.3.7/24") }, "host bits", 1},
		{"the address of another", func(l *lease.Lease) { l.IPv4.Address = addr("10.0.0.2") }, "already the one of two", 1},
		{"our own address", func(l *lease.Lease) { l.IPv4.Address = addr("10.0.0.1") }, "this node's own", 1},
		{"loopback", func(l *lease.Lease) { l.IPv4.Address = addr("127.0.0.1") }, "not one a peer can be reached at", 1},
		{"multicast", func(l *lease.Lease) { l.IPv6.Address = addr("ff02::1") }, "not one a peer can be reached at", 1},
		{"an address inside the pod network", func(l *lease.Lease) { l.IPv4.Address = addr("10.244.9.9") }, "inside the pod network", 1},
		{"no address", func(l *lease.Lease) { l.IPv4.Address = netip.Addr{} }, "no IPv4 address", 1},
		{"IPv4 in the place of IPv6", func(l *lease.Lease) { l.IPv6.Address = addr("10.0.0.3") }, "not one a peer can be reached at", 1},
		{"no MAC", func(l *lease.Lease) { l.IPv4.MAC = "" }, "is not a MAC address", 1},
		{"nonsense for a MAC", func(l *lease.Lease) { l.IPv4.MAC = "zz:zz" }, "is not a MAC address", 1},
		{"an InfiniBand MAC", func(l *lease.Lease) { l.IPv4.MAC = "02:00:00:00:00:00:00:03" }, "is not a MAC address", 1},
		{"a multicast MAC", func(l *lease.Lease) { l.IPv4.MAC = "01:00:5e:00:00:01" }, "multicast", 1},
		{"a zero MAC", func(l *lease.Lease) { l.IPv4.MAC = "00:00:00:00:00:00" }, "no address of a device", 1},
		{"the MAC of another", func(l *lease.Lease) { l.IPv4.MAC = "02:00:00:00:00:02" }, "already the one of two", 1},
		{"a family missing", func(l *lease.Lease) { l.IPv6 = lease.Half{} }, "no IPv6 subnet", 1},
		{"another VNI", func(l *lease.Lease) { l.IPv4.VNI = 7 }, "VNI is 7, here it is 1", 1},
		{"another backend", func(l *lease.Lease) { l.Backend = "host-gw" }, `backend is "host-gw"`, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bad := third()
			c.spoil(&bad)
			p := plan(t, testNode(), dual(), sound(), bad)
			if want := 2 + c.sound; len(p.Peers) != want || len(toPeers(p.State)) != want {
				t.Errorf("%d peers and %d routes, want %d", len(p.Peers), len(toPeers(p.State)), want)
			}
			if len(p.Refusals) != 2-c.sound {
				t.Fatalf("refusals are %v, want %d", p.Refusals, 2-c.sound)
			}
			r := p.Refusals[0]
			if r.Node != "three" || !strings.Contains(r.Reason, c.reason) || r.Fix == "" {
				t.Errorf("refusal is %v, want one of three with %q and a fix", r, c.reason)
			}
		})
	}
}

func TestLeaseOfAFamilyTheNetworkLacksIsRefused(t *testing.T) {
	network := dual()
	network.Pods = network.Pods[:1]
	p := plan(t, testNode(), network, sound())
	if len(p.Peers) != 1 || len(p.Refusals) != 1 || !strings.Contains(p.Refusals[0].Reason, "has no IPv6 here") {
		t.Errorf("%d peers, refusals %v", len(p.Peers), p.Refusals)
	}
}

func TestFamilyWithoutUnderlayIsLeftOut(t *testing.T) {
	node := testNode()
	node.Underlay.IPv6 = underlay.Device{}
	p := plan(t, node, dual(), sound())
	if len(p.State.Links) != 1 || len(toPeers(p.State)) != 1 || len(p.Peers) != 2 {
		t.Errorf("%d links, %d routes, %d peers; want 1, 1 and both peers", len(p.State.Links), len(toPeers(p.State)), len(p.Peers))
	}
}

func TestUnderlayTooSmallForIPv6IsTold(t *testing.T) {
	node := testNode()
	node.Underlay.IPv6.MTU = 1300
	p := plan(t, node, dual(), sound())
	if len(p.State.Links) != 1 || len(p.Refusals) != 1 || !strings.Contains(p.Refusals[0].Reason, "below the 1280 bytes that IPv6 needs") {
		t.Errorf("%d links, refusals %v", len(p.State.Links), p.Refusals)
	}
}

func TestPeerOnTheLinkGetsAPlainRouteWithDirectRouting(t *testing.T) {
	network, node := dual(), testNode()
	network.Backend.DirectRouting = true
	node.Direct = map[netip.Addr]int{addr("10.0.0.2"): 2}
	s := plan(t, node, network, sound()).State
	want := Route{Dst: prefix("10.244.2.0/24"), Via: addr("10.0.0.2"), Link: "eth0", Protocol: ProtocolFor(prefix("10.244.2.0/24"))}
	if r := toPeers(s); r[0] != want || len(s.FDB) != 1 || len(s.Neighs) != 1 || !r[1].OnLink {
		t.Errorf("routes %v, FDB %v, neighbours %v; want %v and a tunnel for IPv6 only", s.Routes, s.FDB, s.Neighs, want)
	}
}

func TestBackendOptionsReachTheDevice(t *testing.T) {
	off := false
	network := dual()
	network.Backend = profiles.Backend{Type: "vxlan", VNI: 7, Port: 4789, MTU: 1400, Learning: true, GBP: true, ChecksumOffload: &off}
	l := plan(t, testNode(), network).State.Links[1]
	want := VXLAN{VNI: 7, Port: 4789, Local: addr("10.0.0.1"), Underlay: 2, Learning: true, GBP: true}
	if l.Name != "flannel.7" || l.VXLAN != want || l.MTU != 1400 || l.ChecksumOffload {
		t.Errorf("device is %+v", l)
	}
	network.Backend.MTU = 9000
	if l := plan(t, testNode(), network).State.Links[1]; l.MTU != 1450 {
		t.Errorf("MTU is %d, want no more than the underlay carries, 1450", l.MTU)
	}
}

// A lease added to a plan comes to the same as all of them at once.
func TestPlanWithOneMoreLeaseIsThePlanOfAll(t *testing.T) {
	all := plan(t, testNode(), dual(), sound(), third())
	more, added, simple := plan(t, testNode(), dual(), sound()).With(third(), nil)
	if !simple {
		t.Fatal("a sound lease was not simple")
	}
	if !reflect.DeepEqual(more.State, all.State) {
		t.Errorf("state is\n%+v\nwant\n%+v", more.State, all.State)
	}
	both := plan(t, testNode(), dual(), sound()).State
	both.Append(added)
	both.Sort()
	if !reflect.DeepEqual(both, all.State) {
		t.Errorf("what was added makes it\n%+v\nwant\n%+v", both, all.State)
	}
	if _, _, simple := more.With(third(), nil); simple {
		t.Error("a lease that is there twice was simple")
	}
	bad := sound()
	bad.IPv4.MAC = "nonsense"
	if _, _, simple := plan(t, testNode(), dual(), third()).With(bad, nil); simple {
		t.Error("a bad lease was simple")
	}
}

func TestUnknownBackendIsNamed(t *testing.T) {
	network := dual()
	network.Backend.Type = "carrier-pigeon"
	if _, err := For(testNode(), network, nil); err == nil || !strings.Contains(err.Error(), "carrier-pigeon") {
		t.Errorf("error is %v", err)
	}
}

func FuzzParseMAC(f *testing.F) {
	f.Add("02:00:5e:10:00:01")
	f.Add("0200.5e10.0001")
	f.Add("00:00:00:00:00:00")
	f.Fuzz(func(t *testing.T, text string) {
		mac, err := ParseMAC(text)
		if err != nil {
			return
		}
		if mac == (MAC{}) || mac[0]&1 != 0 {
			t.Errorf("%q was taken as %s", text, mac)
		}
		if again, err := ParseMAC(mac.String()); err != nil || again != mac {
			t.Errorf("%s reads back as %s, %v", mac, again, err)
		}
	})
}

func TestProtocolsAreSpreadAndMarked(t *testing.T) {
	count := map[uint8]int{}
	for i := range 5000 {
		p := ProtocolFor(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(128 | i>>10), byte(i >> 2), byte(i << 6)}), 26))
		if !Marked(p) {
			t.Fatalf("%d is no mark", p)
		}
		count[p]++
	}
	for p, n := range count {
		if n > 2*5000/Protocols {
			t.Errorf("protocol %d has %d of 5000 routes", p, n)
		}
	}
	if Marked(3) || Marked(186) || Marked(0) {
		t.Error("a route of somebody else is marked")
	}
}

// toPeers are the routes of a state that lead somewhere.
func toPeers(s State) []Route {
	return slices.DeleteFunc(slices.Clone(s.Routes), func(r Route) bool { return r.Unreachable })
}

// Of each backend that has packets for the node's own pods come to it, what it
// has for them while they have no route.
func TestPacketsForOwnPodsHaveAWayWithoutPods(t *testing.T) {
	for kind, want := range map[string][]string{
		profiles.BackendVXLAN:     {"10.244.1.0/24", "fd42:0:0:1::/64"},
		profiles.BackendHostGW:    {"10.244.1.0/24", "fd42:0:0:1::/64"},
		profiles.BackendIPsec:     {"10.244.0.0/16"},
		profiles.BackendWireGuard: {"10.244.1.0/24", "fd42:0:0:1::/64"},
		profiles.BackendNone:      nil,
	} {
		network, node := dual(), testNode()
		network.Backend, node.PublicKey = profiles.Backend{Type: kind}, Key{1}
		var guards []string
		for _, r := range plan(t, node, network).State.Routes {
			if r.Unreachable && r.Metric == math.MaxUint32 && r.Link == "" && Marked(r.Protocol) {
				guards = append(guards, r.Dst.String())
			}
		}
		if !slices.Equal(guards, want) {
			t.Errorf("%s: %q lead nowhere, want %q", kind, guards, want)
		}
	}
}
