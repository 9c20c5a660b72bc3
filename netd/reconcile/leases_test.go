package reconcile

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/nstest"
)

// state is what matters of a member's tunnels and routes to pods. That an
// address is tentative is the kernel's own doing and ends by itself.
func (x *member) state(t testing.TB) string {
	t.Helper()
	var all strings.Builder
	for _, device := range []string{"flannel.1", "flannel-v6.1"} {
		for _, args := range [][]string{{"ip", "-o", "-d", "link", "show", device}, {"ip", "-o", "address", "show", device},
			{"ip", "neigh", "show", "nud", "permanent", "dev", device}, {"bridge", "fdb", "show", "dev", device}} {
			out, _ := x.Try(t, args[0], args[1:]...)
			all.WriteString(strings.ReplaceAll(out, " tentative", ""))
		}
	}
	all.WriteString(x.Run(t, "ip", "-4", "route", "show", "root", "10.244.0.0/16"))
	all.WriteString(x.Run(t, "ip", "-6", "route", "show", "root", "fd42::/48"))
	return all.String()
}

// A restart of a node whose subnets the store gives: as long as the store
// does not, what the kernel holds stays; then nothing has to be changed.
func TestRestartWithSubnetsOfTheStoreChangesNothing(t *testing.T) {
	lan, m := nstest.NewLAN(t, "lan"), newMemory()
	one, two := join(t, lan, m, 1, vxlan), join(t, lan, m, 2, vxlan)
	one.knows(t, 1)
	two.knows(t, 1)
	before := one.state(t)
	one.stop()
	m.change(func() { m.refuse = errors.New("out of order") })
	one.start(t, m)
	nstest.Eventually(t, 5*time.Second, "word of the store", func() error {
		if _, reason := one.snapshot().Ready(); !strings.Contains(reason, "out of order") {
			return fmt.Errorf("reason is %q", reason)
		}
		return nil
	})
	if now := one.state(t); now != before {
		t.Errorf("state is\n%s\nwas\n%s", now, before)
	}
	m.change(func() { m.refuse = nil })
	one.knows(t, 1)
	if n := one.snapshot().Counters.Changes; n != 0 {
		t.Errorf("%d changes, want 0", n)
	}
	if now := one.state(t); now != before {
		t.Errorf("state is\n%s\nwas\n%s", now, before)
	}
	// With the subnets remembered the store is not even waited for.
	one.stop()
	m.change(func() { m.refuse = errors.New("out of order") })
	node := two.snapshot()
	one.config.Given = []netip.Prefix{node.Peers[0].Subnet, node.Peers[1].Subnet}
	one.start(t, m)
	nstest.Eventually(t, 5*time.Second, "peers", func() error {
		if len(one.snapshot().Peers) != 2 {
			return errors.New("none")
		}
		return nil
	})
	if now := one.state(t); now != before {
		t.Errorf("state is\n%s\nwas\n%s", now, before)
	}
}

// F9c and F9d: leases that are no good cost neither those that are nor time.
func TestBadLeasesDoNotHoldUpGoodOnes(t *testing.T) {
	lan, m := nstest.NewLAN(t, "lan"), newMemory()
	one, two := join(t, lan, m, 1, vxlan), join(t, lan, m, 2, vxlan)
	one.knows(t, 1)
	two.knows(t, 1)
	before := one.state(t)
	lan4 := one.Run(t, "ip", "route", "get", "192.168.7.7")
	bad := func(subnet, mac string) lease.Lease {
		return lease.Lease{Node: "bad-" + subnet, Backend: lease.VXLAN, IPv4: lease.Half{Subnet: netip.MustParsePrefix(subnet),
			Address: netip.MustParseAddr("10.0.0.99"), MAC: mac, VNI: 1}}
	}
	m.change(func() {
		for _, l := range []lease.Lease{
			bad("192.168.7.0/24", "02:00:00:00:00:91"), bad("10.0.0.0/8", "02:00:00:00:00:92"), bad("0.0.0.0/0", "02:00:00:00:00:93"),
			bad("10.244.91.0/24", "zz"), bad("10.244.92.0/24", ""), {Node: "empty", Backend: lease.VXLAN},
			{Node: "udp", Backend: "udp", IPv4: lease.Half{Subnet: netip.MustParsePrefix("10.244.93.0/24")}},
		} {
			m.leases[l.Node] = l
		}
	})
	nstest.Eventually(t, 5*time.Second, "refusals", func() error {
		if n := len(one.snapshot().Refusals); n < 7 {
			return fmt.Errorf("%d refusals", n)
		}
		return nil
	})
	if now := one.state(t); now != before {
		t.Errorf("state is\n%s\nwas\n%s", now, before)
	}
	if now := one.Run(t, "ip", "route", "get", "192.168.7.7"); now != lan4 {
		t.Errorf("a route outside the network is now %s, was %s", now, lan4)
	}
	three := join(t, lan, m, 3, vxlan)
	start := time.Now()
	one.knowsPeer(t, three)
	if took := time.Since(start); took > time.Second {
		t.Errorf("a good lease took %v", took)
	}
}

// knowsPeer waits until a node has programmed another.
func (x *member) knowsPeer(t *testing.T, other *member) {
	t.Helper()
	nstest.Eventually(t, 5*time.Second, x.Name+" knows "+other.Name, func() error {
		for _, p := range x.snapshot().Peers {
			if p.Node == other.Name {
				return nil
			}
		}
		return errors.New("it does not")
	})
}

// F9e: a peer that says another MAC and address has its old FDB entry removed.
func TestPeerWithANewMACAndAddressLeavesNoOldEntry(t *testing.T) {
	lan, m := nstest.NewLAN(t, "lan"), newMemory()
	one := join(t, lan, m, 1, vxlan)
	one.knows(t, 0)
	peer := func(address, mac string) lease.Lease {
		return lease.Lease{Node: "peer", UUID: "00000000-0000-4000-8000-000000000099", Backend: lease.VXLAN,
			IPv4: lease.Half{Subnet: netip.MustParsePrefix("10.244.99.0/24"), Address: netip.MustParseAddr(address), MAC: mac, VNI: 1}}
	}
	m.change(func() { m.leases["peer"] = peer("10.0.0.98", "02:00:00:00:00:98") })
	entries := func(want, not string) {
		t.Helper()
		nstest.Eventually(t, time.Second, "entries of "+want, func() error {
			fdb := one.Run(t, "bridge", "fdb", "show", "dev", "flannel.1")
			neigh := one.Run(t, "ip", "neigh", "show", "nud", "permanent", "dev", "flannel.1")
			if !strings.Contains(fdb, want) || !strings.Contains(neigh, want) || strings.Contains(fdb+neigh, not) {
				return fmt.Errorf("FDB\n%sneighbours\n%s", fdb, neigh)
			}
			return nil
		})
	}
	entries("02:00:00:00:00:98", "none")
	m.change(func() { m.leases["peer"] = peer("10.0.0.97", "02:00:00:00:00:97") })
	entries("02:00:00:00:00:97", "02:00:00:00:00:98")
	// The same address with another MAC, and the same MAC at another address.
	m.change(func() { m.leases["peer"] = peer("10.0.0.97", "02:00:00:00:00:96") })
	entries("02:00:00:00:00:96", "02:00:00:00:00:97")
	m.change(func() { m.leases["peer"] = peer("10.0.0.95", "02:00:00:00:00:96") })
	nstest.Eventually(t, time.Second, "the new address", func() error {
		if fdb := one.Run(t, "bridge", "fdb", "show", "dev", "flannel.1"); !strings.Contains(fdb, "10.0.0.95") || strings.Contains(fdb, "10.0.0.97") {
			return errors.New(fdb)
		}
		return nil
	})
}

// An underlay that is taken away and comes back with another number, as a USB
// adapter does, has everything again, on a new device.
func TestUnderlayThatIsMadeAnewHasEverythingAgain(t *testing.T) {
	lan, m := nstest.NewLAN(t, "lan"), newMemory()
	one, two := join(t, lan, m, 1, vxlan), join(t, lan, m, 2, vxlan)
	one.knows(t, 1)
	two.knows(t, 1)
	one.Run(t, "ip", "link", "del", "eth0")
	nstest.Eventually(t, 5*time.Second, "word of it", func() error {
		if ready, _ := one.snapshot().Ready(); ready {
			return errors.New("it is ready")
		}
		return nil
	})
	lan.Attach(t, one.Node, "eth0", "10.0.0.1/24", "fd00:10::1/64")
	one.Run(t, "ip", "route", "add", "default", "via", "10.0.0.254")
	one.Run(t, "ip", "-6", "route", "add", "default", "via", "fd00:10::fe")
	one.knows(t, 1)
	a, _ := one.pod(t), two.pod(t)
	reaches(t, a, podOf(two.snapshot().Node.IPv4))
	reaches(t, a, podOf(two.snapshot().Node.IPv6))
}
