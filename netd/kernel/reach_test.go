package kernel

import (
	"fmt"
	"net/netip"
	"testing"

	"weft/netd/nstest"
	"weft/netd/underlay"
	"weft/profiles"
)

// chooseIn reads a node and chooses its underlay.
func chooseIn(t *testing.T, n *nstest.Node, ipv6 bool, u profiles.Underlay) (device underlay.Device, err error) {
	t.Helper()
	failed := n.Do(func() error {
		conn, failed := Open()
		if failed != nil {
			return failed
		}
		defer conn.Close()
		network := profiles.Network{Underlay: u}
		host, failed := conn.Host(underlay.CanReach(network)...)
		if failed != nil {
			return failed
		}
		device, err = underlay.Choose(host, ipv6, nil, network)
		return nil
	})
	if failed != nil {
		t.Fatal(failed)
	}
	return device, err
}

func canReach(addresses ...string) profiles.Underlay {
	var u profiles.Underlay
	for _, a := range addresses {
		u.CanReach = append(u.CanReach, netip.MustParseAddr(a))
	}
	return u
}

// A default route with several next hops has a device too, of both families
// and written in both ways.
func TestUnderlayOfMultipathDefaultRoute(t *testing.T) {
	n := nstest.New(t, "node")
	one, two := nstest.NewLAN(t, "lan1"), nstest.NewLAN(t, "lan2")
	one.Attach(t, n, "eth0", "10.0.0.4/24", "fd00:1::4/64")
	other := nstest.New(t, "other")
	two.Attach(t, other, "eth0", "10.1.0.9/24")
	if err := nstest.Veth(n, "eth1", other, "eth1"); err != nil {
		t.Fatal(err)
	}
	n.Run(t, "ip", "link", "set", "eth1", "up")
	other.Run(t, "ip", "link", "set", "eth1", "up")
	n.Run(t, "ip", "address", "add", "10.1.0.4/24", "dev", "eth1")
	n.Run(t, "ip", "address", "add", "fd00:2::4/64", "dev", "eth1", "nodad")
	n.Run(t, "ip", "route", "add", "default", "nexthop", "via", "10.1.0.1", "dev", "eth1", "nexthop", "via", "10.0.0.1", "dev", "eth0")
	n.Run(t, "ip", "-6", "route", "add", "default", "nexthop", "via", "fd00:2::1", "dev", "eth1", "nexthop", "via", "fd00:1::1", "dev", "eth0")
	for ipv6, want := range map[bool]string{false: "10.1.0.4", true: "fd00:2::4"} {
		device, err := chooseIn(t, n, ipv6, profiles.Underlay{})
		if err != nil || device.Name != "eth1" || device.Address.String() != want {
			t.Errorf("underlay is %+v, %v; want %s on eth1", device, err, want)
		}
	}
	// The cable of the first hop is pulled: IPv4 and IPv6 go by the other.
	other.Run(t, "ip", "link", "set", "eth1", "down")
	for ipv6, want := range map[bool]string{false: "10.0.0.4", true: "fd00:1::4"} {
		nstest.Eventually(t, 5e9, "underlay by the hop that is left", func() error {
			device, err := chooseIn(t, n, ipv6, profiles.Underlay{})
			if err != nil || device.Address.String() != want {
				return fmt.Errorf("underlay is %+v, %v; want %s", device, err, want)
			}
			return nil
		})
	}
}

// The kernel is asked how it would send, with all its rules and tables.
func TestUnderlayByTheRouteToAnAddress(t *testing.T) {
	n := nstest.New(t, "node")
	nstest.NewLAN(t, "lan1").Attach(t, n, "eth0", "10.0.0.4/24", "10.0.0.5/24", "fd00:1::4/64")
	n.Run(t, "ip", "route", "add", "default", "via", "10.0.0.1")
	n.Run(t, "ip", "route", "add", "203.0.113.0/24", "via", "10.0.0.1", "src", "10.0.0.5", "table", "77")
	n.Run(t, "ip", "rule", "add", "to", "203.0.113.0/24", "table", "77")
	n.Run(t, "ip", "route", "add", "unreachable", "198.51.100.0/24")
	for _, c := range []struct {
		to      string
		ipv6    bool
		address string
	}{
		{"192.0.2.1", false, "10.0.0.4"},
		{"203.0.113.9", false, "10.0.0.5"},
		{"203.0.113.9", true, "fd00:1::4"},
		{"fd00:1::99", true, "fd00:1::4"},
		{"fd00:1::99", false, "10.0.0.4"},
	} {
		device, err := chooseIn(t, n, c.ipv6, canReach(c.to))
		if err != nil || device.Name != "eth0" || device.Address.String() != c.address {
			t.Errorf("to %s: underlay is %+v, %v; want %s", c.to, device, err, c.address)
		}
	}
	for _, to := range []string{"198.51.100.1", "fd99::1", "10.0.0.4"} {
		if device, err := chooseIn(t, n, false, canReach(to)); err == nil {
			t.Errorf("to %s: underlay is %+v, want none", to, device)
		}
	}
}
