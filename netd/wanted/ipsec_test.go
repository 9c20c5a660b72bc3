package wanted

import (
	"reflect"
	"strings"
	"testing"

	"weft/netd/lease"
	"weft/profiles"
)

func TestIPsecPeerTakesARouteThatLeaksNothing(t *testing.T) {
	network := dual()
	network.Backend = profiles.Backend{Type: "ipsec"}
	two := sound()
	two.Backend = lease.IPsec
	p := plan(t, testNode(), network, two, third())
	want := State{Routes: []Route{guard(prefix("10.244.0.0/16")), {Dst: prefix("10.244.2.0/24"), Link: "eth0", Protocol: ProtocolFor(prefix("10.244.2.0/24"))}}}
	if len(p.State.Links) != 0 || !reflect.DeepEqual(p.State.Routes, want.Routes) {
		t.Errorf("state is %+v", p.State)
	}
	var device, backend bool
	for _, r := range p.Refusals {
		device = device || r.Node == "self" && r.Family == "IPv6" && strings.Contains(r.Reason, "IPv4 only")
		backend = backend || r.Node == "three" && strings.Contains(r.Reason, "vxlan")
	}
	if !device || !backend {
		t.Errorf("refusals are %v, want one of IPv6 and one of the peer with vxlan", p.Refusals)
	}
}

func TestMTUOfIPsecIsFlannels(t *testing.T) {
	for name, c := range map[string]struct {
		backend profiles.Backend
		mtu     int
	}{
		"plain":   {profiles.Backend{Type: "ipsec"}, 1423},
		"in UDP":  {profiles.Backend{Type: "ipsec", UDPEncapsulation: true}, 1415},
		"as told": {profiles.Backend{Type: "ipsec", MTU: 1300}, 1300},
	} {
		network := dual()
		network.Pods = network.Pods[:1]
		network.Backend = c.backend
		if mtu := MTU(testNode(), network); mtu != c.mtu {
			t.Errorf("%s: MTU is %d, want %d", name, mtu, c.mtu)
		}
	}
}
