package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/profiles"
)

var hostGW = backend(profiles.BackendHostGW)

// Nothing is added to packets, so pods have the MTU of the underlay.
func TestHostGWPodsReachEachOtherWithFullPackets(t *testing.T) {
	c := newCluster(t, dual, 3, hostGW)
	c.startAll(t)
	x := c.nodes[0]
	if mtu := x.report(t).MTU; mtu != 1500 {
		t.Errorf("announced MTU is %d, want 1500", mtu)
	}
	if env, _ := os.ReadFile(x.config.Paths.SubnetEnv); !strings.Contains(string(env), "FLANNEL_MTU=1500\n") {
		t.Errorf("subnet.env is\n%s", env)
	}
	one, two := x.addPod(t, 10), c.nodes[1].addPod(t, 20)
	pings(t, one, "10.244.2.20")
	pings(t, one, "fd42:0:0:2::14")
	pings(t, two, "10.244.1.10")
	pings(t, two, "fd42:0:0:1::a")
	if links := x.Run(t, "ip", "link", "show"); strings.Contains(links, "flannel") {
		t.Errorf("there is a device:\n%s", links)
	}
}

// F8 for backend host-gw and direct routes, where a route is on a device of
// somebody else.
func TestDeletedPlainRouteReturnsWithinASecond(t *testing.T) {
	for name, change := range map[string]func(*profiles.Netd){"host-gw": hostGW, "direct routing": directRouting} {
		drifted(t, name+": a deleted IPv4 route", func(x *node) { x.Run(t, "ip", "route", "del", "10.244.2.0/24") }, change)
		drifted(t, name+": a deleted IPv6 route", func(x *node) { x.Run(t, "ip", "-6", "route", "del", "fd42:0:0:2::/64") }, change)
		drifted(t, name+": a changed route", func(x *node) {
			x.Run(t, "ip", "route", "replace", "10.244.2.0/24", "via", "10.0.0.77", "dev", "eth0")
		}, change)
	}
}

// F7b: the kernel takes the routes with the device, of IPv4 without a word.
func TestUnderlayDownAndUpBringsPlainRoutesBackWithinASecond(t *testing.T) {
	downUp := func(x *node) {
		x.Run(t, "ip", "link", "set", "eth0", "down")
		x.Run(t, "ip", "link", "set", "eth0", "up")
		x.Run(t, "ip", nstest.AddAddress("eth0", underlay6(1))...)
	}
	drifted(t, "host-gw", downUp, hostGW)
	drifted(t, "direct routing", downUp, directRouting)
}

// F7b when the device is down for a while: the routes that cannot be made
// meanwhile are made when they can.
func TestUnderlayDownForAWhileBringsPlainRoutesBackWithinASecond(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2, hostGW)
	c.startAll(t)
	x := c.nodes[0]
	before := x.state(t)
	x.Run(t, "ip", "link", "set", "eth0", "down")
	nstest.Eventually(t, 5*time.Second, "word that the device is down", func() error {
		if r := x.report(t); r.Ready || !strings.Contains(r.Reason, "device eth0 is down") || len(r.Refusals) != 0 {
			return fmt.Errorf("ready %t (%s), refusals %v", r.Ready, r.Reason, r.Refusals)
		}
		return nil
	})
	x.Run(t, "ip", "link", "set", "eth0", "up")
	x.becomes(t, before, "eth0 up again")
	if r := x.report(t); !r.Ready {
		t.Errorf("not ready: %s", r.Reason)
	}
}

// F7b in a large network.
func TestUnderlayDownAndUpBringsThousandsOfPlainRoutesBackWithinASecond(t *testing.T) {
	c := newCluster(t, onlyIPv4, 1, big(manyPeers(manyLeases)), hostGW)
	x := c.nodes[0]
	x.Run(t, "ip", "address", "add", "10.0.0.1/9", "dev", "eth0")
	x.start(t)
	x.waitReady(t)
	x.Run(t, "ip", "link", "set", "eth0", "down")
	nstest.Eventually(t, 5*time.Second, "word that the device is down", func() error {
		if r := x.report(t); r.Ready {
			return fmt.Errorf("it is ready")
		}
		return nil
	})
	start := time.Now()
	x.Run(t, "ip", "link", "set", "eth0", "up")
	nstest.Eventually(t, 10*time.Second, "all routes", func() error {
		if got := strings.Count(x.Run(t, "ip", "route", "show", "dev", "eth0"), " via "); got != manyLeases {
			return fmt.Errorf("%d routes", got)
		}
		return nil
	})
	repaired := x.report(t).Counters.LastRepair
	if repaired == nil || repaired.Sub(start) > time.Second {
		t.Fatalf("the routes were back at %v, want within 1 s of %v", repaired, start)
	}
	t.Logf("%d routes were back within %v", manyLeases, repaired.Sub(start).Round(time.Millisecond))
}

func TestHostGWRefusesPeersBehindARouterAndTakesThemBack(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2, hostGW)
	x := c.nodes[0]
	x.Run(t, "ip", "route", "add", "10.0.0.2/32", "via", "10.0.0.254")
	x.start(t)
	x.waitReady(t)
	r := x.report(t)
	if len(r.Peers) != 0 || len(r.Refusals) != 1 || !strings.Contains(r.Refusals[0].Reason, "host-gw needs the peers on one link") ||
		!strings.Contains(r.Refusals[0].Fix, "use vxlan or wireguard") {
		t.Errorf("peers %v, refusals %v", r.Peers, r.Refusals)
	}
	x.Run(t, "ip", "route", "del", "10.0.0.2/32")
	nstest.Eventually(t, 5*time.Second, "the route", func() error {
		if routes := x.Run(t, "ip", "route", "show", "10.244.2.0/24"); !strings.Contains(routes, "via 10.0.0.2 dev eth0") {
			return fmt.Errorf("routes are %q", routes)
		}
		return nil
	})
}

func TestHostGWWithAnExternalAddressIsRefused(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2, hostGW, func(n *profiles.Netd) {
		n.Network.ExternalIP = true
		n.Node.ExternalAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	})
	x := c.nodes[0]
	x.start(t)
	nstest.Eventually(t, 10*time.Second, "refusal", func() error {
		if !x.notices.has("host-gw needs the address of device eth0, 10.0.0.1") {
			return fmt.Errorf("told: %q", x.notices.all())
		}
		return nil
	})
}

// Backend none makes no path, but everything that pods of a node need.
func TestBackendNoneKeepsFilesAndRulesOnly(t *testing.T) {
	c := newCluster(t, dual, 2, backend(profiles.BackendNone))
	c.startAll(t)
	x := c.nodes[0]
	if state := x.state(t); strings.Contains(state, "flannel") || strings.Contains(state, "10.244.2.0/24 via") ||
		!strings.Contains(state, "masquerade") {
		t.Errorf("state is\n%s\nwant rules and nothing else", state)
	}
	env, _ := os.ReadFile(x.config.Paths.SubnetEnv)
	conflist, _ := os.ReadFile(x.config.Paths.CNI)
	if !strings.Contains(string(env), "FLANNEL_MTU=1500\n") || !strings.Contains(string(conflist), `"mtu": 1500`) {
		t.Errorf("files are\n%s\n%s", env, conflist)
	}
}

// A restart changes nothing with plain routes either.
func TestRestartChangesNothingWithPlainRoutes(t *testing.T) {
	for name, change := range map[string]func(*profiles.Netd){"host-gw": hostGW, "direct routing": directRouting} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, dual, 3, change)
			c.startAll(t)
			x := c.nodes[0]
			x.stop(t, unix.SIGKILL)
			events := monitor(t, x)
			x.start(t)
			x.waitReady(t)
			if n := x.report(t).Counters.Changes; n != 0 {
				t.Errorf("netd says it made %d changes, want 0", n)
			}
			if seen := events(); len(seen) > 0 {
				t.Errorf("the restart made %d changes, want 0:\n%s", len(seen), strings.Join(seen, "\n"))
			}
		})
	}
}
