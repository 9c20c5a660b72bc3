package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weft/netd/nstest"
	"weft/profiles"
)

// Each family is carried by the device that is chosen for it, and follows
// when the route it was chosen by changes.
func TestFamiliesAreCarriedByTheDevicesChosen(t *testing.T) {
	c := newCluster(t, dual, 1, func(n *profiles.Netd) {
		n.Node.Addresses = nil
		n.Network.Underlay = profiles.Underlay{
			IPv4: &profiles.UnderlayChoice{InterfacesRegex: []string{"^eth[0-9]$"}},
			IPv6: &profiles.UnderlayChoice{CanReach: []netip.Addr{netip.MustParseAddr("2001:db8::9")}},
		}
	})
	x, other := c.nodes[0], nstest.New(t, "other")
	if err := nstest.Veth(x.Node, "wire", other, "wire"); err != nil {
		t.Fatal(err)
	}
	other.Run(t, "ip", "link", "set", "wire", "up")
	x.Run(t, "ip", "link", "set", "wire", "mtu", "1480", "up")
	x.Run(t, "ip", nstest.AddAddress("wire", "fd00:20::1/64")...)
	x.Run(t, "ip", "route", "add", "2001:db8::/32", "via", "fd00:20::2")
	c.startAll(t)
	carried := func(device, by string) {
		t.Helper()
		took := nstest.Eventually(t, 5*time.Second, device+" by "+by, func() error {
			if out := x.Run(t, "ip", "-d", "link", "show", device); !strings.Contains(out, by) {
				return fmt.Errorf("%s is\n%s", device, out)
			}
			return nil
		})
		t.Logf("%s by %s after %v", device, by, took.Round(time.Millisecond))
	}
	carried("flannel.1", "local 10.0.0.1 dev eth0 ")
	carried("flannel-v6.1", "local fd00:20::1 dev wire ")
	x.Run(t, "ip", "route", "replace", "2001:db8::/32", "via", "fd00:10::99")
	carried("flannel-v6.1", "local fd00:10::1 dev eth0 ")
}

// What is looked for in vain is told, with what there is.
func TestUnderlayThatIsNotThereIsTold(t *testing.T) {
	c := newCluster(t, onlyIPv4, 1, func(n *profiles.Netd) {
		n.Node.Addresses = nil
		n.Network.Underlay.InterfacesRegex = []string{"^enp"}
	})
	x := c.nodes[0]
	x.start(t)
	nstest.Eventually(t, 10*time.Second, "a status line", func() error {
		if !x.notices.has("no device matches ^enp; there are: eth0 (10.0.0.1)") {
			return fmt.Errorf("told so far: %q", x.notices.all())
		}
		return nil
	})
	x.Run(t, "ip", "link", "set", "eth0", "down")
	x.Run(t, "ip", "link", "set", "eth0", "name", "enp1s0")
	x.Run(t, "ip", "link", "set", "enp1s0", "up")
	x.waitReady(t)
}
