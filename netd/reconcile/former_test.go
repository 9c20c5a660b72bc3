package reconcile

import (
	"net/netip"
	"slices"
	"testing"

	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/profiles"
)

func TestFormerAddressesAreThoseOfNoSubnetOfTheNode(t *testing.T) {
	node := wanted.Node{IPv4: netip.MustParsePrefix("10.244.1.0/24"), Underlay: underlay.Choice{IPv4: underlay.Device{Index: 2}}}
	network := profiles.Network{Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd42::/48")}}
	links := []underlay.Link{{Index: 2, Name: "eth0"}, {Index: 3, Name: "cni0"}, {Index: 4, Name: "flannel.1"}}
	at := func(index int, ip string) underlay.Address {
		return underlay.Address{Index: index, IP: netip.MustParseAddr(ip)}
	}
	for _, c := range []struct {
		name    string
		address underlay.Address
		former  bool
	}{
		{"a bridge of the node's subnet", at(3, "10.244.1.1"), false},
		{"a bridge of another subnet", at(3, "10.244.9.1"), true},
		{"a bridge of another network", at(3, "10.245.9.1"), false},
		{"a family that the node does not serve", at(3, "fd42:0:0:9::1"), false},
		{"a device of netd's own", at(4, "10.244.9.0"), false},
		{"the underlay", at(2, "10.244.9.7"), false},
		{"a device that is gone", at(7, "10.244.9.1"), false},
	} {
		got := formerAddresses(underlay.Host{Links: links, Addresses: []underlay.Address{c.address}}, node, network)
		want := []Former{{"cni0", c.address.IP}}
		if !c.former {
			want = nil
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}
