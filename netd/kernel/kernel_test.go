package kernel

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/diff"
	"weft/netd/lease"
	"weft/netd/nstest"
	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/profiles"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// node is a node with an underlay at the given device.
func testNode(index int) wanted.Node {
	return wanted.Node{
		Name: "self", MAC: wanted.MAC{2, 0, 0, 0, 0, 1},
		IPv4: netip.MustParsePrefix("10.255.0.0/26"),
		Underlay: underlay.Choice{IPv4: underlay.Device{Index: index, Name: "eth0", MTU: 1500,
			Address: netip.MustParseAddr("10.0.0.1")}},
	}
}

func testNetwork() profiles.Network {
	return profiles.Network{Pods: []netip.Prefix{netip.MustParsePrefix("10.128.0.0/9")},
		Backend: profiles.Backend{Type: "vxlan", VNI: 1, Port: 8472}}
}

// many are n sound leases.
func many(n int) []lease.Lease {
	leases := make([]lease.Lease, n)
	for i := range leases {
		subnet := netip.AddrFrom4([4]byte{10, byte(128 | (i+1)>>10), byte((i + 1) >> 2), byte((i + 1) << 6)})
		leases[i] = lease.Lease{Node: "peer", Backend: lease.VXLAN, IPv4: lease.Half{
			Subnet:  netip.PrefixFrom(subnet, 26),
			Address: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}),
			MAC:     wanted.MAC{2, 0, 0, 1, byte(i >> 8), byte(i)}.String(),
		}}
	}
	return leases
}

func BenchmarkProgram5000(b *testing.B) {
	for i := range b.N {
		b.StopTimer()
		n := nstest.New(b, fmt.Sprintf("node%d", i))
		lan := nstest.NewLAN(b, fmt.Sprintf("lan%d", i))
		lan.Attach(b, n, "eth0", "10.0.0.1/8")
		err := n.Do(func() error {
			conn, err := Open()
			if err != nil {
				return err
			}
			defer conn.Close()
			host, err := conn.Host()
			if err != nil {
				return err
			}
			device, err := underlay.Choose(host, false, []netip.Addr{netip.MustParseAddr("10.0.0.1")}, testNetwork())
			if err != nil {
				return err
			}
			leases := many(5000)
			b.StartTimer()
			plan, err := wanted.For(testNode(device.Index), testNetwork(), leases)
			if err != nil || len(plan.Refusals) > 0 {
				b.Fatal(err, plan.Refusals)
			}
			have, err := conn.Read(Scope{Names: []string{"flannel.1"}})
			if err != nil {
				return err
			}
			for _, f := range conn.Apply(diff.Diff(have, plan.State)) {
				b.Fatal(f)
			}
			b.StopTimer()
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
	}
}

// inNode calls f in a node with an underlay eth0.
func inNode(t *testing.T, f func(t *testing.T, conn *Conn, n *nstest.Node, eth0 underlay.Device)) {
	t.Helper()
	n := nstest.New(t, "node")
	nstest.NewLAN(t, "lan").Attach(t, n, "eth0", "10.0.0.1/8")
	var conn *Conn
	var device underlay.Device
	err := n.Do(func() (err error) {
		if conn, err = Open(); err != nil {
			return err
		}
		host, err := conn.Host()
		if err != nil {
			return err
		}
		device, err = underlay.Choose(host, false, []netip.Addr{netip.MustParseAddr("10.0.0.1")}, testNetwork())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if want := netip.MustParsePrefix("10.0.0.0/8"); device.Net != want {
		t.Errorf("the network of the underlay is %s, want %s", device.Net, want)
	}
	f(t, conn, n, device)
}

// apply applies in the node, where accept_ra is written.
func apply(t *testing.T, n *nstest.Node, conn *Conn, changes []diff.Change) (failures []Failure) {
	t.Helper()
	if err := n.Do(func() error { failures = conn.Apply(changes); return nil }); err != nil {
		t.Fatal(err)
	}
	return failures
}

func TestWhatIsAppliedIsReadBack(t *testing.T) {
	inNode(t, func(t *testing.T, conn *Conn, n *nstest.Node, eth0 underlay.Device) {
		plan, err := wanted.For(testNode(eth0.Index), testNetwork(), many(500))
		if err != nil {
			t.Fatal(err)
		}
		scope := Scope{Names: []string{"flannel.1"}}
		have, err := conn.Read(scope)
		if err != nil {
			t.Fatal(err)
		}
		if failures := apply(t, n, conn, diff.Diff(have, plan.State)); len(failures) > 0 {
			t.Fatal(failures[0])
		}
		have, err = conn.Read(scope)
		if err != nil {
			t.Fatal(err)
		}
		if changes := diff.Diff(have, plan.State); len(changes) > 0 {
			t.Errorf("%d changes are left, the first: %v", len(changes), changes[0])
		}
		// Doing all of it again, and removing what is not there, is no failure.
		again := diff.Diff(wanted.State{}, wanted.State{Addresses: plan.State.Addresses, Routes: plan.State.Routes,
			FDB: plan.State.FDB, Neighs: plan.State.Neighs})
		if failures := apply(t, n, conn, again); len(failures) > 0 {
			t.Error(failures[0])
		}
		remove := diff.Diff(have, wanted.State{})
		if failures := append(apply(t, n, conn, remove), apply(t, n, conn, remove)...); len(failures) > 0 {
			t.Error(failures[0])
		}
	})
}

func TestOneFailureIsNamedAndDoesNotStopTheOthers(t *testing.T) {
	inNode(t, func(t *testing.T, conn *Conn, n *nstest.Node, eth0 underlay.Device) {
		plan, err := wanted.For(testNode(eth0.Index), testNetwork(), many(300))
		if err != nil {
			t.Fatal(err)
		}
		bad := &plan.State.Routes[150]
		bad.OnLink = false // its gateway is on no link
		have, err := conn.Read(Scope{Names: []string{"flannel.1"}})
		if err != nil {
			t.Fatal(err)
		}
		failures := apply(t, n, conn, diff.Diff(have, plan.State))
		if len(failures) != 1 || failures[0].Change.Object != diff.Object(*bad) || !errors.Is(failures[0], unix.ENETUNREACH) {
			t.Fatalf("failures are %v, want one of %v", failures, *bad)
		}
		if !strings.Contains(failures[0].Error(), "Nexthop has invalid gateway") {
			t.Errorf("the kernel's own words are missing from %q", failures[0].Error())
		}
		have, err = conn.Read(Scope{Names: []string{"flannel.1"}})
		if err != nil || len(have.Routes) != len(plan.State.Routes)-1 {
			t.Errorf("%d routes, %v; want all others", len(have.Routes), err)
		}
	})
}

// A peer whose new path cannot be made keeps the old one.
func TestOldPathStaysUntilTheNewOneIsMade(t *testing.T) {
	inNode(t, func(t *testing.T, conn *Conn, n *nstest.Node, eth0 underlay.Device) {
		plan, err := wanted.For(testNode(eth0.Index), testNetwork(), many(3))
		if err != nil {
			t.Fatal(err)
		}
		scope := Scope{Names: []string{"flannel.1"}}
		have, err := conn.Read(scope)
		if err != nil {
			t.Fatal(err)
		}
		if failures := apply(t, n, conn, diff.Diff(have, plan.State)); len(failures) > 0 {
			t.Fatal(failures[0])
		}
		// The second peer is to have a plain route, but its address is on no
		// link; the third is to go.
		next := plan.State
		old := next.Routes[1]
		next.Routes = []wanted.Route{next.Routes[0], {Dst: old.Dst, Via: netip.MustParseAddr("192.0.2.1"), Link: "eth0", Protocol: old.Protocol}}
		next.FDB, next.Neighs = next.FDB[:1], next.Neighs[:1]
		failures := apply(t, n, conn, diff.Diff(plan.State, next))
		if len(failures) != 1 {
			t.Fatalf("failures are %v, want one", failures)
		}
		have, err = conn.Read(scope)
		if err != nil || len(have.Routes) != 2 || have.Routes[1] != old || len(have.FDB) != 2 || len(have.Neighs) != 2 {
			t.Errorf("routes %v, FDB %v, neighbours %v, %v; want the second peer's as before and the third's gone",
				have.Routes, have.FDB, have.Neighs, err)
		}
	})
}

// The way of an IPv6 peer from a plain route to the tunnel, whose gateway the
// plain route covers, has no moment without a route.
func TestIPv6PathChangesFromPlainToTunnelInOneStep(t *testing.T) {
	inNode(t, func(t *testing.T, conn *Conn, n *nstest.Node, eth0 underlay.Device) {
		n.Run(t, "ip", "address", "add", "fd00:10::1/64", "dev", "eth0", "nodad")
		node := testNode(eth0.Index)
		node.IPv4, node.IPv6 = netip.Prefix{}, netip.MustParsePrefix("fd42:0:0:1::/64")
		node.Underlay.IPv6 = underlay.Device{Index: eth0.Index, Name: "eth0", MTU: 1500, Address: netip.MustParseAddr("fd00:10::1")}
		network := testNetwork()
		network.Pods = []netip.Prefix{netip.MustParsePrefix("fd42::/48")}
		network.Backend.DirectRouting = true
		address := netip.MustParseAddr("fd00:10::2")
		peer := lease.Lease{Node: "peer", Backend: lease.VXLAN, IPv6: lease.Half{Address: address,
			Subnet: netip.MustParsePrefix("fd42:0:0:2::/64"), MAC: "02:00:00:00:00:02"}}
		scope := Scope{Names: []string{"flannel-v6.1"}}
		for _, direct := range []bool{true, false, true, false} {
			node.Direct = nil
			if direct {
				node.Direct = map[netip.Addr]int{address: eth0.Index}
			}
			plan, err := wanted.For(node, network, []lease.Lease{peer})
			if err != nil || len(plan.Refusals) > 0 {
				t.Fatal(err, plan.Refusals)
			}
			have, err := conn.Read(scope)
			if err != nil {
				t.Fatal(err)
			}
			if failures := apply(t, n, conn, diff.Diff(have, plan.State)); len(failures) > 0 {
				t.Fatal(failures[0])
			}
			if have, err = conn.Read(scope); err != nil || len(diff.Diff(have, plan.State)) != 0 {
				t.Errorf("direct %t: left are %v, %v", direct, diff.Diff(have, plan.State), err)
			}
		}
	})
}

func TestOwnRoutesAndNeighboursAreNotHeardOf(t *testing.T) {
	inNode(t, func(t *testing.T, conn *Conn, n *nstest.Node, eth0 underlay.Device) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var events iter.Seq2[[]Event, error]
		if err := n.Do(func() (err error) { events, err = conn.Events(ctx); return err }); err != nil {
			t.Fatal(err)
		}
		plan, err := wanted.For(testNode(eth0.Index), testNetwork(), many(10))
		if err != nil {
			t.Fatal(err)
		}
		have, err := conn.Read(Scope{Names: []string{"flannel.1"}})
		if err != nil {
			t.Fatal(err)
		}
		if failures := apply(t, n, conn, diff.Diff(have, plan.State)); len(failures) > 0 {
			t.Fatal(failures[0])
		}
		lost := plan.State.Routes[3]
		n.Run(t, "ip", "route", "del", lost.Dst.String())
		for group, err := range events {
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range group {
				switch o := e.Object.(type) {
				case wanted.Neighbour:
					t.Errorf("own neighbour was heard of: %v", o)
				case wanted.Route:
					if !e.Gone || o != lost {
						t.Errorf("heard of %v (gone %t), want only the loss of %v", o, e.Gone, lost)
					}
					return
				}
			}
		}
		t.Error("the lost route was not heard of")
	})
}

func TestDirectTellsNeighboursFromThoseBehindARouter(t *testing.T) {
	inNode(t, func(t *testing.T, conn *Conn, n *nstest.Node, eth0 underlay.Device) {
		n.Run(t, "ip", "route", "add", "192.0.2.0/24", "via", "10.0.0.254")
		near, far, nowhere := netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("198.51.100.7")
		var addresses []netip.Addr
		for range 100 { // more than are asked at once
			addresses = append(addresses, near, far, nowhere)
		}
		direct, err := conn.Direct(addresses)
		if err != nil || direct[near] != eth0.Index || len(direct) != 1 {
			t.Errorf("direct are %v, %v; want %s alone", direct, err, near)
		}
	})
}

// Whatever arrives, decoding neither panics nor reads beyond it.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 4, 0, 220, 5, 0, 0})
	f.Add([]byte{2, 24, 0, 0, 254, 87, 0, 1, 4, 0, 0, 0, 8, 0, 1, 0, 10, 244, 2, 0})
	f.Add([]byte{7, 0, 0, 0, 4, 0, 0, 0, 128, 0, 2, 0, 8, 0, 1, 0, 10, 0, 0, 2})
	f.Add([]byte{10, 128, 0, 0, 4, 0, 0, 0, 3, 0, 1, 0})
	f.Add([]byte{10, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 8, 0, 15, 0, 64, 81, 0, 0, 5, 0, 21, 0, 208, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		decodeLink(b)
		decodeRule(b)
		decodeAddress(b)
		decodeNeigh(b)
		if r, ok := decodeRoute(b); ok && !r.route.Dst.IsValid() {
			t.Errorf("route without a destination: %+v", r)
		}
	})
}
