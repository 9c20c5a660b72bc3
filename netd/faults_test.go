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

// drifted starts two nodes, breaks something on the first and expects its
// state back within a second, and traffic with it.
func drifted(t *testing.T, what string, breakIt func(x *node), change ...func(*profiles.Netd)) {
	t.Run(what, func(t *testing.T) {
		c := newCluster(t, dual, 2, change...)
		c.startAll(t)
		x := c.nodes[0]
		one := x.addPod(t, 10)
		c.nodes[1].addPod(t, 20)
		before := x.state(t)
		start := time.Now()
		breakIt(x)
		x.becomesSince(t, start, before, what)
		pings(t, one, "10.244.2.20")
		pings(t, one, "fd42:0:0:2::14")
	})
}

// F8.
func TestDeletedRouteReturnsWithinASecond(t *testing.T) {
	drifted(t, "a deleted IPv4 route", func(x *node) { x.Run(t, "ip", "route", "del", "10.244.2.0/24") })
	drifted(t, "a deleted IPv6 route", func(x *node) { x.Run(t, "ip", "-6", "route", "del", "fd42:0:0:2::/64") })
}

func TestDeletedFDBEntryReturnsWithinASecond(t *testing.T) {
	drifted(t, "a deleted FDB entry", func(x *node) {
		x.Run(t, "bridge", "fdb", "del", profiles.VTEPMAC("node-2").String(), "dev", "flannel.1", "self")
	})
}

func TestDeletedNeighbourReturnsWithinASecond(t *testing.T) {
	drifted(t, "a deleted neighbour", func(x *node) { x.Run(t, "ip", "neigh", "del", "fd42:0:0:2::", "dev", "flannel-v6.1") })
}

func TestDeletedAddressReturnsWithinASecond(t *testing.T) {
	drifted(t, "a deleted address", func(x *node) { x.Run(t, "ip", "address", "del", "10.244.1.0/32", "dev", "flannel.1") })
}

func TestForeignStateOnOurDeviceGoesWithinASecond(t *testing.T) {
	drifted(t, "a foreign route", func(x *node) {
		x.Run(t, "ip", "route", "add", "10.244.77.0/24", "via", "10.244.77.0", "dev", "flannel.1", "onlink")
	})
	drifted(t, "a foreign neighbour and FDB entry", func(x *node) {
		x.Run(t, "ip", "neigh", "add", "10.244.77.0", "lladdr", "02:00:00:00:00:77", "dev", "flannel.1")
		x.Run(t, "bridge", "fdb", "add", "02:00:00:00:00:77", "dst", "10.0.0.77", "dev", "flannel.1", "self")
	})
	drifted(t, "a changed FDB entry", func(x *node) {
		x.Run(t, "bridge", "fdb", "replace", profiles.VTEPMAC("node-2").String(), "dst", "10.0.0.77", "dev", "flannel.1", "self", "permanent")
	})
	drifted(t, "a changed route", func(x *node) {
		x.Run(t, "ip", "route", "replace", "10.244.2.0/24", "via", "10.0.0.2", "dev", "eth0")
	})
}

// F5 and F5b.
func TestDeletedDeviceReturnsWithItsMACAndEverythingOnIt(t *testing.T) {
	drifted(t, "a deleted flannel.1", func(x *node) { x.Run(t, "ip", "link", "del", "flannel.1") })
	drifted(t, "a deleted flannel-v6.1", func(x *node) { x.Run(t, "ip", "link", "del", "flannel-v6.1") })
}

// F6.
func TestDeviceDownAndUpGetsItsRoutesBack(t *testing.T) {
	drifted(t, "flannel.1 down and up", func(x *node) {
		x.Run(t, "ip", "link", "set", "flannel.1", "down")
		x.Run(t, "ip", "link", "set", "flannel.1", "up")
	})
	drifted(t, "flannel-v6.1 down", func(x *node) { x.Run(t, "ip", "link", "set", "flannel-v6.1", "down") })
}

func TestChangedDeviceGetsItsSettingsBack(t *testing.T) {
	drifted(t, "a changed MTU", func(x *node) { x.Run(t, "ip", "link", "set", "flannel.1", "mtu", "1400") })
	drifted(t, "a changed MAC", func(x *node) {
		x.Run(t, "ip", "link", "set", "flannel.1", "address", "02:00:00:00:00:99")
	})
	drifted(t, "a device of another VNI", func(x *node) {
		x.Run(t, "ip", "link", "del", "flannel.1")
		x.Try(t, "ip", "link", "add", "flannel.1", "type", "vxlan", "id", "9", "dstport", "9999")
	})
}

// F18.
func TestFlushedRulesReturnWithinASecond(t *testing.T) {
	drifted(t, "nft flush ruleset", func(x *node) { x.Run(t, "nft", "flush", "ruleset") })
	drifted(t, "nft flush chain", func(x *node) { x.Run(t, "nft", "flush", "chain", "ip", "weft", "postrouting") })
	drifted(t, "a deleted table", func(x *node) { x.Run(t, "nft", "delete", "table", "ip6", "weft") })
	drifted(t, "a foreign rule", func(x *node) { x.Run(t, "nft", "add", "rule", "ip", "weft", "forward", "drop") })
}

func TestRepairsAreCounted(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2)
	c.startAll(t)
	x := c.nodes[0]
	if n := x.report(t).Counters.Repairs; n != 0 {
		t.Errorf("%d repairs counted before anything was broken", n)
	}
	before := x.state(t)
	x.Run(t, "ip", "route", "del", "10.244.2.0/24")
	x.becomes(t, before, "a deleted route")
	x.Run(t, "nft", "flush", "ruleset")
	x.becomes(t, before, "flushed rules")
	nstest.Eventually(t, 5*time.Second, "counted repairs", func() error {
		if c := x.report(t).Counters; c.Repairs != 1 || c.FirewallRepairs != 1 {
			return fmt.Errorf("counted %d and %d repairs, want 1 and 1", c.Repairs, c.FirewallRepairs)
		}
		return nil
	})
}

// F1 and F1b: killing netd loses no packet, starting it again changes nothing.
func TestKilledDaemonLeavesTheNetworkWorking(t *testing.T) {
	for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			c := newCluster(t, dual, 2)
			c.startAll(t)
			x := c.nodes[0]
			one := x.addPod(t, 10)
			c.nodes[1].addPod(t, 20)
			pings(t, one, "10.244.2.20")
			before := x.state(t)
			x.stop(t, signal)
			if after := x.state(t); after != before {
				t.Errorf("state after %v is\n%s\nwas\n%s", signal, after, before)
			}
			out := one.Run(t, "ping", "-c", "20", "-i", "0.02", "-W", "1", "10.244.2.20")
			if !strings.Contains(out, " 0% packet loss") {
				t.Errorf("packets were lost:\n%s", out)
			}
		})
	}
}

func TestRestartChangesNothing(t *testing.T) {
	for name, probe := range map[string]bool{"without a probe pod": false, "with a probe pod": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, dual, 3, func(n *profiles.Netd) { n.Network.Probe = probe })
			c.startAll(t)
			x := c.nodes[0]
			if probe {
				x.waitProbes(t)
			}
			before := x.state(t)
			x.stop(t, unix.SIGKILL)
			events := monitor(t, x)
			x.start(t)
			x.waitReady(t)
			if probe {
				x.waitProbes(t)
			}
			if r := x.report(t); r.Counters.Changes != 0 {
				t.Errorf("netd says it made %d changes, want 0", r.Counters.Changes)
			}
			if seen := events(); len(seen) > 0 {
				t.Errorf("the restart made %d changes, want 0:\n%s", len(seen), strings.Join(seen, "\n"))
			}
			if after := x.state(t); after != before {
				t.Errorf("state is\n%s\nwas\n%s", after, before)
			}
		})
	}
}

// waitProbes waits until all peers' probe pods have answered.
func (x *node) waitProbes(t testing.TB) {
	t.Helper()
	nstest.Eventually(t, 20*time.Second, "answers of all probe pods", func() error {
		for _, p := range x.report(t).Peers {
			if p.Probe == nil || !p.Probe.Answers {
				return fmt.Errorf("%s %s does not answer", p.Name, p.Family)
			}
		}
		return nil
	})
}

// F3.
func TestPeerRemovedWhileDownIsCleanedUpAtStart(t *testing.T) {
	c := newCluster(t, dual, 3)
	c.startAll(t)
	x := c.nodes[0]
	x.stop(t, unix.SIGKILL)
	x.config.Network.Peers = x.config.Network.Peers[:1] // node-2 only
	x.writeConfig(t)
	x.start(t)
	x.waitReady(t)
	if state := x.state(t); strings.Contains(state, "10.244.3.0") || strings.Contains(state, "fd42:0:0:3:") ||
		strings.Contains(state, profiles.VTEPMAC("node-3").String()) {
		t.Errorf("something of node-3 is left:\n%s", state)
	}
}

func TestReloadAddsAndRemovesAPeer(t *testing.T) {
	c := newCluster(t, dual, 3)
	c.startAll(t)
	x := c.nodes[0]
	all := x.config.Network.Peers
	both := x.state(t)

	x.config.Network.Peers = all[:1]
	x.reload(t)
	nstest.Eventually(t, 5*time.Second, "node-3 gone", func() error {
		if state := x.state(t); strings.Contains(state, profiles.VTEPMAC("node-3").String()) {
			return fmt.Errorf("state is\n%s", state)
		}
		return nil
	})
	x.config.Network.Peers = all
	x.reload(t)
	nstest.Eventually(t, 5*time.Second, "node-3 back", func() error {
		if state := x.state(t); normal(state) != normal(both) {
			return fmt.Errorf("state is\n%s\nwas\n%s", state, both)
		}
		return nil
	})
}

func TestRefusedReloadKeepsTheOldConfiguration(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2)
	c.startAll(t)
	x := c.nodes[0]
	before := x.state(t)
	if err := os.WriteFile(x.dir+"/netd.yaml", []byte("weft: netd/v1\nnonsense: true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	x.netd.Process.Signal(unix.SIGHUP)
	nstest.Eventually(t, 5*time.Second, "refusal", func() error {
		if !x.notices.has("configuration refused, the old one stays") {
			return fmt.Errorf("told: %q", x.notices.all())
		}
		return nil
	})
	if after := x.state(t); after != before {
		t.Errorf("state is\n%s\nwas\n%s", after, before)
	}
	// It is told until there is a good one; the network is as it should be.
	r := x.report(t)
	if !r.Ready || r.Reload == nil || !strings.Contains(r.Reload.Error, "nonsense") || time.Since(r.Reload.Time) > time.Minute {
		t.Errorf("ready %t, reload %+v", r.Ready, r.Reload)
	}
	x.reload(t)
	nstest.Eventually(t, 20*time.Second, "no more refusal", func() error {
		if r := x.report(t); r.Reload == nil || r.Reload.Error != "" {
			return fmt.Errorf("reload %+v", r.Reload)
		}
		if all := x.notices.all(); strings.Contains(all[len(all)-1], "refused") {
			return fmt.Errorf("told last: %q", all[len(all)-1])
		}
		return nil
	})
}

// The kernel tells nobody of a device's accept_ra; who asks whether netd is
// ready sets off the repair.
func TestReportThatFindsDriftHasItRepairedWithinASecond(t *testing.T) {
	c := newCluster(t, onlyIPv6, 1)
	c.startAll(t)
	x := c.nodes[0]
	const setting = "/proc/sys/net/ipv6/conf/flannel-v6.1/accept_ra"
	x.Run(t, "sh", "-c", "echo 2 > "+setting)
	start := time.Now()
	first := x.report(t)
	if !first.Ready && !strings.Contains(first.Fix, "within a second") {
		t.Errorf("reason %q, fix %q", first.Reason, first.Fix)
	}
	nstest.Eventually(t, 20*time.Second, "accept_ra", func() error {
		if have := strings.TrimSpace(x.Run(t, "cat", setting)); have != "0" {
			return fmt.Errorf("it is %s", have)
		}
		return nil
	})
	x.eventually(t, "ready", func() error { return nil })
	if r := x.report(t); r.Counters.LastRepair == nil || r.Counters.LastRepair.Sub(start) > time.Second {
		t.Errorf("repaired at %v, asked at %v", r.Counters.LastRepair, start)
	}
}

// F11.
func TestUnderlayAddressChangeIsFollowed(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2, func(n *profiles.Netd) { n.Node.Addresses = nil })
	for _, x := range c.nodes {
		x.Run(t, "ip", "route", "add", "default", "via", "10.0.0.254")
	}
	c.startAll(t)
	x, peer := c.nodes[0], c.nodes[1]
	one := x.addPod(t, 10)
	peer.addPod(t, 20)
	pings(t, one, "10.244.2.20")

	x.Run(t, "ip", "address", "del", "10.0.0.1/24", "dev", "eth0")
	x.Run(t, "ip", "address", "add", "10.0.0.101/24", "dev", "eth0")
	x.Run(t, "ip", "route", "replace", "default", "via", "10.0.0.254")
	nstest.Eventually(t, 5*time.Second, "new local address", func() error {
		if out := x.Run(t, "ip", "-d", "link", "show", "flannel.1"); !strings.Contains(out, "local 10.0.0.101 ") {
			return fmt.Errorf("device is\n%s", out)
		}
		return nil
	})
	// The device was changed, not made anew: its routes never went.
	peer.config.Network.Peers[0].Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.101")}
	peer.reload(t)
	pings(t, one, "10.244.2.20")
}

// F12.
func TestUnderlayMTUChangeIsFollowed(t *testing.T) {
	c := newCluster(t, dual, 2, withProbe)
	c.startAll(t)
	x := c.nodes[0]
	x.Run(t, "ip", "link", "set", "eth0", "mtu", "1400")
	nstest.Eventually(t, 5*time.Second, "devices and files follow", func() error {
		env, _ := os.ReadFile(x.config.Paths.SubnetEnv)
		conflist, _ := os.ReadFile(x.config.Paths.CNI)
		for what, have := range map[string]string{
			"mtu 1350 ":          x.Run(t, "ip", "link", "show", "flannel.1"),
			"mtu 1330 ":          x.Run(t, "ip", "link", "show", "flannel-v6.1"),
			"FLANNEL_MTU=1330\n": string(env),
			`"mtu": 1330,`:       string(conflist),
		} {
			if !strings.Contains(have, what) {
				return fmt.Errorf("no %q in\n%s", what, have)
			}
		}
		return nil
	})
	if log := x.log.String(); !strings.Contains(log, "pods that run keep theirs") {
		t.Errorf("nothing is said of pods that run:\n%s", log)
	}
	x.Run(t, "ip", "link", "set", "eth0", "mtu", "1500")
	nstest.Eventually(t, 5*time.Second, "devices follow back", func() error {
		if out := x.Run(t, "ip", "link", "show", "flannel.1"); !strings.Contains(out, "mtu 1450 ") {
			return fmt.Errorf("flannel.1 is\n%s", out)
		}
		return nil
	})
}

// A node may start before it has an address.
func TestStartWaitsForTheUnderlayByEvents(t *testing.T) {
	c := newCluster(t, dual, 2)
	x := c.nodes[0]
	x.Run(t, "ip", "address", "flush", "dev", "eth0", "scope", "global")
	x.start(t)
	nstest.Eventually(t, 5*time.Second, "word of what it waits for", func() error {
		if !x.notices.has("waiting for the underlay: no device carries 10.0.0.1") {
			return fmt.Errorf("told: %q", x.notices.all())
		}
		return nil
	})
	x.Run(t, "ip", nstest.AddAddress("eth0", underlay4(1))...)
	nstest.Eventually(t, 5*time.Second, "IPv4 while IPv6 is still missing", func() error {
		_, err := x.Try(t, "ip", "link", "show", "flannel.1")
		return err
	})
	x.Run(t, "ip", nstest.AddAddress("eth0", underlay6(1))...)
	if took := x.waitReady(t); took > time.Second {
		t.Errorf("ready %v after the last address, want within 1 s", took)
	}
}

// F7: an underlay that loses its IPv6 address for a moment, as every device that
// goes down does, keeps its tunnel.
func TestUnderlayDownAndUpKeepsTheTunnels(t *testing.T) {
	c := newCluster(t, dual, 2)
	c.startAll(t)
	x := c.nodes[0]
	one := x.addPod(t, 10)
	c.nodes[1].addPod(t, 20)
	before := x.state(t)
	x.Run(t, "ip", "link", "set", "eth0", "down")
	x.Run(t, "ip", "link", "set", "eth0", "up")
	x.Run(t, "ip", nstest.AddAddress("eth0", underlay6(1))...)
	x.becomes(t, before, "eth0 down and up")
	pings(t, one, "10.244.2.20")
	pings(t, one, "fd42:0:0:2::14")
}
