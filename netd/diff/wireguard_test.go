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
