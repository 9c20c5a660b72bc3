package cluster

import (
	"errors"
	"net"
	"net/netip"
	"reflect"
	"testing"

	"weft/profiles"
)

func network() profiles.Network {
	return profiles.Network{
		Pods:         []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd42::/48")},
		SubnetLength: profiles.SubnetLength{IPv4: 24, IPv6: 64},
	}
}

func mac(last byte) net.HardwareAddr { return net.HardwareAddr{0x52, 0x54, 0, 0, 0, last} }

func TestNodesOnKubernetesAreGivenNeitherSubnetsNorPeers(t *testing.T) {
	n := network()
	n.Store.Type = profiles.StoreKubernetes
	nodes, err := Plan(n, Underlay{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}, MACs: []net.HardwareAddr{mac(1), mac(2)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range nodes {
		if x.Subnets != nil || x.Peers != nil || len(x.Addresses) != 1 {
			t.Errorf("%+v", x)
		}
	}
}

func TestTwoNodesKnowEachOther(t *testing.T) {
	nodes, err := Plan(network(), Underlay{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24"), netip.MustParsePrefix("fd77::/64")},
		MACs:     []net.HardwareAddr{mac(1), mac(2)},
		Uplinks:  []net.HardwareAddr{mac(11), mac(12)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) != 2 {
		t.Fatalf("%d nodes", len(nodes))
	}
	second := nodes[1]
	want := profiles.Peer{
		Name:      "node-2",
		Addresses: []netip.Addr{netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("fd77::2")},
		Subnets:   []netip.Prefix{netip.MustParsePrefix("10.244.2.0/24"), netip.MustParsePrefix("fd42:0:0:2::/64")},
	}
	if !reflect.DeepEqual(nodes[0].Peers[1], want) {
		t.Errorf("node-1 sees node-2 as %+v", nodes[0].Peers[1])
	}
	if second.Hostname != want.Name || !reflect.DeepEqual(second.Addresses, want.Addresses) || !reflect.DeepEqual(second.Subnets, want.Subnets) {
		t.Errorf("node-2 sees itself as %+v", second)
	}
	if !reflect.DeepEqual(nodes[0].Peers, second.Peers) {
		t.Error("the nodes carry different peer lists")
	}
	if got := second.Links[0]; got.Match.MAC != "52:54:00:00:00:0c" || got.DHCP4 != nil {
		t.Errorf("uplink of node-2: %+v", got)
	}
	if got := second.Links[1]; got.Match.MAC != "52:54:00:00:00:02" || *got.DHCP4 || got.Addresses[0] != netip.MustParsePrefix("10.77.0.2/24") {
		t.Errorf("underlay device of node-2: %+v", got)
	}
}

func TestSubnetsAreNumberedFromTheSecond(t *testing.T) {
	for _, c := range []struct {
		name, from string
		bits, k    int
		want       string
	}{
		{"first after the reserved one", "10.244.0.0/16", 24, 1, "10.244.1.0/24"},
		{"carry into the next byte", "10.244.0.0/16", 24, 250, "10.244.250.0/24"},
		{"carry across bytes", "10.0.0.0/8", 24, 257, "10.1.1.0/24"},
		{"length inside a byte", "10.244.0.0/16", 26, 5, "10.244.1.64/26"},
		{"host bits of the range are ignored", "10.244.9.9/16", 24, 2, "10.244.2.0/24"},
		{"IPv6", "fd42::/48", 64, 3, "fd42:0:0:3::/64"},
		{"IPv6, long", "fd42::/112", 120, 7, "fd42::700/120"},
		{"addresses", "10.77.0.0/24", 32, 9, "10.77.0.9/32"},
		{"last one that fits", "10.0.0.0/30", 32, 3, "10.0.0.3/32"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := nth(netip.MustParsePrefix(c.from), c.bits, c.k)
			if err != nil || got.String() != c.want {
				t.Errorf("nth(%s, %d, %d) = %v, %v; want %s", c.from, c.bits, c.k, got, err, c.want)
			}
		})
	}
}

func TestARangeWithoutRoomIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, from string
		bits, k    int
	}{
		{"one too many", "10.0.0.0/30", 32, 4},
		{"longer than an address", "10.0.0.0/30", 33, 1},
		{"subnet as long as the range", "10.0.0.0/24", 24, 1},
		{"subnet shorter than the range", "10.0.0.0/24", 16, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := nth(netip.MustParsePrefix(c.from), c.bits, c.k); !errors.Is(err, errNoRoom) {
				t.Errorf("nth = %v, %v", got, err)
			}
		})
	}
}

func TestACountOutOfRangeIsRefused(t *testing.T) {
	for _, count := range []int{0, MaxNodes + 1} {
		if _, err := Plan(network(), Underlay{MACs: make([]net.HardwareAddr, count)}); err == nil {
			t.Errorf("a cluster of %d nodes was planned", count)
		}
	}
	if _, err := Plan(network(), Underlay{MACs: make([]net.HardwareAddr, 2), Uplinks: make([]net.HardwareAddr, 1)}); err == nil {
		t.Error("two nodes with one uplink were planned")
	}
}
