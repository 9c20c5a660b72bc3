package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/profiles"
)

// byIPTables makes a network keep its rules by iptables.
func byIPTables(n *profiles.Netd) {
	yes := true
	n.Network.Firewall.Mode = profiles.FirewallIPTables
	n.Network.Masquerade.IPv6 = &yes
}

// flannelRules are the rules in flannel's chains, without counters.
func (x *node) flannelRules(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for _, program := range []string{"iptables-save", "ip6tables-save"} {
		for line := range strings.Lines(x.Run(t, program)) {
			if strings.Contains(line, "FLANNEL-") && strings.HasPrefix(line, "-A") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// useLegacy makes iptables be the legacy one for a test and the netd in it.
func useLegacy(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, program := range []string{"", "-save", "-restore"} {
			path, err := exec.LookPath(name + "-legacy" + program)
			if err != nil {
				t.Fatalf("%s-legacy%s is missing: install iptables (make deps)", name, program)
			}
			if err := os.Symlink(path, filepath.Join(dir, name+program)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestFlushedIPTablesReturnWithinASecond(t *testing.T) {
	t.Run("over nftables", func(t *testing.T) { flushIPTables(t, "nft flush ruleset") })
	t.Run("legacy", func(t *testing.T) { useLegacy(t); flushIPTables(t) })
}

// flushIPTables breaks the rules of a node in all ways, and in more.
func flushIPTables(t *testing.T, more ...string) {
	c := newCluster(t, dual, 2, byIPTables)
	c.startAll(t)
	x := c.nodes[0]
	one := x.addPod(t, 10)
	c.nodes[1].addPod(t, 20)
	before := x.flannelRules(t)
	if n := strings.Count(before, "\n"); n != 20 {
		t.Fatalf("there are %d rules and jumps, want 20:\n%s", n, before)
	}
	for _, change := range append([]string{
		"iptables -t nat -F FLANNEL-POSTRTG", "ip6tables -t nat -F", "iptables -F", "ip6tables -D FLANNEL-FWD 1",
		"iptables -I FLANNEL-FWD -j DROP",
	}, more...) {
		words := strings.Fields(change)
		start := time.Now()
		x.Run(t, words[0], words[1:]...)
		nstest.Eventually(t, 10*time.Second, "repair of "+change, func() error {
			if after := x.flannelRules(t); after != before {
				return fmt.Errorf("rules are\n%s\nwere\n%s", after, before)
			}
			return nil
		})
		// When netd repaired it is for netd to say, in the report after that.
		nstest.Eventually(t, 5*time.Second, "a report of the repair of "+change, func() error {
			repaired := x.report(t).Counters.LastRepair
			if repaired == nil || repaired.Before(start) {
				return fmt.Errorf("the last repair was at %v, not after %v", repaired, start)
			}
			if took := repaired.Sub(start); took > time.Second {
				t.Errorf("%s: repaired after %v, want within 1 s", change, took)
			} else {
				t.Logf("%s: repaired within %v", change, took.Round(time.Millisecond))
			}
			return nil
		})
	}
	pings(t, one, "10.244.2.20")
	pings(t, one, "fd42:0:0:2::14")
}

func TestPacketFilterIsChangedWhileRunning(t *testing.T) {
	c := newCluster(t, dual, 2)
	c.startAll(t)
	x := c.nodes[0]
	one := x.addPod(t, 10)
	c.nodes[1].addPod(t, 20)
	for _, mode := range []string{profiles.FirewallIPTables, profiles.FirewallNFTables} {
		x.config.Network.Firewall.Mode = mode
		x.reload(t)
		nstest.Eventually(t, 10*time.Second, "rules by "+mode, func() error {
			byTables := strings.Contains(x.Run(t, "nft", "list", "tables"), "weft")
			byChains := x.flannelRules(t) != ""
			if byTables == byChains || byChains != (mode == profiles.FirewallIPTables) {
				return fmt.Errorf("nftables has rules: %v, iptables: %v", byTables, byChains)
			}
			return nil
		})
		pings(t, one, "10.244.2.20")
	}
}

// A restart by which nothing is to be changed changes nothing in iptables
// either: each chain and rule keeps its handle.
func TestRestartChangesNothingInIPTables(t *testing.T) {
	c := newCluster(t, dual, 1, byIPTables)
	c.startAll(t)
	x := c.nodes[0]
	handles := func() string { return x.Run(t, "nft", "-s", "-a", "list", "ruleset") }
	before := handles()
	x.stop(t, 9)
	x.start(t)
	x.waitReady(t)
	if after := handles(); after != before {
		t.Errorf("rules are\n%s\nwere\n%s", after, before)
	}
}

// The legacy iptables has a lock, which anybody may hold. Pods have their
// routes meanwhile, and netd tells who is in its way.
func TestAHeldLockOfIPTablesHoldsUpNoRoute(t *testing.T) {
	useLegacy(t)
	path := filepath.Join(t.TempDir(), "lock")
	t.Setenv("XTABLES_LOCKFILE", path) // netd's, and not the one of the tools that break its rules
	c := newCluster(t, dual, 2, byIPTables)
	c.startAll(t)
	x := c.nodes[0]
	rules := x.flannelRules(t)
	lock, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	x.Run(t, "env", "-u", "XTABLES_LOCKFILE", "iptables", "-t", "nat", "-F")
	for range 3 {
		before := x.state(t)
		start := time.Now()
		x.Run(t, "ip", "route", "del", "10.244.2.0/24")
		x.becomesSince(t, start, before, "a deleted route while the lock is held")
	}
	nstest.Eventually(t, 20*time.Second, "word of the lock", func() error {
		if r := x.report(t); r.Ready || !strings.Contains(r.Reason, "/run/xtables.lock") {
			return fmt.Errorf("ready %t, reason %q", r.Ready, r.Reason)
		}
		return nil
	})
	lock.Close()
	nstest.Eventually(t, 20*time.Second, "the rules are back", func() error {
		if after := x.flannelRules(t); after != rules {
			return fmt.Errorf("rules are\n%s", after)
		}
		return nil
	})
}
