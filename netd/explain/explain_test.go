package explain

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/probe"
	"weft/netd/reconcile"
	"weft/netd/status"
	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/netd/wireguard"
	"weft/profiles"
)

var update = flag.Bool("update", false, "write the golden files anew")

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// vxlan is a situation with two peers, all well, and a lease that is refused.
func vxlan(t testing.TB, change func(*profiles.Network)) Situation {
	t.Helper()
	node := wanted.Node{Name: "one", UUID: "00000000-0000-4000-8000-000000000001", MAC: wanted.MAC{2, 0, 0, 0, 0, 1},
		IPv4: prefix("10.244.1.0/24"), IPv6: prefix("fd42:0:0:1::/64"),
		Underlay: underlay.Choice{
			IPv4: underlay.Device{Index: 2, Name: "eth0", MTU: 1500, Address: addr("10.0.0.1")},
			IPv6: underlay.Device{Index: 2, Name: "eth0", MTU: 1500, Address: addr("fd00:10::1")}}}
	network := profiles.Network{Pods: []netip.Prefix{prefix("10.244.0.0/16"), prefix("fd42::/48")},
		Services: []netip.Prefix{prefix("10.96.0.0/12")}, Backend: profiles.Backend{Type: "vxlan"}}
	if change != nil {
		change(&network)
	}
	network = network.WithDefaults()
	two := lease.Lease{Node: "two", Backend: "vxlan",
		IPv4: lease.Half{Subnet: prefix("10.244.2.0/24"), Address: addr("10.0.0.2"), MAC: "02:00:00:00:00:02"},
		IPv6: lease.Half{Subnet: prefix("fd42:0:0:2::/64"), Address: addr("fd00:10::2"), MAC: "02:00:00:00:00:02"}}
	thief := two
	thief.Node, thief.IPv6 = "thief", lease.Half{}
	thief.IPv4 = lease.Half{Subnet: prefix("10.244.2.0/23"), Address: addr("10.0.0.66"), MAC: "02:00:00:00:00:66"}
	if network.Backend.DirectRouting {
		node.Direct = map[netip.Addr]int{addr("10.0.0.2"): 2}
	}
	plan, err := wanted.For(node, network, []lease.Lease{two, thief})
	if err != nil {
		t.Fatal(err)
	}
	s := reconcile.Snapshot{Config: reconcile.Config{Node: profiles.NetdNode{Name: "one", Subnets: []netip.Prefix{node.IPv4, node.IPv6}}, Network: network},
		Node: node, Wanted: plan.State, Peers: plan.Peers, Refusals: plan.Refusals, StoreAnswered: true}
	return situation(s, plan.State)
}

// situation is that of a snapshot with what the kernel holds.
func situation(s reconcile.Snapshot, kernel wanted.State) Situation {
	report := status.Build(status.Facts{Now: time.Unix(1000, 0), Snapshot: s, Kernel: &kernel, Probes: []probe.Result{
		{Node: "two", To: addr("10.244.2.254"), RTT: 830 * time.Microsecond, Sent: 9, Received: 9, Answers: true}}})
	return Situation{Snapshot: s, Report: report, Kernel: &kernel}
}

// to is where the kernel sends a packet.
func to(device, via, source string) *Hop {
	h := &Hop{Device: device, Table: mainTable}
	if via != "" {
		h.Via = addr(via)
	}
	if source != "" {
		h.Source = addr(source)
	}
	return h
}

func TestAnswersAreWhatAPersonReads(t *testing.T) {
	tunnel := to("flannel.1", "10.244.2.0", "10.244.1.0")
	cases := []struct {
		name, target string
		change       func(*profiles.Network)
		spoil        func(*Situation)
	}{
		{"peer", "10.244.2.7", nil, func(s *Situation) { s.Hop = tunnel }},
		{"peer-subnet", "10.244.2.0/24", nil, func(s *Situation) { s.Hop = tunnel }},
		{"peer-ipv6", "fd42:0:0:2::7", nil, func(s *Situation) { s.Hop = to("flannel-v6.1", "fd42:0:0:2::", "fd42:0:0:1::") }},
		{"peer-direct", "10.244.2.7", func(n *profiles.Network) { n.Backend.DirectRouting = true },
			func(s *Situation) { s.Hop = to("eth0", "10.0.0.2", "10.0.0.1") }},
		{"route-absent", "10.244.2.7", nil, func(s *Situation) {
			kernel := s.Snapshot.Wanted
			kernel.Routes = slices.DeleteFunc(slices.Clone(kernel.Routes), func(r wanted.Route) bool { return r.Dst == prefix("10.244.2.0/24") })
			*s = situation(s.Snapshot, kernel)
			s.Hop = to("eth0", "10.0.0.254", "10.0.0.1")
		}},
		{"device-absent", "10.244.2.7", nil, func(s *Situation) {
			*s = situation(s.Snapshot, wanted.State{})
			s.HopError = "network is unreachable"
		}},
		{"policy-routing", "10.244.2.7", nil, func(s *Situation) { s.Hop = to("tailscale0", "", "100.64.0.1"); s.Hop.Table = 52 }},
		{"own", "10.244.1.9", nil, func(s *Situation) { s.Hop = to("cni0", "", "10.244.1.1") }},
		{"own-without-bridge", "10.244.1.9", nil, func(s *Situation) { s.HopError = "no route to host" }},
		{"own-gateway", "10.244.1.1", nil, func(s *Situation) { s.Hop = to("lo", "", ""); s.Hop.Local = true }},
		{"refused", "10.244.3.7", nil, func(s *Situation) { s.Hop = to("eth0", "10.0.0.254", "10.0.0.1") }},
		{"nobody", "10.244.9.9", nil, func(s *Situation) { s.HopError = "network is unreachable" }},
		{"outside", "192.0.2.1", nil, func(s *Situation) { s.Hop = to("eth0", "10.0.0.254", "10.0.0.1") }},
		{"outside-ipv6", "2001:db8::1", nil, func(s *Situation) { s.HopError = "network is unreachable" }},
		{"node", "10.0.0.2", nil, func(s *Situation) { s.Hop = to("eth0", "", "10.0.0.1") }},
		{"service", "10.96.0.10", nil, func(*Situation) {}},
		{"network", "10.244.0.0/16", nil, func(*Situation) {}},
		{"none", "10.244.2.7", func(n *profiles.Network) { n.Backend.Type = "none" }, func(s *Situation) { s.HopError = "network is unreachable" }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := vxlan(t, c.change)
			c.spoil(&s)
			target, err := Parse(c.target)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := Write(&got, Explain(target, s), status.Style{}); err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(got.String(), "\n") {
				if len(line) > 80 {
					t.Errorf("more than 80 columns: %s", line)
				}
			}
			file := filepath.Join("testdata", c.name+".txt")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("answer is\n%s\nwant (%s)\n%s", &got, file, want)
			}
		})
	}
}

// TestAWireGuardPeerIsExplained is apart, since no state of a backend is made
// for it.
func TestAWireGuardPeerIsExplained(t *testing.T) {
	s := vxlan(t, nil)
	s.Snapshot.Config.Network.Backend = profiles.Backend{Type: "wireguard"}
	key, subnet := wanted.Key{7}, prefix("10.244.2.0/24")
	state := wanted.State{
		Links:  []wanted.Link{{Name: "flannel-wg", Kind: wanted.KindWireGuard, MTU: 1420, Up: true}},
		Routes: []wanted.Route{{Dst: subnet, Link: "flannel-wg"}},
		Peers:  []wanted.WGPeer{{Link: "flannel-wg", PublicKey: key, AllowedIPs: []netip.Prefix{subnet}}},
	}
	s.Snapshot.Wanted = state
	s.Snapshot.Peers = []wanted.Peer{{Node: "two", Subnet: subnet, Address: addr("10.0.0.2"), PublicKey: key}}
	for name, c := range map[string]struct {
		tunnel  wireguard.Health
		kernel  wanted.State
		want    string
		problem string
	}{
		"a handshake":    {wireguard.Health{Handshake: time.Unix(980, 0), Endpoint: netip.MustParseAddrPort("192.0.2.9:51820")}, state, "20s ago", ""},
		"no handshake":   {wireguard.Health{}, state, "never", "no handshake with two yet"},
		"an absent peer": {wireguard.Health{Handshake: time.Unix(980, 0)}, wanted.State{Links: state.Links, Routes: state.Routes}, "20s ago", "peer is wanted but absent"},
	} {
		s.Kernel = &c.kernel
		c.tunnel.Device, c.tunnel.PublicKey = "flannel-wg", key
		s.Snapshot.Tunnels = []wireguard.Health{c.tunnel}
		s.Report = status.Build(status.Facts{Now: time.Unix(1000, 0), Snapshot: s.Snapshot, Kernel: &c.kernel})
		var b bytes.Buffer
		a := Explain(prefix("10.244.2.7/32"), s)
		if err := Write(&b, a, status.Style{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), c.want) || !strings.Contains(b.String(), c.problem) || (c.problem == "") != (len(a.Problems) == 0) {
			t.Errorf("%s: answer is\n%s", name, &b)
		}
	}
}

// What is explained of a plan for WireGuard, with and without a lane, is that
// all is well when the kernel holds what is planned.
func TestWhatIsPlannedForWireGuardIsExplained(t *testing.T) {
	for name, way := range map[string]wanted.Way{
		"main device": {Main: true}, "met on the lane": {Main: true, Lane: true}, "by the lane": {Lane: true, Via: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, device, table := vxlan(t, nil), "flannel-wg", mainTable
			main, lane := wanted.Key{7}, wanted.Key{8}
			if way.Via {
				device, table = "flannel-wg.1", wanted.LaneTable
			}
			node, network := s.Snapshot.Node, s.Snapshot.Config.Network
			network.Backend = profiles.Backend{Type: "wireguard"}
			node.PublicKey = wanted.Key{1}
			if way.Lane {
				node.Lane = wanted.Lane{PublicKey: wanted.Key{2}, Port: 51822, PortV6: 51823, Ways: map[wanted.Key]wanted.Way{main: way}}
			}
			plan, err := wanted.For(node, network, []lease.Lease{{Node: "two", Backend: lease.WireGuard,
				IPv4: lease.Half{Subnet: prefix("10.244.2.0/24"), Address: addr("10.0.0.2"), PublicKey: main.String(), Port: 51820},
				Lane: lease.Lane{PublicKey: lane.String(), Port: 51822, PortV6: 51823}}})
			if err != nil {
				t.Fatal(err)
			}
			s.Snapshot.Node, s.Snapshot.Config.Network, s.Snapshot.Wanted, s.Snapshot.Peers = node, network, plan.State, plan.Peers
			s.Snapshot.Refusals = nil
			for _, p := range plan.State.Peers {
				s.Snapshot.Tunnels = append(s.Snapshot.Tunnels, wireguard.Health{Device: p.Link, PublicKey: p.PublicKey,
					Handshake: time.Unix(980, 0), Endpoint: p.Endpoint})
			}
			s = situation(s.Snapshot, plan.State)
			s.Hop = &Hop{Device: device, Table: table, Source: addr("10.244.1.0")}
			var b bytes.Buffer
			a := Explain(prefix("10.244.2.7/32"), s)
			if err := Write(&b, a, status.Style{}); err != nil {
				t.Fatal(err)
			}
			if len(a.Problems) > 0 || !strings.Contains(b.String(), "20s ago") || strings.Contains(b.String(), "ABSENT") {
				t.Errorf("answer is\n%s", &b)
			}
			if missing := Explain(prefix("10.244.2.7/32"), without(s)); len(missing.Problems) == 0 {
				t.Error("nothing is told of an empty kernel")
			}
		})
	}
}

// without is a situation in which the kernel holds nothing.
func without(s Situation) Situation {
	s = situation(s.Snapshot, wanted.State{})
	s.HopError = "network is unreachable"
	return s
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, text := range []string{"", "node-2", "10.244.2", "fe80::1%eth0", "10.0.0.0/33", "::ffff:10.0.0.0/104", strings.Repeat("1", 65)} {
		if p, err := Parse(text); err == nil {
			t.Errorf("%q was taken as %s", text, p)
		}
	}
}

func FuzzExplain(f *testing.F) {
	f.Add("10.244.2.7")
	f.Add("fd42::/48")
	f.Add("0.0.0.0/0")
	f.Add("::ffff:10.244.2.7")
	s := vxlan(f, nil)
	f.Fuzz(func(t *testing.T, text string) {
		target, err := Parse(text)
		if err != nil {
			return
		}
		if a := Explain(target, s); a.Verdict == "" {
			t.Errorf("nothing is said of %s", target)
		}
	})
}
