package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/netd/nstest"
	"weft/profiles"
)

// As long as no pod has started on a node, it has no bridge and with it no
// route to its own pods. What comes for them must not go on by the default
// route, to a router that has no business with it: out of a tunnel that
// encrypts it would be bare.
func TestPacketsForOwnPodsNeverLeaveByTheDefaultRoute(t *testing.T) {
	for name, change := range map[string]func(*profiles.Netd){"vxlan": backend(profiles.BackendVXLAN), "direct routing": directRouting, "host-gw": hostGW} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, dual, 2, change)
			router := nstest.New(t, "router")
			c.lan.Attach(t, router, "eth0", underlay4(254), underlay6(254))
			router.Run(t, "nft", "add table inet seen; add counter inet seen pods; "+
				"add chain inet seen incoming { type filter hook prerouting priority -300; }; "+
				"add rule inet seen incoming ip daddr 10.244.0.0/16 counter name pods; "+
				"add rule inet seen incoming ip6 daddr fd42::/48 counter name pods")
			one, two := c.nodes[0], c.nodes[1]
			one.Run(t, "ip", "route", "add", "default", "via", "10.0.0.254")
			one.Run(t, "ip", "-6", "route", "add", "default", "via", "fd00:10::fe")
			c.startAll(t)
			pod := two.addPod(t, 20)
			for _, to := range []string{"10.244.1.10", "fd42:0:0:1::a"} {
				out, err := pod.Try(t, "ping", "-c", "3", "-i", "0.2", "-W", "2", to)
				if err == nil || !strings.Contains(out, "nreachable") {
					t.Errorf("pinging %s of a node without pods: error %v\n%swant word that it is unreachable", to, err, out)
				}
			}
			if seen := router.Run(t, "nft", "list", "counter", "inet", "seen", "pods"); !strings.Contains(seen, "packets 0 ") {
				t.Errorf("the router has seen packets for pods: %s", seen)
			}
			if r := one.report(t); !r.Ready {
				t.Errorf("not ready: %s", r.Reason)
			}
			for _, to := range []string{"10.244.1.10", "fd42:0:0:1::a"} {
				var out, errs bytes.Buffer
				if code := run([]string{"explain", to, "-socket", one.config.Paths.Socket}, &out, &errs); code != exitOK ||
					!strings.Contains(out.String(), "has no route: no route to host") || !strings.Contains(out.String(), "there is no bridge cni0") {
					t.Errorf("explained as (exit code %d) %s%s", code, &out, &errs)
				}
			}
			// The bridge's own route comes before it.
			one.addPod(t, 10)
			pings(t, pod, "10.244.1.10")
			pings(t, pod, "fd42:0:0:1::a")
		})
	}
}

// Somebody else's flush of the route is undone like any other drift, and
// nothing is left of it where somebody else has the ways to pods.
func TestTheGuardOfOwnPodsReturnsWithinASecond(t *testing.T) {
	c := newCluster(t, dual, 2)
	c.startAll(t)
	x := c.nodes[0]
	for family, own := range map[string]string{"-4": "10.244.1.0/24", "-6": "fd42:0:0:1::/64"} {
		start := time.Now()
		x.Run(t, "ip", family, "route", "del", "unreachable", own, "metric", "4294967295")
		nstest.Eventually(t, 5*time.Second, "the route is back", func() error {
			if out := x.Run(t, "ip", family, "route", "show", "type", "unreachable"); !strings.Contains(out, own) {
				return fmt.Errorf("it is missing:\n%s", out)
			}
			return nil
		})
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: back after %v, want within 1 s", own, took)
		}
	}
	x.switchTo(t, profiles.Backend{Type: profiles.BackendNone})
	nstest.Eventually(t, 5*time.Second, "the routes are gone with the backend", func() error {
		if out := x.Run(t, "ip", "-4", "route", "show", "type", "unreachable") + x.Run(t, "ip", "-6", "route", "show", "type", "unreachable"); strings.Contains(out, "proto 2") {
			return fmt.Errorf("there are\n%s", out)
		}
		return nil
	})
}
