package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/netdtest"
	"weft/netd/nstest"
	"weft/netd/status"
	"weft/profiles"
)

func netipPrefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

// clone makes a node a copy of another: its disk is the other's, its network
// device is its own.
func clone(t testing.TB, of, to *netdtest.Node) {
	t.Helper()
	to.Config.Node = of.Config.Node
	to.WriteConfig(t)
	if err := os.CopyFS(to.Config.Paths.State, os.DirFS(of.Config.Paths.State)); err != nil {
		t.Fatal(err)
	}
}

// alarmed waits until a node is not ready and says why.
func alarmed(t testing.TB, x *netdtest.Node, text string) {
	t.Helper()
	nstest.Eventually(t, 5*time.Second, x.Name+" is alarmed", func() error {
		r, err := x.Report()
		if err != nil {
			return err
		}
		if all := strings.Join(append(r.Alarms, r.Reason, r.Fix, r.Store.OwnError, r.Store.Error), "\n"); r.Ready || !strings.Contains(all, text) {
			return fmt.Errorf("ready %t, it says\n%s", r.Ready, all)
		}
		return nil
	})
}

// F10: a cloned card. The node that was there keeps all its packets but the
// ones of the moment in which its peers follow the clone, as they would follow
// the node to another address.
func TestClonedNodeIsRefusedAndTheRealOneKeepsItsTraffic(t *testing.T) {
	c := onEtcd(t, 3)
	c.StartAll(t)
	c.Nodes[0].Stop(t, unix.SIGTERM) // what it keeps is on disk then
	c.Nodes[0].Start(t)
	c.Nodes[0].WaitReady(t, c.Peers())
	copied := c.Add(t)
	c.Nodes = c.Nodes[:3]
	clone(t, c.Nodes[0], copied)
	sent, lost := underPing(t, c, func() {
		copied.Start(t)
		alarmed(t, copied, "identity")
		holds(t, c.Nodes[1], time.Second, "the way to the real node", true, "dst 10.0.0.1 ")
		holds(t, c.Nodes[1], time.Second, "none to the clone", false, "dst 10.0.0.4 ")
		// Nor does it get there by trying again.
		copied.Stop(t, unix.SIGKILL)
		copied.Start(t)
		alarmed(t, copied, "identity")
	})
	t.Logf("a clone came twice: %d packets of %d lost", len(lost), len(sent))
	// Between the clone's write and the node's answer are a few milliseconds,
	// more on a busy machine; flanneld's node has lost all of them for good.
	if len(lost) > len(sent)/20 {
		t.Errorf("%d packets of %d were lost: %v", len(lost), len(sent), lost)
	}
	if r := c.Nodes[0].WaitReady(t, c.Peers()); len(r.Refusals) > 0 {
		t.Errorf("the real node refuses %+v", r.Refusals)
	}
}

// F10 with the address alone: two nodes behind one NAT, or a mistake.
func TestSecondNodeWithAnAddressIsRefusedAndTheFirstKeepsItsTraffic(t *testing.T) {
	c := onEtcd(t, 3)
	c.StartAll(t)
	twin := c.Add(t)
	c.Nodes = c.Nodes[:3]
	twin.Config.Node.ExternalAddresses = []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	twin.Config.Network.ExternalIP = true
	twin.WriteConfig(t)
	losesNothing(t, c, "a second node with an address", func() {
		twin.Start(t)
		nstest.Eventually(t, 5*time.Second, "the alarm", func() error {
			r, err := twin.Report()
			if err != nil {
				return err
			}
			if all := r.Reason + r.Store.OwnError + r.Store.Error; r.Ready || !strings.Contains(all, "has this node's address 10.0.0.1") {
				return fmt.Errorf("ready %t, it says %s", r.Ready, all)
			}
			return nil
		})
	})
}

// F11: a node that moves keeps its subnet, and its peers follow.
func TestNodeThatMovesKeepsItsSubnetAndPeersFollow(t *testing.T) {
	c := onEtcd(t, 3, bothFamilies)
	c.StartAll(t)
	x := c.Nodes[0]
	before, _ := x.Subnets()
	follow := func(generation int, what string) {
		t.Helper()
		address := strings.TrimSuffix(netdtest.Address4(1, generation), "/24")
		for _, peer := range c.Nodes[1:] {
			holds(t, peer, time.Second, "the new address "+what, true, "dst "+address+" ")
		}
		if after, _ := x.Subnets(); !slices.Equal(before, after) {
			t.Errorf("%s: subnets %v, were %v", what, after, before)
		}
		if keys := c.Etcd.All(t, leasesDir); len(keys) != 3 {
			t.Errorf("%s: etcd has %+v", what, keys)
		}
	}
	sent, lost := underPing(t, c, func() {
		x.Move(t, true, true)
		follow(1, "while it runs")
	})
	t.Logf("an address changed: %d packets of %d lost", len(lost), len(sent))
	for _, p := range lost {
		if p.From != 1 && p.To != 1 {
			t.Errorf("lost %s, where nothing has changed", p)
		}
	}
	x.Stop(t, unix.SIGKILL)
	x.Move(t, true, true)
	x.Start(t)
	follow(2, "after a start at another address")
	x.WaitReady(t, c.Peers())
}

// migrates waits until a node tells, in the status, of each peer and in its
// metrics, that a number of its peers has another backend; 0 is that none has.
func migrates(t *testing.T, x *netdtest.Node, backend string, peers int) {
	t.Helper()
	nstest.Eventually(t, 5*time.Second, fmt.Sprintf("%s says that %d peers are on %s", x.Name, peers, backend), func() error {
		r, err := x.Report()
		if err != nil {
			return err
		}
		on := map[string]bool{}
		for _, p := range r.Peers {
			if p.Backend == backend {
				on[p.Name] = true
			}
		}
		metrics := status.Metrics(r)
		counted := strings.Contains(metrics, fmt.Sprintf("netd_backend_peers{backend=%q} %d\n", backend, peers)) &&
			strings.Contains(metrics, fmt.Sprintf("netd_backend_migrating %d\n", min(peers, 1)))
		if m := r.Migration; len(on) != peers || !counted || (m == nil) != (peers == 0) || m != nil && (m.Others[backend] != peers || m.Peers != 2) {
			return fmt.Errorf("%s, on it are %v, migration %+v, metrics\n%s", r.Backend.Type, on, m, metrics)
		}
		return nil
	})
}

// F19: a network changes its backend node by node; nobody has to turn it off.
func TestMigrationNodeByNodeLosesNothing(t *testing.T) {
	c := onEtcd(t, 3, bothFamilies)
	c.StartAll(t)
	losesNothing(t, c, "from vxlan to host-gw and back, node by node", func() {
		for _, to := range []string{profiles.BackendHostGW, profiles.BackendVXLAN} {
			from := map[string]string{profiles.BackendHostGW: profiles.BackendVXLAN, profiles.BackendVXLAN: profiles.BackendHostGW}[to]
			for changed, x := range c.Nodes {
				x.Config.Network.Backend = profiles.Backend{Type: to}
				x.Config.Network = x.Config.Network.WithDefaults()
				x.WriteConfig(t)
				if err := x.Process().Process.Signal(unix.SIGHUP); err != nil {
					t.Fatal(err)
				}
				nstest.Eventually(t, 5*time.Second, x.Name+" has the backend", func() error {
					r, err := x.Report()
					if err != nil {
						return err
					}
					if r.Backend.Type != to || !r.Ready || len(r.Peers) != c.Peers() {
						return fmt.Errorf("%+v, ready %t (%s), %d peers", r.Backend, r.Ready, r.Reason, len(r.Peers))
					}
					return nil
				})
				for i, node := range c.Nodes {
					if i <= changed {
						migrates(t, node, from, len(c.Nodes)-1-changed)
					} else {
						migrates(t, node, to, changed+1)
					}
				}
				time.Sleep(300 * time.Millisecond) // traffic in the mixed network
			}
			for _, x := range c.Nodes {
				links := x.Run(t, "ip", "-o", "link", "show")
				if strings.Contains(links, "flannel") != (to == profiles.BackendVXLAN) {
					t.Errorf("%s: with %s the devices are\n%s", x.Name, to, links)
				}
			}
		}
	})
}
