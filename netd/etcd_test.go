package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/netdtest"
	"weft/netd/nstest"
	"weft/netd/store/etcd"
	"weft/netd/store/etcd/etcdtest"
	"weft/profiles"
)

// leasesDir is where leases are in etcd.
const leasesDir = etcd.DefaultPrefix + "/subnets/"

// onEtcd makes nodes on an etcd of their own, not started.
func onEtcd(t testing.TB, n int, change ...func(*netdtest.Config)) *netdtest.Cluster {
	t.Helper()
	c := netdtest.Config{Program: "/proc/self/exe", Env: []string{asNetd + "=1"}, Nodes: n}
	for _, f := range change {
		f(&c)
	}
	if c.Etcd == nil {
		c.Etcd = etcdtest.Start(t)
	}
	return netdtest.New(t, c)
}

// bothFamilies adds IPv6 to a cluster.
func bothFamilies(c *netdtest.Config) { c.IPv6 = true }

// configured changes the configuration of all nodes.
func configured(change func(*profiles.Netd)) func(*netdtest.Config) {
	return func(c *netdtest.Config) { c.Change = func(_ int, n *profiles.Netd) { change(n) } }
}

// pingEvery is the pace of pings while something happens; pingMany how many
// there are at least from each node.
const (
	pingEvery = 50 * time.Millisecond
	pingMany  = 60
)

// underPing lets all nodes' pods ping each other while something happens, and
// for three seconds at least. It returns what was sent and what of it was
// lost.
func underPing(t *testing.T, c *netdtest.Cluster, something func()) (sent, lost []netdtest.Packet) {
	t.Helper()
	targets := map[int][]netdtest.Target{}
	pods := map[int]*nstest.Node{}
	for _, x := range c.Nodes {
		var addresses []netip.Addr
		pods[x.Number], addresses = x.AddPod(t, 10)
		for _, a := range addresses {
			for _, other := range c.Nodes {
				if other != x {
					targets[other.Number] = append(targets[other.Number], netdtest.Target{Node: x.Number, Address: a})
				}
			}
		}
	}
	start, stop := time.Now(), make(chan struct{})
	var pinging sync.WaitGroup
	var pingers []*netdtest.Pinger
	for n, pod := range pods {
		p := netdtest.NewPinger(t, pod, n, pingEvery, targets[n])
		pingers = append(pingers, p)
		pinging.Go(func() { p.Run(stop) })
	}
	something()
	time.Sleep(time.Until(start.Add(pingMany * pingEvery)))
	close(stop)
	pinging.Wait()
	for _, p := range pingers {
		for _, one := range p.Packets() {
			if sent = append(sent, one); !one.Answered {
				lost = append(lost, one)
			}
		}
	}
	return sent, lost
}

// losesNothing is [underPing] for what may not cost a packet.
func losesNothing(t *testing.T, c *netdtest.Cluster, what string, something func()) {
	t.Helper()
	start := time.Now()
	sent, lost := underPing(t, c, something)
	var slowest time.Duration
	for _, p := range sent {
		slowest = max(slowest, p.After)
	}
	t.Logf("%s: %d packets of %d lost, the slowest answer after %v", what, len(lost), len(sent), slowest.Round(time.Millisecond))
	for _, p := range lost {
		t.Errorf("%s: lost %s, sent %v after the start", what, p, p.Sent.Sub(start).Round(time.Millisecond))
	}
	if len(sent) < pingMany*len(c.Nodes)/2 {
		t.Errorf("%s: only %d packets were sent", what, len(sent))
	}
}

// keyOf is where the lease of a node is.
func keyOf(t testing.TB, x *netdtest.Node) string {
	t.Helper()
	subnets, err := x.Subnets()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range subnets {
		names = append(names, fmt.Sprintf("%s-%d", s.Addr(), s.Bits()))
	}
	return leasesDir + strings.Join(names, "&")
}

// lease4 is the value of a lease as flanneld writes it.
func lease4(address, mac string) string {
	return fmt.Sprintf(`{"PublicIP":%q,"PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":%q}}`, address, mac)
}

// held is what a node holds to reach others: routes to pods, FDB entries and
// neighbours.
func held(t testing.TB, x *netdtest.Node) string {
	t.Helper()
	var all strings.Builder
	for line := range strings.Lines(x.Run(t, "ip", "route", "show", "root", "10.244.0.0/16")) {
		if !strings.Contains(line, "dev cni0") {
			all.WriteString(line)
		}
	}
	all.WriteString(x.Run(t, "bridge", "fdb", "show", "dev", "flannel.1"))
	all.WriteString(x.Run(t, "ip", "neigh", "show", "nud", "permanent", "dev", "flannel.1"))
	return all.String()
}

// holds waits until a node holds, or no longer holds, all of some words.
func holds(t testing.TB, x *netdtest.Node, within time.Duration, what string, want bool, words ...string) {
	t.Helper()
	// What a tool takes on a busy machine is not netd's.
	took := nstest.Eventually(t, within+4*time.Second, x.Name+": "+what, func() error {
		have := held(t, x)
		for _, word := range words {
			if strings.Contains(have, word) != want {
				return fmt.Errorf("%q is there: %t, want %t, in\n%s", word, !want, want, have)
			}
		}
		return nil
	})
	t.Logf("%s: %s after %v", x.Name, what, took.Round(time.Millisecond))
	if took > within {
		t.Errorf("%s: %s after %v, want within %v", x.Name, what, took, within)
	}
}

// F1 and F1b, with a restart.
func TestEndedDaemonsOnEtcdLoseNothing(t *testing.T) {
	c := onEtcd(t, 3, bothFamilies)
	c.StartAll(t)
	losesNothing(t, c, "SIGKILL, SIGTERM and two starts", func() {
		for i, signal := range []unix.Signal{unix.SIGKILL, unix.SIGTERM} {
			x := c.Nodes[i]
			x.Stop(t, signal)
			time.Sleep(time.Second) // traffic without netd
			x.Start(t)
			if r := x.WaitReady(t, c.Peers()); r.Counters.Changes != 0 {
				t.Errorf("%s: the restart after %v made %d changes, want 0", x.Name, signal, r.Counters.Changes)
			}
		}
	})
}

// F2.
func TestDeadEtcdLosesNothingAndANewNodeJoinsAtOnceAfter(t *testing.T) {
	c := onEtcd(t, 3)
	c.StartAll(t)
	var fourth *netdtest.Node
	losesNothing(t, c, "etcd dead for 10 s", func() {
		c.Etcd.Kill(t)
		time.Sleep(9 * time.Second)
		fourth = c.Add(t)
		fourth.Start(t)
		time.Sleep(time.Second)
		c.Etcd.Start(t)
		c.Nodes = c.Nodes[:3]
	})
	c.Nodes = append(c.Nodes, fourth)
	for _, x := range c.Nodes {
		if x.Ended() {
			t.Errorf("%s: netd has ended", x.Name)
		}
	}
}

// The new lease of F2.
func TestLeasesAreTakenWithinASecondOfEtcdsReturn(t *testing.T) {
	c := onEtcd(t, 3)
	c.Etcd.Kill(t)
	for _, x := range c.Nodes {
		x.Start(t)
	}
	time.Sleep(6 * time.Second) // long enough for all pauses to have grown
	c.Etcd.Start(t)
	back := time.Now()
	for _, x := range c.Nodes {
		x.WaitReady(t, c.Peers())
	}
	took := time.Since(back)
	t.Logf("all nodes ready %v after etcd's return", took.Round(time.Millisecond))
	if took > time.Second {
		t.Errorf("all nodes ready %v after etcd's return, want within 1 s", took)
	}
}

// F3.
func TestLeaseDeletedWhileNetdWasDownLeavesNothing(t *testing.T) {
	c := onEtcd(t, 3)
	c.StartAll(t)
	x, gone := c.Nodes[0], c.Nodes[2]
	subnets, _ := gone.Subnets()
	mac := profiles.VTEPMAC(gone.Name).String()
	holds(t, x, time.Second, "the peer's state", true, subnets[0].String(), mac)
	x.Stop(t, unix.SIGKILL)
	gone.Stop(t, unix.SIGKILL)
	c.Etcd.Delete(t, keyOf(t, gone))
	x.Start(t)
	x.WaitReady(t, 1)
	holds(t, x, time.Second, "nothing of the peer", false, subnets[0].Addr().String(), mac)
	holds(t, c.Nodes[1], time.Second, "nothing of the peer where netd ran", false, subnets[0].Addr().String(), mac)
}

// F4.
func TestOwnLeaseDeletedIsWrittenAgainWithoutAnEnd(t *testing.T) {
	c := onEtcd(t, 2)
	c.StartAll(t)
	x := c.Nodes[0]
	before, _ := x.Subnets()
	key := keyOf(t, x)
	pid := x.Process().Process.Pid
	c.Etcd.Delete(t, key)
	start := time.Now()
	nstest.Eventually(t, 5*time.Second, "the lease again", func() error {
		if len(c.Etcd.All(t, key)) != 1 {
			return fmt.Errorf("no key %s", key)
		}
		return nil
	})
	if took := time.Since(start); took > time.Second {
		t.Errorf("the lease was written after %v, want within 1 s", took)
	}
	holds(t, c.Nodes[1], time.Second, "the route to the node", true, before[0].String())
	if after, _ := x.Subnets(); !slices.Equal(before, after) || x.Ended() || x.Process().Process.Pid != pid {
		t.Errorf("subnets %v, were %v; ended %t", after, before, x.Ended())
	}
}

// F15.
func TestNetdWaitsForAnEtcdThatIsAbsent(t *testing.T) {
	c := onEtcd(t, 2, func(c *netdtest.Config) { c.Etcd = etcdtest.New(t) })
	for _, x := range c.Nodes {
		x.Start(t)
	}
	for _, x := range c.Nodes {
		nstest.Eventually(t, 5*time.Second, x.Name+" alive and not ready", func() error {
			r, err := x.Report()
			if err == nil && (r.Ready || r.Reason == "") {
				err = fmt.Errorf("ready %t, reason %q", r.Ready, r.Reason)
			}
			return err
		})
	}
	c.Etcd.Start(t)
	start := time.Now()
	for _, x := range c.Nodes {
		x.WaitReady(t, c.Peers())
	}
	if took := time.Since(start); took > 1800*time.Millisecond {
		t.Errorf("ready %v after etcd appeared, flanneld takes 1.8 s", took)
	}
}

// A node that boots alone has its network before the store answers.
func TestBootWithoutEtcdProgramsWhatWasKept(t *testing.T) {
	c := onEtcd(t, 3, bothFamilies)
	c.StartAll(t)
	x := c.Nodes[0]
	before := held(t, x)
	subnets, _ := x.Subnets()
	x.Stop(t, unix.SIGTERM)
	x.Run(t, "ip", "link", "del", "flannel.1")
	x.Run(t, "ip", "link", "del", "flannel-v6.1")
	x.Run(t, "nft", "flush", "ruleset")
	if err := os.Remove(x.Config.Paths.SubnetEnv); err != nil {
		t.Fatal(err)
	}
	x.Way.Cut()
	begun := time.Now()
	x.Start(t)
	nstest.Eventually(t, 5*time.Second, "the kept network", func() error {
		if _, err := x.Try(t, "ip", "link", "show", "flannel-v6.1"); err != nil {
			return err
		}
		if now := held(t, x); normal(now) != normal(before) {
			return fmt.Errorf("it holds\n%s\nheld\n%s", now, before)
		}
		return nil
	})
	t.Logf("the network was there %v after the start", time.Since(begun).Round(time.Millisecond))
	if after, err := x.Subnets(); err != nil || !slices.Equal(subnets, after) {
		t.Errorf("subnets %v (%v), were %v", after, err, subnets)
	}
	losesNothing(t, c, "a node that booted without etcd", func() {
		x.Way.Mend()
		x.WaitReady(t, c.Peers())
	})
}

// An etcd that was restored from an empty backup is told everything again.
func TestEmptiedEtcdKeepsThePeers(t *testing.T) {
	c := onEtcd(t, 3)
	c.StartAll(t)
	keys := map[string]bool{}
	for _, x := range c.Nodes {
		keys[keyOf(t, x)] = true
	}
	losesNothing(t, c, "an emptied etcd", func() {
		c.Etcd.Wipe(t)
		nstest.Eventually(t, 8*time.Second, "all leases again", func() error {
			all := c.Etcd.All(t, leasesDir)
			for _, kv := range all {
				if !keys[kv.Key] {
					t.Fatalf("etcd has %s, want the leases that were there", kv.Key)
				}
			}
			if len(all) != len(keys) {
				return fmt.Errorf("etcd has %d leases", len(all))
			}
			return nil
		})
	})
}
