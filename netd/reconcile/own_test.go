package reconcile

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"weft/netd/nstest"
	"weft/profiles"
)

func TestSubnetsAreGivenByTheStore(t *testing.T) {
	lan, m := nstest.NewLAN(t, "lan"), newMemory()
	one, two := join(t, lan, m, 1, vxlan), join(t, lan, m, 2, vxlan)
	one.knows(t, 1)
	two.knows(t, 1)
	s := one.snapshot()
	if !s.Node.IPv4.IsValid() || !s.Node.IPv6.IsValid() || s.Node.IPv4 == two.snapshot().Node.IPv4 {
		t.Fatalf("subnets are %v and %v", s.Node, two.snapshot().Node)
	}
	a, _ := one.pod(t), two.pod(t)
	reaches(t, a, podOf(two.snapshot().Node.IPv4))
	reaches(t, a, podOf(two.snapshot().Node.IPv6))
}

// A podCIDR that changed, or an own lease that was deleted and made again with
// another subnet.
func TestSubnetThatTheStoreChangesIsFollowed(t *testing.T) {
	lan, m := nstest.NewLAN(t, "lan"), newMemory()
	one, two := join(t, lan, m, 1, vxlan), join(t, lan, m, 2, vxlan)
	one.knows(t, 1)
	two.knows(t, 1)
	m.change(func() { m.subnets[one.config.Node.UUID] = 77 })
	nstest.Eventually(t, 5*time.Second, "the new subnet on both nodes", func() error {
		if out := one.Run(t, "ip", "address", "show", "flannel.1"); !strings.Contains(out, "inet 10.244.77.0/32") ||
			strings.Count(out, "inet ") != 1 {
			return fmt.Errorf("addresses are\n%s", out)
		}
		if out := two.Run(t, "ip", "route", "show", "dev", "flannel.1"); !strings.HasPrefix(out, "10.244.77.0/24") {
			return fmt.Errorf("routes of the peer are\n%s", out)
		}
		return nil
	})
	a, _ := one.pod(t), two.pod(t)
	reaches(t, a, podOf(two.snapshot().Node.IPv4))
}

// F11: the node keeps its subnet, the device follows in place, peers are told.
func TestNodeThatChangesItsAddressKeepsItsSubnetAndItsPeers(t *testing.T) {
	for _, b := range []profiles.Backend{vxlan, {Type: profiles.BackendHostGW}} {
		t.Run(b.Type, func(t *testing.T) {
			lan, m := nstest.NewLAN(t, "lan"), newMemory()
			one, two := join(t, lan, m, 1, b), join(t, lan, m, 2, b)
			one.knows(t, 1)
			two.knows(t, 1)
			subnet := one.snapshot().Node.IPv4
			a, _ := one.pod(t), two.pod(t)
			reaches(t, a, podOf(two.snapshot().Node.IPv4))
			before, _ := one.Try(t, "ip", "-o", "link", "show", "flannel.1")
			one.Run(t, "ip", "address", "del", "10.0.0.1/24", "dev", "eth0")
			one.Run(t, "ip", "address", "add", "10.0.0.101/24", "dev", "eth0")
			one.Run(t, "ip", "route", "replace", "default", "via", "10.0.0.254")
			nstest.Eventually(t, 5*time.Second, "the peer knows the new address", func() error {
				for _, p := range two.snapshot().Peers {
					if p.Address.String() == "10.0.0.101" && p.Subnet == subnet {
						return nil
					}
				}
				return fmt.Errorf("peers are %v", two.snapshot().Peers)
			})
			reaches(t, a, podOf(two.snapshot().Node.IPv4))
			if after, _ := one.Try(t, "ip", "-o", "link", "show", "flannel.1"); strings.Split(after, ":")[0] != strings.Split(before, ":")[0] {
				t.Errorf("the device was made anew: %s, was %s", after, before)
			}
			if now := one.snapshot().Node.IPv4; now != subnet {
				t.Errorf("subnet is %s, was %s", now, subnet)
			}
			if fdb, _ := two.Try(t, "bridge", "fdb", "show", "dev", "flannel.1"); strings.Contains(fdb, "10.0.0.1 ") {
				t.Errorf("the old FDB entry is left:\n%s", fdb)
			}
		})
	}
}

// gaps are the lines of ping around what is missing, and its last.
func gaps(out string) string {
	var shown []string
	lines, last := strings.Split(strings.TrimSpace(out), "\n"), 0
	for i, line := range lines {
		var seq int
		if _, after, found := strings.Cut(line, "icmp_seq="); found {
			if _, err := fmt.Sscan(after, &seq); err == nil && seq != last+1 {
				shown = append(shown, lines[max(i-1, 0)], line)
			}
			last = max(seq, last)
		}
	}
	return strings.Join(append(shown, lines[max(0, len(lines)-3):]...), "\n")
}

// F19: a network that changes its backend node by node, and back, loses no
// packet between any two nodes.
func TestBackendChangedNodeByNodeLosesNoPacket(t *testing.T) {
	lan, m := nstest.NewLAN(t, "lan"), newMemory()
	nodes := []*member{join(t, lan, m, 1, vxlan), join(t, lan, m, 2, vxlan), join(t, lan, m, 3, vxlan)}
	for _, x := range nodes {
		x.knows(t, 2)
	}
	pods := []*nstest.Node{nodes[0].pod(t), nodes[1].pod(t), nodes[2].pod(t)}
	var ends []func() string
	for i, from := range pods {
		to := nodes[(i+1)%3].snapshot().Node
		reaches(t, from, podOf(to.IPv4))
		reaches(t, from, podOf(to.IPv6))
		ends = append(ends, pinging(t, from, podOf(to.IPv4)), pinging(t, from, podOf(to.IPv6)))
	}
	for _, b := range []profiles.Backend{{Type: profiles.BackendHostGW}, vxlan, {Type: profiles.BackendHostGW}} {
		was := nodes[0].snapshot().Config.Network.Backend.Canonical()
		for changed, x := range nodes {
			x.config.Network = network(b)
			x.loop.Configure(t.Context(), x.config)
			nstest.Eventually(t, 5*time.Second, "the change known everywhere", func() error {
				for _, other := range nodes {
					for _, p := range other.snapshot().Peers {
						if other != x && p.Node == x.Name && p.Backend != b.Type {
							return fmt.Errorf("%s has not heard of %s", other.Name, x.Name)
						}
					}
				}
				// Each knows how many have another backend than itself.
				for i, node := range nodes {
					others, want := was, map[string]int{}
					if want[was] = len(nodes) - 1 - changed; i > changed {
						others = b.Type
						want = map[string]int{others: changed + 1}
					}
					var got map[string]int
					if m := node.snapshot().Migration(); m != nil {
						got = m.Others
					}
					if got[others] != want[others] || (want[others] == 0) != (len(got) == 0) {
						return fmt.Errorf("%s tells of %v with another backend, want %v", node.Name, got, want)
					}
				}
				return nil
			})
		}
	}
	for _, end := range ends {
		if out := end(); !strings.Contains(out, " 0% packet loss") {
			t.Errorf("packets were lost: %s", gaps(out))
		}
	}
	// Nothing of the old backend is left once nobody uses it.
	for _, x := range nodes {
		nstest.Eventually(t, 5*time.Second, "no device left", func() error {
			if links := x.Run(t, "ip", "link", "show"); strings.Contains(links, "flannel") {
				return errors.New(links)
			}
			return nil
		})
	}
}

func TestLeaseThatTheStoreWillNotTakeIsToldAndTriedAgain(t *testing.T) {
	lan, m := nstest.NewLAN(t, "lan"), newMemory()
	m.refuse = errors.New("no subnet is free in 10.244.0.0/16")
	one := join(t, lan, m, 1, vxlan)
	nstest.Eventually(t, 5*time.Second, "word of it", func() error {
		if ready, reason := one.snapshot().Ready(); ready || !strings.Contains(reason, "no subnet is free") {
			return fmt.Errorf("ready %t, reason %q", ready, reason)
		}
		return nil
	})
	m.change(func() { m.refuse = nil })
	one.knows(t, 0)
}

func TestSubnetOutsideTheNetworkIsNotUsed(t *testing.T) {
	lan, m := nstest.NewLAN(t, "lan"), newMemory()
	one := join(t, lan, m, 1, vxlan, func(c *Config) { c.Network.Pods[0] = netip.MustParsePrefix("10.10.0.0/16") })
	nstest.Eventually(t, 5*time.Second, "word of it", func() error {
		if ready, reason := one.snapshot().Ready(); ready || !strings.Contains(reason, "10.244.1.0/24, which is outside the network 10.10.0.0/16") {
			return fmt.Errorf("ready %t, reason %q", ready, reason)
		}
		return nil
	})
	if links := one.Run(t, "ip", "link", "show"); strings.Contains(links, "flannel") {
		t.Errorf("devices were made:\n%s", links)
	}
}

// Peers are told the external address; this node still sends from its own.
func TestExternalAddressIsPublished(t *testing.T) {
	lan, m := nstest.NewLAN(t, "lan"), newMemory()
	external := netip.MustParseAddr("192.0.2.7")
	one := join(t, lan, m, 1, vxlan, func(c *Config) {
		c.Network.ExternalIP, c.Node.ExternalAddresses = true, []netip.Addr{external}
	})
	one.knows(t, 0)
	m.mu.Lock()
	defer m.mu.Unlock()
	own := m.leases[one.config.Node.UUID]
	if own.IPv4.Address != external || own.IPv6.Address.String() != "fd00:10::1" {
		t.Errorf("lease is %+v", own)
	}
	if local := one.snapshot().Wanted.Links[1].VXLAN.Local; local.String() != "10.0.0.1" {
		t.Errorf("the tunnel is sent from %s", local)
	}
}

func TestLoopLeavesNoGoroutineBehind(t *testing.T) {
	lan, m := nstest.NewLAN(t, "lan"), newMemory()
	before := runtime.NumGoroutine()
	one := join(t, lan, m, 1, vxlan)
	one.knows(t, 0)
	for i := range 20 {
		one.Run(t, "ip", "address", "add", fmt.Sprintf("10.0.0.%d/24", 100+i), "dev", "eth0")
		one.config.Node.Addresses = []netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", 100+i)), netip.MustParseAddr("fd00:10::1")}
		one.loop.Configure(t.Context(), one.config)
	}
	one.stop()
	nstest.Eventually(t, 5*time.Second, "all goroutines ended", func() error {
		if after := runtime.NumGoroutine(); after > before {
			return fmt.Errorf("%d goroutines, were %d", after, before)
		}
		return nil
	})
}
