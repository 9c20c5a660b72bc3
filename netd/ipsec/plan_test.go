package ipsec

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/profiles"
)

func testWant(peers ...Peer) Want {
	return Want{
		Local: netip.MustParseAddr("10.0.0.1"), Subnet: netip.MustParsePrefix("10.244.1.0/24"),
		ESP: profiles.DefaultESPProposal, Peers: peers,
	}
}

var (
	two   = Peer{"two", netip.MustParsePrefix("10.244.2.0/24"), netip.MustParseAddr("10.0.0.2")}
	three = Peer{"three", netip.MustParsePrefix("10.244.3.0/24"), netip.MustParseAddr("10.0.0.3")}
)

func never(Connection) bool { return false }

// settled is what is found when want has been brought about.
func settled(want Want) Have {
	h := Have{Policies: want.Policies(), SPIs: map[uint32]bool{}}
	for i, c := range want.Connections() {
		in, out := uint32(2*i+1), uint32(2*i+2)
		h.SPIs[in], h.SPIs[out] = true, true
		h.Connections = append(h.Connections, c.Name)
		h.SAs = append(h.SAs, SA{Name: c.Name, ID: string(rune('1' + i)), Established: true,
			Children: []Child{{ID: "c" + string(rune('1'+i)), Installed: true, In: in, Out: out}}})
	}
	return h
}

func TestNetworkOfAnotherBackendWantsNothing(t *testing.T) {
	node := wanted.Node{IPv4: netip.MustParsePrefix("10.244.1.0/24"),
		Underlay: underlay.Choice{IPv4: underlay.Device{Index: 2, Address: netip.MustParseAddr("10.0.0.1")}}}
	network := profiles.Network{Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, Backend: profiles.Backend{Type: "ipsec"}}
	peers := []wanted.Peer{{Node: "three", Subnet: three.Subnet, Address: three.Address}, {Node: "two", Subnet: two.Subnet, Address: two.Address}}
	if got := For(node, network, peers); !reflect.DeepEqual(got, testWant(two, three)) {
		t.Errorf("want is %+v", got)
	}
	network.Backend.Type = "vxlan"
	if got := For(node, network, peers); !got.IsZero() {
		t.Errorf("backend vxlan wants %+v", got)
	}
}

// The policies are those that flannel makes (pkg/backend/ipsec/handle_xfrm.go).
func TestEachPeerTakesThreePolicies(t *testing.T) {
	var got []string
	for _, p := range testWant(two).Policies() {
		got = append(got, p.String())
	}
	want := []string{
		"policy out 10.244.1.0/24 to 10.244.2.0/24 (10.0.0.1 to 10.0.0.2)",
		"policy in 10.244.2.0/24 to 10.244.1.0/24 (10.0.0.2 to 10.0.0.1)",
		"policy fwd 10.244.2.0/24 to 10.244.1.0/24 (10.0.0.2 to 10.0.0.1)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("policies are %q", got)
	}
}

func TestAnyDifferenceMakesAnotherConnection(t *testing.T) {
	name := testWant(two).Connections()[0].Name
	if !strings.HasPrefix(name, "weft-10.244.2.0/24-") {
		t.Errorf("name is %s", name)
	}
	for what, change := range map[string]func(*Want){
		"own address": func(w *Want) { w.Local = netip.MustParseAddr("10.0.0.9") },
		"own subnet":  func(w *Want) { w.Subnet = netip.MustParsePrefix("10.244.9.0/24") },
		"address":     func(w *Want) { w.Peers[0].Address = netip.MustParseAddr("10.0.0.9") },
		"ESP":         func(w *Want) { w.ESP = "aes256-sha256" },
		"UDP":         func(w *Want) { w.Encapsulate = true },
	} {
		w := testWant(two)
		change(&w)
		if w.Connections()[0].Name == name {
			t.Errorf("%s does not show in the name", what)
		}
	}
}

func TestStepsLeadFromWhatIsToWhatShouldBe(t *testing.T) {
	one := testWant(two)
	both := testWant(two, three)
	for _, c := range []struct {
		name string
		want Want
		have Have
		// Counts, in the order of the fields of Steps.
		set, load, initiate, unload, endChildren, endSAs, drop int
	}{
		{"nothing there", both, Have{}, 6, 2, 2, 0, 0, 0, 0},
		{"all there", both, settled(both), 0, 0, 0, 0, 0, 0, 0},
		{"a peer too many", one, settled(both), 0, 0, 0, 1, 0, 1, 3},
		{"one peer more", both, settled(one), 3, 1, 1, 0, 0, 0, 0},
		{"a peer too many, of an earlier time", held(one), settled(both), 0, 0, 0, 0, 0, 0, 0},
		{"nothing wanted", Want{}, settled(both), 0, 0, 0, 2, 0, 2, 6},
		{"policy gone", one, edit(settled(one), func(h *Have) { h.Policies = h.Policies[1:] }), 1, 0, 0, 0, 0, 0, 0},
		{"policy to another host", one, edit(settled(one), func(h *Have) { h.Policies[0].To = three.Address }), 1, 0, 0, 0, 0, 0, 0},
		{"connection gone", one, edit(settled(one), func(h *Have) { h.Connections = nil }), 0, 1, 0, 0, 0, 0, 0},
		{"charon new", one, edit(settled(one), func(h *Have) { h.Connections, h.SAs = nil, nil }), 0, 1, 1, 0, 0, 0, 0},
		{"SA gone", one, edit(settled(one), func(h *Have) { h.SAs = nil }), 0, 0, 1, 0, 0, 0, 0},
		{"SA being made", one, edit(settled(one), func(h *Have) { h.SAs = []SA{{Name: h.SAs[0].Name}} }), 0, 0, 0, 0, 0, 0, 0},
		{"SA on its way out", one, edit(settled(one), func(h *Have) { h.SAs[0].Closing = true }), 0, 0, 1, 0, 0, 0, 0},
		{"SA without a child", one, edit(settled(one), func(h *Have) { h.SAs[0].Children = nil }), 0, 0, 1, 0, 0, 0, 0},
		{"child being renewed", one, edit(settled(one), func(h *Have) { h.SAs[0].Children[0].Installed = false }), 0, 0, 0, 0, 0, 0, 0},
		{"a stranger that is not known yet", one, edit(settled(one), func(h *Have) { h.SAs = append(h.SAs, SA{Name: "(unnamed)"}) }), 0, 0, 0, 0, 0, 0, 0},
		{"kernel flushed", one, edit(settled(one), func(h *Have) { clear(h.SPIs) }), 0, 0, 1, 0, 1, 0, 0},
		{"half of a pair flushed", one, edit(settled(one), func(h *Have) { delete(h.SPIs, 2) }), 0, 0, 1, 0, 1, 0, 0},
	} {
		s := Plan(c.want, c.have, never)
		got := []int{len(s.SetPolicies), len(s.Load), len(s.Initiate), len(s.Unload), len(s.EndChildren), len(s.EndSAs), len(s.DropPolicies)}
		want := []int{c.set, c.load, c.initiate, c.unload, c.endChildren, c.endSAs, c.drop}
		if !slices.Equal(got, want) {
			t.Errorf("%s: steps are %v, want %v: %+v", c.name, got, want, s)
		}
	}
	if s := Plan(one, Have{}, func(Connection) bool { return true }); len(s.Initiate) != 0 || len(s.Load) != 1 {
		t.Errorf("too early: %+v", s)
	}
}

// Two nodes that miss each other do not both begin at once.
func TestNodeWithTheHigherAddressWaitsForTheOther(t *testing.T) {
	now := time.Unix(1000, 0)
	missing := newlyMissing{local: testWant().Local, now: now, still: map[string]time.Time{}}
	if missing.is(testWant(two).Connections()[0]) {
		t.Error("the lower address waits")
	}
	want := testWant(two)
	want.Local = three.Address
	for _, c := range []struct {
		after time.Duration
		waits bool
	}{{0, true}, {patience - 1, true}, {patience, false}, {2 * patience, false}} {
		missing = newlyMissing{local: want.Local, now: now.Add(c.after), since: missing.still, still: map[string]time.Time{}}
		if got := missing.is(want.Connections()[0]); got != c.waits {
			t.Errorf("after %v: waits %v", c.after, got)
		}
	}
}

func held(w Want) Want {
	w.Hold = true
	return w
}

func edit(h Have, change func(*Have)) Have {
	change(&h)
	return h
}

// A netd that is updated finds its connections by their names.
func TestNamesOfConnectionsStay(t *testing.T) {
	if got := testWant(two).Connections()[0].Name; got != "weft-10.244.2.0/24-b1e97761" {
		t.Errorf("name is %s; charon would load all connections again after an update", got)
	}
}
