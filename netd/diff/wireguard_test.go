package diff

import (
	"net/netip"
	"strings"
	"testing"

	"weft/netd/wanted"
)

func wgPeer(key byte, endpoint string) wanted.WGPeer {
	at, _ := netip.ParseAddrPort(endpoint)
	return wanted.WGPeer{Link: "flannel-wg", PublicKey: wanted.Key{key}, Endpoint: at,
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.244.2.0/24")}}
}

func wgLink(name string, key byte) wanted.Link {
	return wanted.Link{Name: name, Kind: wanted.KindWireGuard, Up: true, WireGuard: wanted.WireGuard{PublicKey: wanted.Key{key}, Port: 51820}}
}

func verbs(changes []Change) string {
	var all []string
	for _, c := range changes {
		kind := "peer"
		if l, is := c.Object.(wanted.Link); is {
			kind = l.Name
		}
		all = append(all, string(c.Verb)+" "+kind)
	}
	return strings.Join(all, ", ")
}

// Of a lane, what leads past it is there before it, and until after it.
func TestLaneIsNeverTakenForAMoment(t *testing.T) {
	subnet := prefix("10.244.2.0/24")
	throw := wanted.Route{Dst: subnet, Table: wanted.LaneTable, Metric: 1, Throw: true}
	lane := wanted.Route{Dst: subnet, Table: wanted.LaneTable, Metric: 2, Link: "flannel-wg.1"}
	state := func(routes ...wanted.Route) wanted.State {
		s := wanted.State{Rules: []wanted.Rule{{Priority: wanted.LaneRule, Table: wanted.LaneTable}}, Routes: routes}
		s.Sort()
		return s
	}
	for _, c := range []struct {
		name       string
		have, want wanted.State
		changes    string
	}{
		{"it is made", wanted.State{}, state(throw, lane), "create IPv4 rule 208 lookup 20800, " +
			"create route throw 10.244.2.0/24 table 20800, create route 10.244.2.0/24 dev flannel-wg.1 table 20800"},
		{"it is taken", state(throw, lane), state(lane), "remove route throw 10.244.2.0/24 table 20800"},
		{"it is no longer taken", state(lane), state(throw, lane), "create route throw 10.244.2.0/24 table 20800"},
		{"it goes", state(throw, lane), wanted.State{}, "remove route 10.244.2.0/24 dev flannel-wg.1 table 20800, " +
			"remove route throw 10.244.2.0/24 table 20800, remove IPv4 rule 208 lookup 20800"},
	} {
		var got []string
		for _, change := range Diff(c.have, c.want) {
			got = append(got, change.String())
		}
		if text := strings.Join(got, ", "); text != c.changes {
			t.Errorf("%s: changes are\n%s, want\n%s", c.name, text, c.changes)
		}
	}
}

func TestWireGuardPeersChangeWithoutAGap(t *testing.T) {
	cases := []struct {
		name       string
		have, want wanted.State
		changes    string
	}{
		{"an endpoint that may be any stays",
			wanted.State{Peers: []wanted.WGPeer{wgPeer(2, "192.0.2.9:4000")}},
			wanted.State{Peers: []wanted.WGPeer{wgPeer(2, "")}}, ""},
		{"an endpoint that is to be set is",
			wanted.State{Peers: []wanted.WGPeer{wgPeer(2, "192.0.2.9:4000")}},
			wanted.State{Peers: []wanted.WGPeer{wgPeer(2, "10.0.0.2:51820")}}, "create peer"},
		{"a new key has the addresses before the old one goes",
			wanted.State{Peers: []wanted.WGPeer{wgPeer(2, "10.0.0.2:51820")}},
			wanted.State{Peers: []wanted.WGPeer{wgPeer(3, "10.0.0.2:51820")}}, "create peer, remove peer"},
		{"a peer nobody knows goes",
			wanted.State{Peers: []wanted.WGPeer{wgPeer(9, "10.0.0.9:51820")}}, wanted.State{}, "remove peer"},
		{"the main device gets another key in place",
			wanted.State{Links: []wanted.Link{wgLink("flannel-wg", 1)}},
			wanted.State{Links: []wanted.Link{wgLink("flannel-wg", 4)}}, "adjust flannel-wg"},
		{"a lane is made anew",
			wanted.State{Links: []wanted.Link{wgLink("flannel-wg.1", 1)}},
			wanted.State{Links: []wanted.Link{wgLink("flannel-wg.1", 4)}}, "remove flannel-wg.1, create flannel-wg.1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := verbs(Diff(c.have, c.want)); got != c.changes {
				t.Errorf("changes are %q, want %q", got, c.changes)
			}
		})
	}
}
