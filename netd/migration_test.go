package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/netd/wanted"
	"weft/profiles"
)

// leftovers is what a node holds of backends: devices, routes to pods, and
// neighbours.
func (x *node) leftovers(t testing.TB) string {
	t.Helper()
	var all strings.Builder
	for _, line := range strings.Split(x.Run(t, "ip", "-o", "link", "show"), "\n") {
		if strings.Contains(line, "flannel") {
			all.WriteString(line + "\n")
		}
	}
	all.WriteString(x.Run(t, "ip", "-4", "route", "show", "root", "10.244.0.0/16"))
	all.WriteString(x.Run(t, "ip", "-6", "route", "show", "root", "fd42::/48"))
	all.WriteString(x.Run(t, "ip", "neigh", "show", "nud", "permanent"))
	return all.String()
}

// Whatever the backend was, a change leaves only what the new one needs, and
// the way back comes to the same as the way there.
func TestBackendSwitchLeavesNothingBehind(t *testing.T) {
	c := newCluster(t, dual, 3)
	c.startAll(t)
	x := c.nodes[0]
	off := false
	steps := []struct {
		name    string
		backend profiles.Backend
		flannel int // lines of devices
		plain   int // plain routes
	}{
		{"host-gw", profiles.Backend{Type: profiles.BackendHostGW}, 0, 4},
		{"none", profiles.Backend{Type: profiles.BackendNone}, 0, 0},
		{"vxlan", profiles.Backend{Type: profiles.BackendVXLAN}, 2, 0},
		{"another VNI", profiles.Backend{Type: profiles.BackendVXLAN, VNI: 7}, 2, 0},
		{"another port", profiles.Backend{Type: profiles.BackendVXLAN, VNI: 7, Port: 4789}, 2, 0},
		{"direct routing", profiles.Backend{Type: profiles.BackendVXLAN, DirectRouting: true}, 2, 4},
		{"without offload", profiles.Backend{Type: profiles.BackendVXLAN, ChecksumOffload: &off}, 2, 0},
		{"host-gw again", profiles.Backend{Type: profiles.BackendHostGW}, 0, 4},
		{"vxlan at last", profiles.Backend{Type: profiles.BackendVXLAN}, 2, 0},
	}
	first := x.state(t)
	for _, s := range steps {
		x.switchTo(t, s.backend)
		nstest.Eventually(t, 5*time.Second, s.name, func() error {
			left := x.leftovers(t)
			tunnels := 0
			if s.flannel > 0 {
				tunnels = 4 - s.plain
			}
			if strings.Count(left, ": flannel") != s.flannel || strings.Count(left, " dev eth0") != s.plain ||
				strings.Count(left, "onlink") != tunnels || strings.Count(left, "PERMANENT") != tunnels {
				return fmt.Errorf("the node holds\n%s", left)
			}
			return nil
		})
	}
	nstest.Eventually(t, 5*time.Second, "the first state", func() error {
		if now := x.state(t); normal(now) != normal(first) {
			return fmt.Errorf("state is\n%s\nwas\n%s", now, first)
		}
		return nil
	})
}

// What flanneld has left of another backend goes; devices of other networks
// and of other people stay, whatever they are called.
func TestFlanneldsDevicesOfAnotherBackendGoAndForeignOnesStay(t *testing.T) {
	for _, kind := range []string{profiles.BackendHostGW, profiles.BackendNone, profiles.BackendVXLAN} {
		t.Run(kind, func(t *testing.T) {
			c := newCluster(t, dual, 2, backend(kind))
			x := c.nodes[0]
			for _, command := range []string{
				// Of this network, with the VNI that flanneld had.
				"ip link add flannel.5 type vxlan id 5 dev eth0 local 10.0.0.1 dstport 8472 nolearning",
				"ip address add 10.244.1.0/32 dev flannel.5",
				"ip link set flannel.5 up",
				"ip route add 10.244.2.0/24 via 10.244.2.0 dev flannel.5 onlink",
				"ip route add 10.244.9.0/24 via 10.244.9.0 dev flannel.5 onlink",
				"ip link add flannel-v6.5 type vxlan id 5 dev eth0 local fd00:10::1 dstport 8472 nolearning",
				"ip address add fd42:0:0:1::/128 dev flannel-v6.5 nodad",
				// Of another flannel network.
				"ip link add flannel.6 type vxlan id 6 dev eth0 local 10.0.0.1 dstport 8473 nolearning",
				"ip address add 10.99.1.0/32 dev flannel.6",
				"ip link set flannel.6 up",
				"ip route add 10.99.2.0/24 via 10.99.2.0 dev flannel.6 onlink",
				// A name without an address, another kind, a VNI that is not the name's.
				"ip link add flannel.8 type vxlan id 8 dstport 8474",
				"ip link add flannel.10 type bridge",
				"ip address add 10.244.77.0/32 dev flannel.10",
				"ip link add flannel.11 type vxlan id 12 dstport 8475",
				"ip address add 10.244.78.0/32 dev flannel.11",
				// The pods' bridge, with an address of the network.
				"ip link add cni0 type bridge",
				"ip address add 10.244.1.1/24 dev cni0",
				"ip route add 10.8.0.0/16 via 10.0.0.2 dev eth0",
			} {
				words := strings.Fields(command)
				x.Run(t, words[0], words[1:]...)
			}
			x.start(t)
			x.waitReady(t)
			links := x.Run(t, "ip", "-o", "link", "show")
			for device, stays := range map[string]bool{"flannel.5": false, "flannel-v6.5": false, "flannel.6": true,
				"flannel.8": true, "flannel.10": true, "flannel.11": true, "cni0": true} {
				if strings.Contains(links, " "+device+":") != stays {
					t.Errorf("%s: there is %t, want %t in\n%s", device, !stays, stays, links)
				}
			}
			routes := x.Run(t, "ip", "route", "show")
			if strings.Contains(routes, "10.244.9.0") || !strings.Contains(routes, "10.99.2.0/24") || !strings.Contains(routes, "10.8.0.0/16") {
				t.Errorf("routes are\n%s", routes)
			}
		})
	}
}

// Flanneld's routes of host-gw are not marked; equal ones are marked in one
// step, and those of anybody to other places stay.
func TestFlanneldsPlainRoutesAreTakenOverWithoutLoss(t *testing.T) {
	c := newCluster(t, dual, 2, hostGW)
	x, peer := c.nodes[0], c.nodes[1]
	x.Run(t, "ip", "route", "add", "10.244.2.0/24", "via", "10.0.0.2", "dev", "eth0")
	x.Run(t, "ip", "-6", "route", "add", "fd42:0:0:2::/64", "via", "fd00:10::2", "dev", "eth0")
	peer.start(t)
	peer.waitReady(t)
	one := x.addPod(t, 10)
	peer.addPod(t, 20)
	pings(t, one, "10.244.2.20")
	x.start(t)
	out := one.Run(t, "ping", "-c", "50", "-i", "0.01", "-W", "1", "10.244.2.20")
	x.waitReady(t)
	if !strings.Contains(out, " 0% packet loss") {
		t.Errorf("packets were lost:\n%s", out)
	}
	if routes := x.Run(t, "ip", "route", "show", "10.244.2.0/24"); strings.Count(routes, "10.244.2.0") != 1 || !strings.Contains(routes, "proto") {
		t.Errorf("routes are\n%s\nwant one with netd's mark", routes)
	}
	x.Run(t, "ip", "route", "del", "10.244.2.0/24")
	pings(t, one, "10.244.2.20")
}

// F3 with another backend: what was left while netd was down goes at the
// start.
func TestBackendSwitchedWhileDownLeavesNothingBehind(t *testing.T) {
	c := newCluster(t, dual, 2)
	c.startAll(t)
	x := c.nodes[0]
	x.stop(t, unix.SIGKILL)
	x.config.Network.Backend = profiles.Backend{Type: profiles.BackendHostGW}
	x.writeConfig(t)
	x.start(t)
	x.waitReady(t)
	if left := x.leftovers(t); strings.Contains(left, "flannel") || strings.Count(left, "dev eth0") != 2 {
		t.Errorf("the node holds\n%s", left)
	}
}

// A node whose WireGuard key was being replaced when its backend changed has a
// table of routes through the lane, and rules that lead there. They go with the
// lane's device, and when somebody has removed that already; what others have at
// the same number and place stays.
func TestTheLanesTableGoesWithTheBackend(t *testing.T) {
	for name, device := range map[string]bool{"with the device": true, "without it": false} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, dual, 2)
			x := c.nodes[0]
			commands := []string{
				"-4 rule add pref 208 lookup 20800 protocol 208", "-6 rule add pref 208 lookup 20800 protocol 208",
				"-4 route add throw 10.244.2.0/24 table 20800 metric 1 proto 209", "-6 route add throw fd42:0:0:2::/64 table 20800 metric 1 proto 209",
				// Of somebody else.
				"-4 rule add pref 208 lookup 208", "-4 route add throw 192.0.2.0/24 table 20800", "-6 route add throw 2001:db8::/64 table 20800",
			}
			if device {
				commands = append(commands, "link add flannel-wg.1 type bridge", "link set flannel-wg.1 up",
					"-4 route add 10.244.2.0/24 dev flannel-wg.1 table 20800 metric 2 proto 209",
					"-6 route add fd42:0:0:2::/64 dev flannel-wg.1 table 20800 metric 2 proto 209")
			}
			for _, command := range commands {
				x.Run(t, "ip", strings.Fields(command)...)
			}
			if device {
				x.Run(t, "ip", "link", "set", "flannel-wg.1", "alias", wanted.Mark)
			}
			x.start(t)
			x.waitReady(t)
			holds := func() string {
				var all string
				for _, family := range []string{"-4", "-6"} {
					all += x.Run(t, "ip", family, "rule", "show", "pref", "208") + x.Run(t, "ip", family, "route", "show", "table", "20800")
				}
				return all + x.Run(t, "ip", "-o", "link", "show")
			}
			left := holds()
			for _, gone := range []string{"lookup 20800", "10.244.2.0", "fd42:0:0:2::", "flannel-wg"} {
				if strings.Contains(left, gone) {
					t.Errorf("%s is still there:\n%s", gone, left)
				}
			}
			for _, stays := range []string{"lookup 208", "192.0.2.0/24", "2001:db8::/64"} {
				if !strings.Contains(left, stays) {
					t.Errorf("%s is gone:\n%s", stays, left)
				}
			}
			if r := x.report(t); len(r.Drift) > 0 {
				t.Errorf("it would still change %v", r.Drift)
			}
		})
	}
}
