package kernel

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"slices"
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

// A twoWays is a node that reaches another one by two devices: main has the
// route to the whole network, and lane is for one with the route to a part.
type twoWays struct {
	node *nstest.Node
	conn *Conn
	to   netip.AddrPort
	from net.PacketConn // what arrives at the other node
	lane wanted.Route   // by the lane
	base wanted.Route   // by main
}

func newTwoWays(t *testing.T, node *nstest.Node, conn *Conn, ipv6 bool) twoWays {
	t.Helper()
	own, peer, to := "10.244.1.0/32", "10.244.2.1/24", "10.244.2.1"
	w := twoWays{node: node, conn: conn,
		base: wanted.Route{Dst: netip.MustParsePrefix("10.244.0.0/16"), Link: "main", Protocol: wanted.Protocol},
		lane: wanted.Route{Dst: netip.MustParsePrefix("10.244.2.0/24"), Link: "lane", Protocol: wanted.Protocol}}
	if ipv6 {
		own, peer, to = "fd42:0:0:1::/128", "fd42:0:0:2::1/64", "fd42:0:0:2::1"
		w.base.Dst, w.lane.Dst = netip.MustParsePrefix("fd42::/48"), netip.MustParsePrefix("fd42:0:0:2::/64")
		w.base.Metric, w.lane.Metric = 1024, 1024
	}
	other := nstest.New(t, "other")
	for _, device := range []string{"main", "lane"} {
		if err := nstest.Veth(node, device, other, device); err != nil {
			t.Fatal(err)
		}
		for n, address := range map[*nstest.Node]string{node: own, other: peer} {
			n.Run(t, "ip", "link", "set", device, "up")
			n.Run(t, "ip", nstest.AddAddress(device, address)...)
		}
	}
	other.Run(t, "ip", "route", "add", own, "dev", "main")
	if err := other.Do(func() (err error) {
		w.from, err = net.ListenPacket("udp", netip.AddrPortFrom(netip.MustParseAddr(to), 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.from.Close() })
	w.to = w.from.LocalAddr().(*net.UDPAddr).AddrPort()
	if _, err := conn.Read(Scope{}); err != nil { // the devices are known now
		t.Fatal(err)
	}
	w.apply(t, diff.Create, w.base)
	return w
}

func (w twoWays) apply(t *testing.T, verb diff.Verb, r wanted.Route) {
	t.Helper()
	if failures := w.conn.Apply([]diff.Change{{Verb: verb, Object: r}}); len(failures) > 0 {
		t.Fatal(failures[0])
	}
}

// arrives sends a packet and does something else while it is being sent: the
// kernel has chosen its route by then (MSG_MORE). It reports whether the packet
// arrives.
func (w twoWays) arrives(t *testing.T, text string, within time.Duration, meanwhile func()) bool {
	t.Helper()
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: w.to.Addr().As16(), Port: int(w.to.Port())}
	family := unix.AF_INET6
	if w.to.Addr().Is4() {
		to, family = &unix.SockaddrInet4{Addr: w.to.Addr().As4(), Port: int(w.to.Port())}, unix.AF_INET
	}
	var socket int
	err := w.node.Do(func() (err error) {
		socket, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	if err := unix.Sendto(socket, []byte(text[:1]), unix.MSG_MORE, to); err != nil {
		t.Fatal(err)
	}
	meanwhile()
	if err := unix.Sendto(socket, []byte(text[1:]), 0, to); err != nil {
		t.Fatal(err)
	}
	if err := w.from.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, _, err := w.from.ReadFrom(buf)
	return err == nil && string(buf[:n]) == text
}

// graceful waits until all that the kernel was about when it was called has
// ended (membarrier(2), MEMBARRIER_CMD_GLOBAL: synchronize_rcu).
func graceful(t *testing.T) {
	t.Helper()
	const global = 1
	if _, _, err := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0); err != 0 {
		t.Fatal("membarrier:", err)
	}
}

// states are those that a node goes through while packets take the lane, of
// real plans: there is none; past it; through it; past it again; there is none.
// The devices have the names of these two.
func (w twoWays) states(t *testing.T) (all []wanted.State) {
	t.Helper()
	peer, lane := wanted.Key{2}, wanted.Key{20}
	network := profiles.Network{Pods: []netip.Prefix{w.base.Dst}, Backend: profiles.Backend{Type: profiles.BackendWireGuard}}
	node := wanted.Node{Name: "self", PublicKey: wanted.Key{1}}
	device := underlay.Device{Index: 1, Name: "eth0", MTU: 1500, Address: netip.MustParseAddr("10.0.0.1")}
	l := lease.Lease{Node: "peer", Backend: lease.WireGuard, Lane: lease.Lane{PublicKey: lane.String(), Port: 51822, PortV6: 51823}}
	half := lease.Half{Subnet: w.lane.Dst, Address: netip.MustParseAddr("10.0.0.2"), PublicKey: peer.String()}
	if w.base.Dst.Addr().Is4() {
		node.IPv4, node.Underlay.IPv4, l.IPv4 = netip.MustParsePrefix("10.244.1.0/24"), device, half
	} else {
		device.Address, half.Address = netip.MustParseAddr("fd00:10::1"), netip.MustParseAddr("fd00:10::2")
		node.IPv6, node.Underlay.IPv6, l.IPv6 = netip.MustParsePrefix("fd42:0:0:1::/64"), device, half
	}
	none, past, through := wanted.Way{Main: true}, wanted.Way{Main: true, Lane: true}, wanted.Way{Main: true, Lane: true, Via: true}
	for _, way := range []wanted.Way{none, past, through, past, none} {
		node.Lane = wanted.Lane{}
		if way.Lane {
			node.Lane = wanted.Lane{PublicKey: wanted.Key{10}, Port: 51822, PortV6: 51823, Ways: map[wanted.Key]wanted.Way{peer: way}}
		}
		plan, err := wanted.For(node, network, []lease.Lease{l})
		if err != nil || len(plan.Refusals) > 0 {
			t.Fatal(err, plan.Refusals)
		}
		state := wanted.State{Routes: plan.State.Routes, Rules: plan.State.Rules}
		for i := range state.Routes {
			if r := &state.Routes[i]; wanted.IsLane(r.Link) {
				r.Link = "lane"
			} else if r.Link != "" {
				r.Link = "main"
			}
		}
		all = append(all, state)
	}
	return all
}

// What a program is sending when the way to its peer changes arrives, between
// any two states. Of a plain route that goes meanwhile it is lost, or the test
// would prove nothing.
func TestNothingIsLostOnTheWayToTheLaneAndBack(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		t.Run(fmt.Sprint("ipv6 ", ipv6), func(t *testing.T) {
			inNode(t, func(t *testing.T, conn *Conn, n *nstest.Node, _ underlay.Device) {
				w := newTwoWays(t, n, conn, ipv6)
				const rounds = 5
				lost := 0
				for range rounds {
					w.apply(t, diff.Create, w.lane)
					if !w.arrives(t, "by a plain route", 200*time.Millisecond, func() {
						w.apply(t, diff.Remove, w.lane)
						graceful(t)
						graceful(t) // what the first one has let go is gone, too
					}) {
						lost++
					}
				}
				if lost == 0 {
					t.Error("nothing is lost with plain routes: the table of lanes is not needed any longer, or the test does not see it")
				}
				t.Logf("of %d packets, %d are lost with a plain route", rounds, lost)
				states := w.states(t)
				if failures := conn.Apply(diff.Diff(wanted.State{Routes: []wanted.Route{w.base}}, states[0])); len(failures) > 0 {
					t.Fatal(failures[0])
				}
				for round := range rounds {
					for i, next := range states[1:] {
						text := fmt.Sprintf("round %d, to state %d", round, i+1)
						if !w.arrives(t, text, 5*time.Second, func() {
							if failures := conn.Apply(diff.Diff(states[i], next)); len(failures) > 0 {
								t.Fatal(failures[0])
							}
							graceful(t)
							// Others go on sending, also by what came for others.
							if !w.arrives(t, "another one", 5*time.Second, func() {}) {
								t.Error("another packet is lost")
							}
							graceful(t)
						}) {
							t.Errorf("%s: lost", text)
						}
						if got, err := conn.Read(Scope{}); err != nil || len(diff.Diff(got, next)) > 0 {
							t.Fatalf("%s: left are %v, %v", text, diff.Diff(got, next), err)
						}
						w.takes(t, i+1 == 2)
					}
				}
			})
		})
	}
}

// takes checks which way packets take.
func (w twoWays) takes(t *testing.T, lane bool) {
	t.Helper()
	want := " dev main "
	if lane {
		want = " dev lane "
	}
	if got := w.node.Run(t, "ip", "route", "get", w.to.Addr().String()); !strings.Contains(got, want) {
		t.Fatalf("packets take %q, want%s", got, want)
	}
}

func TestRuleThatGoesIsHeardOfAndOwnOnesAreNot(t *testing.T) {
	inNode(t, func(t *testing.T, conn *Conn, n *nstest.Node, _ underlay.Device) {
		events := hearing(t, n, conn)
		own := wanted.Rule{IPv6: true, Priority: wanted.LaneRule, Table: wanted.LaneTable}
		gone := wanted.Rule{Priority: wanted.LaneRule, Table: wanted.LaneTable}
		for range 2 { // what is there is there
			if failures := conn.Apply([]diff.Change{{Verb: diff.Create, Object: own}, {Verb: diff.Create, Object: gone}}); len(failures) > 0 {
				t.Fatal(failures[0])
			}
		}
		if got, err := conn.Read(Scope{}); err != nil || !slices.Equal(got.Rules, []wanted.Rule{gone, own}) {
			t.Fatalf("rules are %v, %v", got.Rules, err)
		}
		if got, err := conn.Read(Scope{HoldIPv6: true}); err != nil || !slices.Equal(got.Rules, []wanted.Rule{gone}) {
			t.Errorf("with IPv6 held, rules are %v, %v", got.Rules, err)
		}
		n.Run(t, "ip", "rule", "add", "pref", "100", "lookup", "100") // a stranger's
		n.Run(t, "ip", "rule", "del", "pref", fmt.Sprint(wanted.LaneRule))
		for e := range events {
			rule, is := e.Object.(wanted.Rule)
			if !is {
				continue
			}
			if rule != gone || !e.Gone {
				t.Errorf("heard of %v (gone %t), want only the loss of %v", rule, e.Gone, gone)
			}
			return
		}
		t.Error("the lost rule was not heard of")
	})
}

// A kernel without rules (CONFIG_FIB_RULES) refuses to list them, as any does
// with what it has never heard of. It has none, and all else is read.
func TestKernelWithoutRulesHasNone(t *testing.T) {
	inNode(t, func(t *testing.T, conn *Conn, _ *nstest.Node, _ underlay.Device) {
		const unknown = 1022 // above RTM_MAX
		none := func([]byte) { t.Error("it lists something") }
		if err := conn.dump(unknown, unix.AF_UNSPEC, none); !errors.Is(err, unix.EOPNOTSUPP) {
			t.Fatalf("the kernel says %v, want EOPNOTSUPP", err)
		}
		if err := conn.dumpIfAny(unknown, unix.AF_UNSPEC, none); err != nil {
			t.Errorf("it fails: %v", err)
		}
	})
}

// A kernel without tables (CONFIG_IP_MULTIPLE_TABLES) takes no rule and puts
// routes of any table into the main one (include/net/ip_fib.h, fib_new_table),
// where a throw is the end of a packet. So rules go out first, and no route is
// made in a table that nothing leads to.
func TestWithoutItsRuleNoRouteIsMadeInATable(t *testing.T) {
	rule := wanted.Rule{Priority: wanted.LaneRule, Table: wanted.LaneTable}
	create := func(o diff.Object) diff.Change { return diff.Change{Verb: diff.Create, Object: o} }
	throw := create(wanted.Route{Dst: netip.MustParsePrefix("10.244.2.0/24"), Table: wanted.LaneTable, Throw: true})
	others := []diff.Change{
		create(wanted.Route{Dst: netip.MustParsePrefix("fd42::/64"), Table: wanted.LaneTable, Throw: true}),
		create(wanted.Route{Dst: netip.MustParsePrefix("10.244.3.0/24"), Link: "eth0"}),
		{Verb: diff.Remove, Object: throw.Object},
	}
	got := spare(append([]diff.Change{throw}, others...), []Failure{{create(rule), unix.EOPNOTSUPP}})
	if !slices.Equal(got, others) {
		t.Errorf("left are %v, want %v", got, others)
	}
	if sameStep(create(rule), throw) {
		t.Error("the routes do not wait for the rule")
	}
}

// hearing are the events of a node, until the test's patience ends.
func hearing(t *testing.T, n *nstest.Node, conn *Conn) iter.Seq[Event] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	var groups iter.Seq2[[]Event, error]
	if err := n.Do(func() (err error) { groups, err = conn.Events(ctx); return err }); err != nil {
		t.Fatal(err)
	}
	return func(yield func(Event) bool) {
		for group, err := range groups {
			if err != nil {
				t.Error(err)
				return
			}
			for _, e := range group {
				if !yield(e) {
					return
				}
			}
		}
	}
}
