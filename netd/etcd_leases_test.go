package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/netdtest"
	"weft/netd/nstest"
	"weft/netd/wanted"
	"weft/profiles"
)

// problem waits until a node tells of an entry of the store it skips.
func problem(t testing.TB, x *netdtest.Node, key string) {
	t.Helper()
	nstest.Eventually(t, 5*time.Second, x.Name+" tells of "+key, func() error {
		r, err := x.Report()
		if err != nil {
			return err
		}
		for _, p := range r.Store.Problems {
			if strings.Contains(p.Key, key) && p.Reason != "" && p.Fix != "" {
				return nil
			}
		}
		return fmt.Errorf("it tells %+v", r.Store.Problems)
	})
}

// refused waits until a node refuses a lease, and returns why.
func refused(t testing.TB, x *netdtest.Node, node string) wanted.Refusal {
	t.Helper()
	var found wanted.Refusal
	nstest.Eventually(t, 5*time.Second, x.Name+" refuses "+node, func() error {
		r, err := x.Report()
		if err != nil {
			return err
		}
		for _, found = range r.Refusals {
			if found.Node == node {
				return nil
			}
		}
		return fmt.Errorf("it refuses %+v", r.Refusals)
	})
	return found
}

// F9: one bad key costs at most itself. With flanneld it cost every node all
// its routes.
func TestCorruptLeasesCostNothing(t *testing.T) {
	c := onEtcd(t, 3)
	c.StartAll(t)
	var before []string
	for _, x := range c.Nodes {
		before = append(before, held(t, x))
	}
	victim := c.Nodes[2]
	losesNothing(t, c, "corrupt keys and values", func() {
		c.Etcd.Put(t, leasesDir+"garbage", "x")
		c.Etcd.Put(t, leasesDir+"10.244.77.0-24", `{"PublicIP":`)
		for _, x := range c.Nodes {
			problem(t, x, "garbage")
			problem(t, x, "10.244.77.0-24")
		}
		c.Etcd.Put(t, keyOf(t, victim), "nonsense over the lease of a node that runs")
		nstest.Eventually(t, 5*time.Second, "the lease written again", func() error {
			for _, kv := range c.Etcd.All(t, keyOf(t, victim)) {
				if strings.HasPrefix(kv.Value, "{") {
					return nil
				}
			}
			return fmt.Errorf("it is not")
		})
		for i, x := range c.Nodes {
			if now := held(t, x); normal(now) != normal(before[i]) {
				t.Errorf("%s holds\n%s\nheld\n%s", x.Name, now, before[i])
			}
		}
		// What deleting it does, which was as bad.
		c.Etcd.Delete(t, leasesDir+"garbage")
		c.Etcd.Delete(t, leasesDir+"10.244.77.0-24")
		for i, x := range c.Nodes {
			nstest.Eventually(t, 5*time.Second, x.Name+" tells of nothing", func() error {
				if r, err := x.Report(); err != nil || len(r.Store.Problems) > 0 {
					return fmt.Errorf("%+v, %v", r.Store.Problems, err)
				}
				return nil
			})
			if now := held(t, x); normal(now) != normal(before[i]) {
				t.Errorf("%s holds\n%s\nheld\n%s", x.Name, now, before[i])
			}
		}
	})
}

// The same for a node whose netd is down, so that it cannot write its lease
// again: its pods run, and a peer that starts anew reaches them.
func TestCorruptLeaseOfADeadDaemonIsKnownAfterARestart(t *testing.T) {
	c := onEtcd(t, 3)
	c.StartAll(t)
	x, victim := c.Nodes[0], c.Nodes[2]
	x.Stop(t, unix.SIGTERM) // what it keeps is on disk then
	victim.Stop(t, unix.SIGKILL)
	c.Etcd.Put(t, keyOf(t, victim), `{"PublicIP":`)
	losesNothing(t, c, "a lease that cannot be read", func() {
		x.Start(t)
		problem(t, x, keyOf(t, victim))
		if r := x.WaitReady(t, c.Peers()); r.Counters.Changes != 0 {
			t.Errorf("the restart made %d changes, want 0", r.Counters.Changes)
		}
	})
	subnets, _ := victim.Subnets()
	c.Etcd.Delete(t, keyOf(t, victim))
	holds(t, x, time.Second, "nothing of a lease that is gone", false, subnets[0].Addr().String())
}

// F9b, F9c, F9d at the start: what is wrong is told and refused, what is right
// works.
func TestCorruptLeasesAtTheStartCostOnlyThemselves(t *testing.T) {
	c := onEtcd(t, 2)
	c.Etcd.Put(t, leasesDir+"garbage", "x")
	c.Etcd.Put(t, leasesDir+"10.244.70.0-24", `[1]`)
	c.Etcd.Put(t, leasesDir+"10.244.71.0-24", lease4("10.0.0.71", "no MAC"))
	c.Etcd.Put(t, leasesDir+"10.244.72.0-24", `{"PublicIP":"10.0.0.72","BackendType":"vxlan"}`)
	c.Etcd.Put(t, leasesDir+"192.168.7.0-24", lease4("10.0.0.73", "02:00:00:00:00:73"))
	c.Etcd.Put(t, leasesDir+"10.244.74.0-24", lease4("10.0.0.74", "02:00:00:00:00:74"))
	for _, x := range c.Nodes {
		x.Start(t)
	}
	for _, x := range c.Nodes { // a node is known before it has written its files
		x.WaitReady(t, 2)
	}
	for i, x := range c.Nodes {
		r := x.WaitReady(t, 2) // the other node and the good lease
		problem(t, x, "garbage")
		problem(t, x, "10.244.70.0-24")
		for node, kind := range map[string]wanted.RefusalKind{"10.0.0.71": wanted.RefusedMAC, "10.0.0.72": wanted.RefusedMAC, "10.0.0.73": wanted.RefusedOutside} {
			if got := refused(t, x, node); got.Kind != kind || got.Fix == "" {
				t.Errorf("%s: refused is %+v, want kind %s", x.Name, got, kind)
			}
		}
		other, _ := c.Nodes[1-i].Subnets()
		holds(t, x, time.Second, "routes to what is right", true, "10.244.74.0/24", other[0].String())
		holds(t, x, time.Second, "no routes to what is wrong", false, "10.244.71.0", "10.244.72.0", "192.168.7.0")
		if len(r.Alarms) > 0 {
			t.Errorf("%s: alarms %q", x.Name, r.Alarms)
		}
	}
}

// F9d while netd runs, with the key that held up flanneld for half a minute:
// what comes after is not late.
func TestLeasesOutsideTheNetworkAreRefusedAndHoldUpNothing(t *testing.T) {
	c := onEtcd(t, 2)
	c.StartAll(t)
	x := c.Nodes[0]
	c.Etcd.Put(t, leasesDir+"0.0.0.0-0", lease4("10.0.0.81", "02:00:00:00:00:81"))
	c.Etcd.Put(t, leasesDir+"10.0.0.0-8", lease4("10.0.0.82", "02:00:00:00:00:82"))
	c.Etcd.Put(t, leasesDir+"192.168.7.0-24", lease4("10.0.0.83", "02:00:00:00:00:83"))
	subnets, _ := c.Nodes[1].Subnets()
	// Overlapping a live lease: a smaller part of it, and all of the network.
	half := fmt.Sprintf("%s-25", subnets[0].Addr())
	c.Etcd.Put(t, leasesDir+half, lease4("10.0.0.84", "02:00:00:00:00:84"))
	c.Etcd.Put(t, leasesDir+"10.244.0.0-16", lease4("10.0.0.85", "02:00:00:00:00:85"))
	c.Etcd.Put(t, leasesDir+"10.244.88.0-24", lease4("10.0.0.88", "02:00:00:00:00:88"))
	holds(t, x, time.Second, "the route of a good lease after bad ones", true, "10.244.88.0/24")
	for node, kind := range map[string]wanted.RefusalKind{"10.0.0.81": wanted.RefusedOutside, "10.0.0.82": wanted.RefusedOutside,
		"10.0.0.83": wanted.RefusedOutside, "10.0.0.84": wanted.RefusedOverlap, "10.0.0.85": wanted.RefusedOverlap} {
		if got := refused(t, x, node); got.Kind != kind {
			t.Errorf("refused is %+v, want kind %s", got, kind)
		}
	}
	if routes := x.Run(t, "ip", "route", "show"); strings.Contains(routes, "192.168.7.0") || strings.Contains(routes, "10.0.0.0/8") ||
		strings.Contains(routes, "default via 10.244") || strings.Contains(routes, "/25") {
		t.Errorf("routes are\n%s", routes)
	}
	c.Etcd.Delete(t, leasesDir+"10.244.88.0-24")
	holds(t, x, time.Second, "its end", false, "10.244.88.0")
}

// F9e: a node of flanneld that comes back with another device.
func TestChangedMACAndAddressLeaveNothingOfTheOldOnes(t *testing.T) {
	c := onEtcd(t, 2)
	c.StartAll(t)
	key := leasesDir + "10.244.90.0-24"
	c.Etcd.Put(t, key, lease4("10.0.0.90", "02:00:00:00:00:90"))
	for _, x := range c.Nodes {
		holds(t, x, time.Second, "the peer", true, "10.244.90.0/24", "02:00:00:00:00:90 dst 10.0.0.90")
	}
	c.Etcd.Put(t, key, lease4("10.0.0.91", "02:00:00:00:00:91"))
	for _, x := range c.Nodes {
		holds(t, x, time.Second, "its new state", true, "10.244.90.0/24", "02:00:00:00:00:91 dst 10.0.0.91")
		holds(t, x, time.Second, "nothing of the old", false, "02:00:00:00:00:90", "10.0.0.90")
	}
}

// F9f.
func TestUnknownFieldsOfLeasesAreSkipped(t *testing.T) {
	c := onEtcd(t, 1)
	c.StartAll(t)
	c.Etcd.Put(t, leasesDir+"10.244.91.0-24", `{"publicip":"10.0.0.91","Later":{"a":[1]},"BackendType":"vxlan",`+
		`"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:91","Color":"blue"},"Weft":{"node":"later","uuid":"x","mood":7}}`)
	holds(t, c.Nodes[0], time.Second, "the peer", true, "10.244.91.0/24", "02:00:00:00:00:91 dst 10.0.0.91")
}

// F13: all at once, with as many free subnets as nodes.
func TestSimultaneousFirstStartsAllSucceed(t *testing.T) {
	const rounds = 4
	c := onEtcd(t, 3, configured(func(n *profiles.Netd) { n.Network.Pods[0] = netipPrefix("10.244.0.0/22") }))
	for round := range rounds {
		prefix := fmt.Sprintf("/round/%d", round)
		for _, x := range c.Nodes {
			x.Config.Network.Store.Etcd.Prefix = prefix
			x.Config.Paths.State = fmt.Sprintf("%s/state%d", x.Dir, round)
			x.Config.Paths.SubnetEnv = fmt.Sprintf("%s/subnet.env.%d", x.Dir, round)
			x.WriteConfig(t)
		}
		c.StartAll(t)
		seen := map[string]string{}
		for _, x := range c.Nodes {
			subnets, err := x.Subnets()
			if err != nil {
				t.Fatal(err)
			}
			if other, taken := seen[subnets[0].String()]; taken {
				t.Errorf("%s and %s have %s", x.Name, other, subnets[0])
			}
			seen[subnets[0].String()] = x.Name
			x.Stop(t, unix.SIGKILL)
		}
	}
}

// F14: flanneld gave all nodes of such a network the same subnet.
func TestIPv6OnlyNodesOnEtcdReachEachOther(t *testing.T) {
	c := onEtcd(t, 3, func(c *netdtest.Config) { c.IPv6, c.NoIPv4 = true, true })
	c.StartAll(t)
	losesNothing(t, c, "IPv6 alone", func() {})
	if keys := c.Etcd.All(t, leasesDir); len(keys) > 0 {
		t.Errorf("below flannel's prefix is %+v, at which flanneld would choke", keys)
	}
}
