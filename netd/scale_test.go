package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/profiles"
)

// Budgets of a cluster of 5,000 leases, with room for a busy machine: the
// figures printed are the measure, these only catch a change of order.
const (
	manyLeases     = 5000
	wallBudget     = 300 * time.Millisecond
	cpuBudget      = 200 * time.Millisecond
	oneLeaseBudget = 2 * time.Millisecond
	residentBudget = 30 << 20 // bytes, few leases; init has its part of it
	slack          = 4
)

// manyPeers are n peers of a network 10.128.0.0/9 with subnets of /26.
func manyPeers(n int) []profiles.Peer {
	peers := make([]profiles.Peer, n)
	for i := range peers {
		subnet := uint32(10)<<24 | 128<<16 | uint32(i+1)<<6
		address := uint32(10)<<24 | uint32(i+300)
		peers[i] = profiles.Peer{
			Name:      fmt.Sprintf("peer-%d", i),
			Addresses: []netip.Addr{addr4(address)},
			Subnets:   []netip.Prefix{netip.PrefixFrom(addr4(subnet), 26)},
		}
	}
	return peers
}

// manyPeers6 are n peers of a network fd42::/32 with subnets of /64.
func manyPeers6(n int) []profiles.Peer {
	peers := make([]profiles.Peer, n)
	for i := range peers {
		peers[i] = profiles.Peer{
			Name:      fmt.Sprintf("peer-%d", i),
			Addresses: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("fd00:10::%x", i+300))},
			Subnets:   []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("fd42:0:%x::/64", i+1))},
		}
	}
	return peers
}

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// big makes a node of a large network with peers.
func big(peers []profiles.Peer) func(*profiles.Netd) {
	return func(n *profiles.Netd) {
		n.Network.Pods = []netip.Prefix{netip.MustParsePrefix("10.128.0.0/9")}
		n.Node.Subnets = []netip.Prefix{netip.MustParsePrefix("10.255.0.0/26")}
		n.Network.Peers = peers
	}
}

// big6 is [big] with IPv6 alone.
func big6(peers []profiles.Peer) func(*profiles.Netd) {
	return func(n *profiles.Netd) {
		n.Network.Pods = []netip.Prefix{netip.MustParsePrefix("fd42::/32")}
		n.Node.Subnets = []netip.Prefix{netip.MustParsePrefix("fd42:0:fffe::/64")}
		n.Network.Peers = peers
	}
}

// TestScale measures netd with many leases and prints "name value unit" lines.
func TestScale(t *testing.T) {
	cases := []struct {
		name, prefix string
		f            families
		peers        func(int) []profiles.Peer
		network      func([]profiles.Peer) func(*profiles.Netd)
		change       func(*profiles.Netd)
	}{
		{"vxlan", "netd", onlyIPv4, manyPeers, big, func(*profiles.Netd) {}},
		{"vxlan IPv6", "netd_ipv6", onlyIPv6, manyPeers6, big6, func(*profiles.Netd) {}},
		{"direct routing", "netd_direct", onlyIPv4, manyPeers, big, directRouting},
		{"host-gw", "netd_hostgw", onlyIPv4, manyPeers, big, hostGW},
		{"host-gw IPv6", "netd_hostgw_ipv6", onlyIPv6, manyPeers6, big6, hostGW},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cluster := newCluster(t, c.f, 1, c.network(c.peers(manyLeases)), c.change)
			measureScale(t, cluster.nodes[0], c.prefix, c.peers)
		})
	}
}

// measureScale measures a node with many leases.
func measureScale(t *testing.T, x *node, prefix string, peers func(int) []profiles.Peer) {
	t.Helper()
	// All of the peers' IPv4 addresses are on the link, too.
	x.Run(t, "ip", "address", "add", "10.0.0.1/9", "dev", "eth0")
	x.start(t)
	x.waitReady(t)
	first := x.timing(t)
	figure(t, prefix+"_5000_leases_wall", first.wall, wallBudget)
	figure(t, prefix+"_5000_leases_cpu", first.cpu, cpuBudget)
	if got := strings.Count(x.Run(t, "ip", "route", "show")+x.Run(t, "ip", "-6", "route", "show"), " via "); got != manyLeases {
		t.Fatalf("%d routes, want %d", got, manyLeases)
	}
	fmt.Printf(prefix+"_5000_leases_resident %.1f MB\n", float64(x.resident(t))/1e6)

	// One more lease, the quickest of five: reading the whole configuration for
	// it, as the static store must, leaves the garbage collector at work.
	// make bench-netd has the median, with a store that tells of the one.
	var one []time.Duration
	for n := manyLeases + 1; n <= manyLeases+5; n++ {
		x.config.Network.Peers = peers(n)
		x.reload(t)
		nstest.Eventually(t, 10*time.Second, "one more lease", func() error {
			if have := len(x.report(t).Peers); have != n {
				return fmt.Errorf("%d peers", have)
			}
			return nil
		})
		one = append(one, x.timing(t).wall)
	}
	figure(t, prefix+"_1_lease_of_5000_wall", slices.Min(one), oneLeaseBudget)

	// A fifth of all nodes leaves, and comes back.
	for _, step := range []struct {
		name string
		n    int
	}{{"1000_leases_less", manyLeases - 1000}, {"1000_leases_more", manyLeases}} {
		x.config.Network.Peers = peers(step.n)
		x.reload(t)
		nstest.Eventually(t, 10*time.Second, step.name, func() error {
			if have := len(x.report(t).Peers); have != step.n {
				return fmt.Errorf("%d peers", have)
			}
			return nil
		})
		figure(t, prefix+"_"+step.name+"_wall", x.timing(t).wall, wallBudget)
	}

	// Restart with everything present.
	x.stop(t, unix.SIGKILL)
	x.start(t)
	x.waitReady(t)
	again := x.timing(t)
	fmt.Printf(prefix+"_5000_leases_restart_wall %.1f ms\n", ms(again.wall))
	fmt.Printf(prefix+"_5000_leases_restart_cpu %.1f ms\n", ms(again.cpu))
	if n := x.report(t).Counters.Changes; n != 0 {
		t.Errorf("the restart made %d changes, want 0", n)
	}
}

func TestSmallNodeStaysSmall(t *testing.T) {
	c := newCluster(t, dual, 3, withProbe)
	c.startAll(t)
	x := c.nodes[0]
	x.report(t) // the status server has worked, too
	resident := x.resident(t)
	fmt.Printf("netd_resident %.1f MB\n", float64(resident)/1e6)
	if measured && resident > residentBudget {
		t.Errorf("netd holds %d bytes, want at most %d", resident, residentBudget)
	}
}

// figure prints a figure and fails the test when it is far over its budget.
func figure(t *testing.T, name string, value, budget time.Duration) {
	t.Helper()
	fmt.Printf("%s %.2f ms\n", name, ms(value))
	if measured && value > slack*budget {
		t.Errorf("%s is %v, want at most %v (with a busy machine %d times that)", name, value, budget, slack)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// timing is the last pass of the reconciler that changed something or was the
// first.
type timing struct{ wall, cpu time.Duration }

func (x *node) timing(t testing.TB) timing {
	t.Helper()
	p := x.report(t).LastWork
	return timing{wall: time.Duration(p.WallMillis * float64(time.Millisecond)),
		cpu: time.Duration(p.CPUMillis * float64(time.Millisecond))}
}

// resident is the memory netd holds, in bytes (VmRSS of proc_pid_status(5)).
func (x *node) resident(t testing.TB) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", x.netd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
