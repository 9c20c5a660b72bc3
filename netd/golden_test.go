package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/netd/nstest"
	"weft/profiles"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The state of a node with two peers, as ip, bridge and nft print it. The
// golden files hold flannel's state of the same network, object by object;
// what they cannot have of it is listed in [forget].
func TestStateIsFlannels(t *testing.T) {
	cases := []struct {
		name   string
		f      families
		change func(*profiles.Netd)
	}{
		{"ipv4", onlyIPv4, func(*profiles.Netd) {}},
		{"ipv6", onlyIPv6, func(*profiles.Netd) {}},
		{"dual", dual, func(*profiles.Netd) {}},
		{"direct", dual, directRouting},
		{"hostgw4", onlyIPv4, backend(profiles.BackendHostGW)},
		{"hostgw6", onlyIPv6, backend(profiles.BackendHostGW)},
		{"hostgw", dual, backend(profiles.BackendHostGW)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster(t, c.f, 3, c.change)
			x := cl.nodes[0]
			x.start(t)
			x.waitReady(t)
			got := x.golden(t)
			file := filepath.Join("testdata", c.name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("state is\n%s\nwant (%s)\n%s", got, file, want)
			}
			for _, device := range x.devices() {
				setting := x.Run(t, "cat", "/proc/sys/net/ipv6/conf/"+device+"/accept_ra")
				if strings.TrimSpace(setting) != "0" {
					t.Errorf("accept_ra of %s is %s, want 0", device, setting)
				}
			}
		})
	}
}

// golden is the node's state, normalised, as JSON.
func (x *node) golden(t testing.TB) []byte {
	t.Helper()
	state := map[string][]map[string]any{}
	for _, device := range x.devices() {
		state["links"] = append(state["links"], x.objects(t, "ip", "-d", "-j", "link", "show", device)...)
		state["fdb"] = append(state["fdb"], x.objects(t, "bridge", "-j", "fdb", "show", "dev", device)...)
		state["neighbours"] = append(state["neighbours"],
			x.objects(t, "ip", "-j", "neigh", "show", "nud", "permanent", "dev", device)...)
		for _, o := range x.objects(t, "ip", "-j", "address", "show", device) {
			for _, a := range o["addr_info"].([]any) {
				state["addresses"] = append(state["addresses"], a.(map[string]any))
			}
		}
	}
	for _, family := range []string{"-4", "-6"} {
		guards := 0
		for _, o := range x.objects(t, "ip", family, "-j", "route", "show") {
			switch {
			case o["type"] == "unreachable" && o["metric"] == float64(math.MaxUint32):
				guards++ // what flannel has not: see TestPacketsForOwnPodsNeverLeaveByTheDefaultRoute
			case o["protocol"] != "kernel":
				state["routes"] = append(state["routes"], o)
			}
		}
		if guards > 1 {
			t.Errorf("%d routes of %s lead nowhere, want one at most", guards, family)
		}
	}
	for kind, objects := range state {
		objects = slices.DeleteFunc(objects, func(o map[string]any) bool { return o["scope"] == "link" })
		for _, o := range objects {
			forget(kind, o)
		}
		slices.SortFunc(objects, func(a, b map[string]any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		state[kind] = objects
	}
	data, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// forget removes what depends on the kernel or the day, or is netd's mark:
// the alias of devices and the protocol of routes.
func forget(kind string, o map[string]any) {
	drop := map[string][]string{
		"links": {"ifindex", "ifalias", "link_index", "gso_max_size", "gso_max_segs", "tso_max_size", "tso_max_segs",
			"gro_max_size", "gso_ipv4_max_size", "gro_ipv4_max_size", "max_mtu", "min_mtu", "qdisc", "txqlen", "promiscuity",
			"allmulti", "num_tx_queues", "num_rx_queues", "link", "link_netnsid"},
		"addresses": {"valid_life_time", "preferred_life_time", "nodad"},
		"routes":    {"protocol", "pref"},
	}
	for _, key := range drop[kind] {
		delete(o, key)
	}
	if info, ok := o["linkinfo"].(map[string]any); ok {
		data, _ := info["info_data"].(map[string]any)
		for _, key := range []string{"df", "localbypass", "reserved_bits", "mdb"} { // only newer tools print these
			delete(data, key)
		}
	}
}

func TestChecksumOffloadCanBeTurnedOffAndOn(t *testing.T) {
	off := false
	c := newCluster(t, onlyIPv4, 1, func(n *profiles.Netd) { n.Network.Backend.ChecksumOffload = &off })
	c.startAll(t)
	x := c.nodes[0]
	offload := func() bool { return x.report(t).Kernel.Links[0].ChecksumOffload }
	if offload() {
		t.Error("checksum offload is on")
	}
	on := true
	x.config.Network.Backend.ChecksumOffload = &on
	x.reload(t)
	nstest.Eventually(t, 5e9, "offload on", func() error {
		if !offload() {
			return fmt.Errorf("it is off")
		}
		return nil
	})
}

// What flanneld has left, unmarked and with a MAC of its own, is taken over
// without taking anything away that is right.
func TestFlanneldsStateIsTakenOver(t *testing.T) {
	c := newCluster(t, onlyIPv4, 3)
	x := c.nodes[0]
	two, three := profiles.VTEPMAC("node-2").String(), profiles.VTEPMAC("node-3").String()
	for _, command := range []string{
		"ip link add flannel.1 address 9e:00:00:00:00:01 mtu 1450 type vxlan id 1 dev eth0 local 10.0.0.1 dstport 8472 nolearning",
		"ip address add 10.244.1.0/32 dev flannel.1",
		"ip link set flannel.1 up",
		"ip neigh add 10.244.2.0 lladdr " + two + " dev flannel.1",
		"bridge fdb add " + two + " dst 10.0.0.2 dev flannel.1 self",
		"ip route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink",
		// A peer that has gone since.
		"ip neigh add 10.244.9.0 lladdr 9e:00:00:00:00:09 dev flannel.1",
		"bridge fdb add 9e:00:00:00:00:09 dst 10.0.0.9 dev flannel.1 self",
		"ip route add 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink",
	} {
		words := strings.Fields(command)
		x.Run(t, words[0], words[1:]...)
	}
	index := x.objects(t, "ip", "-j", "link", "show", "flannel.1")[0]["ifindex"]
	x.start(t)
	x.waitReady(t)
	if now := x.objects(t, "ip", "-j", "link", "show", "flannel.1")[0]; now["ifindex"] != index ||
		now["address"] != profiles.VTEPMAC("node-1").String() {
		t.Errorf("device is %v, want the same with the configured MAC", now)
	}
	state := x.state(t)
	if strings.Contains(state, "10.244.9.0") || strings.Contains(state, "9e:00:00:00:00:09") {
		t.Errorf("something of the peer that has gone is left:\n%s", state)
	}
	if !strings.Contains(state, three) || !strings.Contains(state, "10.244.2.0/24 via 10.244.2.0 onlink") {
		t.Errorf("the route in place was changed, or the new peer is missing:\n%s", state)
	}
}

// A device of a VNI that is no longer used is netd's to remove; one that
// somebody else made is not.
func TestOldDeviceGoesAndForeignOnesStay(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2)
	c.startAll(t)
	x := c.nodes[0]
	x.Run(t, "ip", "link", "add", "flannel.9", "type", "vxlan", "id", "9", "dstport", "9999")
	x.Run(t, "ip", "route", "add", "10.9.0.0/16", "via", "10.0.0.2", "dev", "eth0")
	x.config.Network.Backend.VNI = 2
	x.reload(t)
	nstest.Eventually(t, 5e9, "flannel.2 in the place of flannel.1", func() error {
		links := x.Run(t, "ip", "link", "show")
		if strings.Contains(links, "flannel.1:") || !strings.Contains(links, "flannel.2:") {
			return fmt.Errorf("devices are\n%s", links)
		}
		return nil
	})
	if links := x.Run(t, "ip", "link", "show"); !strings.Contains(links, "flannel.9:") {
		t.Errorf("a foreign device was removed:\n%s", links)
	}
	if routes := x.Run(t, "ip", "route", "show"); !strings.Contains(routes, "10.9.0.0/16") {
		t.Errorf("a foreign route was removed:\n%s", routes)
	}
}

// Direct routes follow what the routing table says of the peers.
func TestDirectRoutingFallsBackToTheTunnelBehindARouter(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2, directRouting)
	c.startAll(t)
	x := c.nodes[0]
	if routes := x.Run(t, "ip", "route", "show", "10.244.2.0/24"); !strings.Contains(routes, "via 10.0.0.2 dev eth0") {
		t.Fatalf("route is %s, want a direct one", routes)
	}
	one := x.addPod(t, 10)
	c.nodes[1].addPod(t, 20)
	pings(t, one, "10.244.2.20")
	x.Run(t, "ip", "route", "add", "10.0.0.2/32", "via", "10.0.0.254")
	nstest.Eventually(t, 5e9, "the tunnel", func() error {
		if routes := x.Run(t, "ip", "route", "show", "10.244.2.0/24"); !strings.Contains(routes, "dev flannel.1") {
			return fmt.Errorf("route is %s", routes)
		}
		return nil
	})
	x.Run(t, "ip", "route", "del", "10.0.0.2/32")
	nstest.Eventually(t, 5e9, "the direct route", func() error {
		if routes := x.Run(t, "ip", "route", "show", "10.244.2.0/24"); !strings.Contains(routes, "dev eth0") {
			return fmt.Errorf("route is %s", routes)
		}
		return nil
	})
	pings(t, one, "10.244.2.20")
}
