package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/netd/nstest"
)

// attachPod connects a pod to its node's bridge and gives it addresses.
func attachPod(t testing.TB, x *node, pod *nstest.Node, host int) {
	t.Helper()
	veth := fmt.Sprintf("pod%d", host)
	if err := nstest.Veth(x.Node, veth, pod, "eth0"); err != nil {
		t.Fatal(err)
	}
	x.Run(t, "ip", "link", "set", veth, "master", "cni0", "up")
	pod.Run(t, "ip", "link", "set", "eth0", "mtu", "1430", "up")
	subnets := x.config.Node.Subnets
	if len(subnets) == 0 { // the store gives them
		subnets = x.report(t).Node.Subnets
	}
	for _, s := range subnets {
		gateway := s.Addr().Next()
		address := s.Addr()
		for range host {
			address = address.Next()
		}
		bridge := fmt.Sprintf("%s/%d", gateway, s.Bits())
		if !strings.Contains(x.Run(t, "ip", "address", "show", "dev", "cni0"), gateway.String()+"/") {
			x.Run(t, "ip", nstest.AddAddress("cni0", bridge)...)
		}
		pod.Run(t, "ip", nstest.AddAddress("eth0", fmt.Sprintf("%s/%d", address, s.Bits()))...)
		pod.Run(t, "ip", "route", "add", "default", "via", gateway.String())
	}
}

// pings checks that a pod reaches an address within a time.
func pings(t testing.TB, pod *nstest.Node, to string, extra ...string) {
	t.Helper()
	nstest.Eventually(t, 5*time.Second, pod.Name+" pings "+to, func() error {
		out, err := pod.Try(t, "ping", append([]string{"-c", "1", "-W", "1", to}, extra...)...)
		if err != nil {
			return fmt.Errorf("%v\n%s", err, out)
		}
		return nil
	})
}

func TestPodsOfTwoNodesReachEachOther(t *testing.T) {
	for _, f := range []families{onlyIPv4, onlyIPv6, dual} {
		t.Run(f.String(), func(t *testing.T) {
			c := newCluster(t, f, 3)
			c.startAll(t)
			one, two := c.nodes[0].addPod(t, 10), c.nodes[1].addPod(t, 20)
			if f.v4 {
				pings(t, one, "10.244.2.20")
				pings(t, two, "10.244.1.10")
			}
			if f.v6 {
				pings(t, one, "fd42:0:0:2::14")
				pings(t, two, "fd42:0:0:1::a")
			}
		})
	}
}

// F16: the largest packet of a pod goes through in both families, and the size
// announced is the one that does (flannel announces 20 bytes too much).
func TestAnnouncedMTUFitsBothFamilies(t *testing.T) {
	c := newCluster(t, dual, 2)
	c.startAll(t)
	one := c.nodes[0].addPod(t, 10)
	c.nodes[1].addPod(t, 20)
	if mtu := c.nodes[0].report(t).MTU; mtu != 1430 {
		t.Errorf("announced MTU is %d, want 1430", mtu)
	}
	pings(t, one, "10.244.2.20", "-M", "do", "-s", "1402")    // 1430 less IPv4 and ICMP
	pings(t, one, "fd42:0:0:2::14", "-M", "do", "-s", "1382") // 1430 less IPv6 and ICMP
}

func TestProbePodsMeasureTheNetwork(t *testing.T) {
	c := newCluster(t, dual, 2, withProbe)
	c.startAll(t)
	for _, line := range []string{
		"STATUS=1 peer programmed",
		"STATUS=pod 10.244.1.254 -> node-2 pod 10.244.2.254 ",
		"STATUS=pod fd42::1:ffff:ffff:ffff:ffff -> node-2 pod fd42::2:ffff:ffff:ffff:ffff ",
	} {
		nstest.Eventually(t, 10*time.Second, "status line "+line, func() error {
			if !c.nodes[0].notices.has(line) {
				return fmt.Errorf("told so far: %q", c.nodes[0].notices.all())
			}
			return nil
		})
	}
	r := c.nodes[0].report(t)
	if len(r.Peers) != 2 {
		t.Fatalf("%d peers reported, want one of each family", len(r.Peers))
	}
	for _, p := range r.Peers {
		if p.Probe == nil || !p.Probe.Answers || p.Probe.RTT <= 0 || p.Probe.Seen == nil {
			t.Errorf("%s %s: probe %+v, want an answer with its time", p.Name, p.Family, p.Probe)
		}
	}
}

// The bridge that netd makes for its probe pod is the one that the CNI bridge
// plugin would make: it has the pods' gateway addresses.
func TestProbePodLeavesTheBridgeAsThePluginWould(t *testing.T) {
	c := newCluster(t, dual, 1, withProbe)
	c.startAll(t)
	x := c.nodes[0]
	var out string
	nstest.Eventually(t, 5*time.Second, "gateway addresses on cni0", func() error {
		out, _ = x.Try(t, "ip", "address", "show", "dev", "cni0")
		if !strings.Contains(out, "10.244.1.1/24") || !strings.Contains(out, "fd42:0:0:1::1/64") {
			return fmt.Errorf("cni0 is\n%s", out)
		}
		return nil
	})
	if !strings.Contains(out, "mtu 1430") {
		t.Errorf("cni0 has not the announced MTU:\n%s", out)
	}
	pod := x.addPod(t, 10)
	pings(t, pod, "10.244.1.254")
	pings(t, pod, "fd42:0:0:1:ffff:ffff:ffff:ffff")
}

func TestProbeTurnedOffRemovesItsPod(t *testing.T) {
	c := newCluster(t, onlyIPv4, 1, withProbe)
	c.startAll(t)
	x := c.nodes[0]
	shown := func() bool { _, err := x.Try(t, "ip", "link", "show", "weft-probe"); return err == nil }
	nstest.Eventually(t, 5*time.Second, "probe pod", func() error {
		if !shown() {
			return fmt.Errorf("no device weft-probe")
		}
		return nil
	})
	x.config.Network.Probe = false
	x.reload(t)
	nstest.Eventually(t, 5*time.Second, "probe pod gone", func() error {
		if shown() {
			return fmt.Errorf("device weft-probe is still there")
		}
		return nil
	})
}

func TestLostPeerIsTold(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a probe that is sent every 10 s")
	}
	c := newCluster(t, onlyIPv4, 2, withProbe)
	c.startAll(t)
	x := c.nodes[0]
	nstest.Eventually(t, 10*time.Second, "first answer", func() error {
		if !x.notices.has("-> node-2 pod 10.244.2.254 ") {
			return fmt.Errorf("told so far: %q", x.notices.all())
		}
		return nil
	})
	c.nodes[1].Run(t, "ip", "link", "set", "eth0", "down")
	nstest.Eventually(t, 40*time.Second, "loss of node-2", func() error {
		if !x.notices.has("node-2 pod 10.244.2.254 does not answer") {
			return fmt.Errorf("told so far: %q", x.notices.all())
		}
		return nil
	})
}
