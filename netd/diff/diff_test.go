package diff

import (
	"net/netip"
	"slices"
	"testing"

	"weft/netd/wanted"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

var (
	mac2 = wanted.MAC{2, 0, 0, 0, 0, 2}
	mac3 = wanted.MAC{2, 0, 0, 0, 0, 3}
)

func device() wanted.Link {
	return wanted.Link{Name: "flannel.1", Kind: wanted.KindVXLAN, Alias: wanted.Mark, MTU: 1450, Up: true,
		VXLAN: wanted.VXLAN{VNI: 1, Port: 8472, Local: addr("10.0.0.1"), Underlay: 2}}
}

func route(net, via string) wanted.Route {
	return wanted.Route{Dst: prefix(net), Via: addr(via), Link: "flannel.1", OnLink: true, Protocol: wanted.Protocol}
}

// full is a device with one peer.
func full() wanted.State {
	return wanted.State{
		Links:     []wanted.Link{device()},
		Addresses: []wanted.Address{{Link: "flannel.1", Prefix: prefix("10.244.1.0/32")}},
		Routes:    []wanted.Route{route("10.244.2.0/24", "10.244.2.0")},
		FDB:       []wanted.FDBEntry{{Link: "flannel.1", MAC: mac2, Dst: addr("10.0.0.2")}},
		Neighs:    []wanted.Neighbour{{Link: "flannel.1", IP: addr("10.244.2.0"), MAC: mac2}},
	}
}

// guarded is a device and a route that leads nowhere.
func guarded() wanted.State {
	return wanted.State{Links: []wanted.Link{device()},
		Routes: []wanted.Route{{Dst: prefix("10.244.1.0/24"), Unreachable: true, Protocol: wanted.Protocol}}}
}

func TestDiff(t *testing.T) {
	with := func(change func(s *wanted.State)) wanted.State { s := full(); change(&s); return s }
	direct := wanted.Route{Dst: prefix("10.244.2.0/24"), Via: addr("10.0.0.2"), Link: "eth0", Protocol: wanted.Protocol}
	cases := []struct {
		name       string
		have, want wanted.State
		changes    []string
	}{
		{"nothing changed", full(), full(), nil},
		{"the kernel's number does not matter", with(func(s *wanted.State) { s.Links[0].Index = 7 }), full(), nil},
		{"an empty kernel: neighbour, FDB entry, route", wanted.State{}, full(), []string{
			"create device flannel.1", "create address 10.244.1.0/32 dev flannel.1",
			"create neighbour 10.244.2.0 lladdr 02:00:00:00:00:02 dev flannel.1",
			"create fdb entry 02:00:00:00:00:02 dst 10.0.0.2 dev flannel.1",
			"create route 10.244.2.0/24 via 10.244.2.0 dev flannel.1"}},
		{"nothing wanted: the reverse", full(), wanted.State{}, []string{
			"remove route 10.244.2.0/24 via 10.244.2.0 dev flannel.1",
			"remove fdb entry 02:00:00:00:00:02 dst 10.0.0.2 dev flannel.1",
			"remove neighbour 10.244.2.0 lladdr 02:00:00:00:00:02 dev flannel.1",
			"remove address 10.244.1.0/32 dev flannel.1", "remove device flannel.1"}},
		{"what leads nowhere is there before the device", wanted.State{}, guarded(), []string{
			"create route unreachable 10.244.1.0/24", "create device flannel.1"}},
		{"and until after it", guarded(), wanted.State{}, []string{
			"remove device flannel.1", "remove route unreachable 10.244.1.0/24"}},
		{"a peer with a new MAC keeps its neighbour entry and loses its old FDB entry", full(), with(func(s *wanted.State) {
			s.Neighs[0].MAC, s.FDB[0].MAC = mac3, mac3
		}), []string{
			"create neighbour 10.244.2.0 lladdr 02:00:00:00:00:03 dev flannel.1",
			"create fdb entry 02:00:00:00:00:03 dst 10.0.0.2 dev flannel.1",
			"remove fdb entry 02:00:00:00:00:02 dst 10.0.0.2 dev flannel.1"}},
		{"a peer with a new address has one FDB entry changed", full(), with(func(s *wanted.State) { s.FDB[0].Dst = addr("10.0.0.9") }),
			[]string{"create fdb entry 02:00:00:00:00:02 dst 10.0.0.9 dev flannel.1"}},
		{"flanneld's unmarked route on our device is taken over", with(func(s *wanted.State) { s.Routes[0].Protocol = 3 }), full(), nil},
		{"an unmarked direct route gets the mark", wanted.State{Routes: []wanted.Route{{Dst: direct.Dst, Via: direct.Via, Link: "eth0", Protocol: 3}}},
			wanted.State{Routes: []wanted.Route{direct}}, []string{"create route 10.244.2.0/24 via 10.0.0.2 dev eth0"}},
		{"direct routing comes before the tunnel goes", full(), with(func(s *wanted.State) {
			s.Routes, s.FDB, s.Neighs = []wanted.Route{direct}, nil, nil
		}), []string{
			"create route 10.244.2.0/24 via 10.0.0.2 dev eth0",
			"remove route 10.244.2.0/24 via 10.244.2.0 dev flannel.1",
			"remove fdb entry 02:00:00:00:00:02 dst 10.0.0.2 dev flannel.1",
			"remove neighbour 10.244.2.0 lladdr 02:00:00:00:00:02 dev flannel.1"}},
		{"a new local address changes the device in place", full(), with(func(s *wanted.State) { s.Links[0].VXLAN.Local = addr("10.0.0.9") }),
			[]string{"adjust device flannel.1"}},
		{"a new port makes the device and all on it anew", full(), with(func(s *wanted.State) { s.Links[0].VXLAN.Port = 4789 }), []string{
			"remove device flannel.1",
			"create device flannel.1", "create address 10.244.1.0/32 dev flannel.1",
			"create neighbour 10.244.2.0 lladdr 02:00:00:00:00:02 dev flannel.1",
			"create fdb entry 02:00:00:00:00:02 dst 10.0.0.2 dev flannel.1",
			"create route 10.244.2.0/24 via 10.244.2.0 dev flannel.1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, change := range Diff(c.have, c.want) {
				got = append(got, change.String())
			}
			if !slices.Equal(got, c.changes) {
				t.Errorf("changes are\n%q\nwant\n%q", got, c.changes)
			}
		})
	}
}

func TestAgrees(t *testing.T) {
	want := full()
	down := device()
	down.Up = false
	cases := []struct {
		name   string
		event  Event
		agrees bool
	}{
		{"our route, new", Event{Object: want.Routes[0]}, true},
		{"our route, gone", Event{Gone: true, Object: want.Routes[0]}, false},
		{"a stranger's route, new", Event{Object: route("10.244.9.0/24", "10.244.9.0")}, false},
		{"a stranger's route, gone", Event{Gone: true, Object: route("10.244.9.0/24", "10.244.9.0")}, true},
		{"our neighbour, gone", Event{Gone: true, Object: want.Neighs[0]}, false},
		{"our neighbour, gone without a word of its MAC", Event{Gone: true, Object: wanted.Neighbour{Link: "flannel.1", IP: addr("10.244.2.0")}}, false},
		{"our neighbour, with another MAC", Event{Object: wanted.Neighbour{Link: "flannel.1", IP: addr("10.244.2.0"), MAC: mac3}}, false},
		{"our FDB entry, new", Event{Object: want.FDB[0]}, true},
		{"our FDB entry, elsewhere", Event{Object: wanted.FDBEntry{Link: "flannel.1", MAC: mac2, Dst: addr("10.0.0.9")}}, false},
		{"the old place of our FDB entry, gone", Event{Gone: true, Object: wanted.FDBEntry{Link: "flannel.1", MAC: mac2, Dst: addr("10.0.0.9")}}, true},
		{"our address, gone", Event{Gone: true, Object: want.Addresses[0]}, false},
		{"a stranger's rule with our mark, new", Event{Object: wanted.Rule{Priority: 9, Table: wanted.LaneTable}}, false},
		{"our device", Event{Object: device()}, true},
		{"our device, down", Event{Object: down}, false},
		{"our device, gone", Event{Gone: true, Object: device()}, false},
	}
	for _, c := range cases {
		if got := Agrees(want, c.event); got != c.agrees {
			t.Errorf("%s: agrees is %t, want %t", c.name, got, c.agrees)
		}
	}
}

func TestStrangersRouteInThePlaceOfOurs(t *testing.T) {
	for r, want := range map[wanted.Route]bool{
		{Dst: prefix("10.244.2.0/24"), Via: addr("10.0.0.9"), Link: "eth0"}:              true,
		{Dst: prefix("10.244.2.0/24"), Via: addr("10.0.0.9"), Link: "eth0", Metric: 100}: false,
		{Dst: prefix("10.9.0.0/16"), Via: addr("10.0.0.9"), Link: "eth0"}:                false,
		{}: false,
	} {
		if got := Displaces(r, full()); got != want {
			t.Errorf("%v: displaces is %t, want %t", r, got, want)
		}
	}
}
