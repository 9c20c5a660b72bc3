package wanted

import (
	"fmt"
	"testing"

	"weft/netd/lease"
)

// A peer that is met on the lane has its route there; whether packets take it
// is up to the throw above.
func TestRoutesOfTheLaneStayAndThrowsComeAndGo(t *testing.T) {
	lead := func(subnet, link string) string { return fmt.Sprintf("route %s dev %s table 20800", subnet, link) }
	lanes := []string{lead("10.244.2.0/24", "flannel-wg.1"), lead("fd42:0:0:2::/64", "flannel-wg-v6.1")}
	throws := []string{"route throw 10.244.2.0/24 table 20800", "route throw fd42:0:0:2::/64 table 20800"}
	mains := []string{"route 10.244.0.0/16 dev flannel-wg", "route fd42::/48 dev flannel-wg-v6"}
	for _, c := range []struct {
		name          string
		way           Way
		routes, taken []string
		rules         int
	}{
		{"not met", Way{Main: true}, mains, mains, 0},
		{"met", Way{Main: true, Lane: true},
			[]string{mains[0], throws[0], lanes[0], mains[1], throws[1], lanes[1]}, mains, 2},
		{"sent to", Way{Main: true, Lane: true, Via: true},
			[]string{mains[0], lanes[0], mains[1], lanes[1]}, []string{mains[0], lanes[0], mains[1], lanes[1]}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			node, l := wgNode(), wgLease()
			node.Lane = Lane{PublicKey: Key{10}, Port: 51822, PortV6: 51823, Ways: map[Key]Way{{2}: c.way}}
			l.Lane = lease.Lane{PublicKey: Key{20}.String(), Port: 51822, PortV6: 51823}
			s := plan(t, node, wgNetwork(""), l).State
			if got := fmt.Sprint(toPeers(s)); got != fmt.Sprint(c.routes) {
				t.Errorf("routes are\n%s, want\n%s", got, c.routes)
			}
			if got := fmt.Sprint(toPeers(State{Routes: s.Taken()})); got != fmt.Sprint(c.taken) {
				t.Errorf("taken are\n%s, want\n%s", got, c.taken)
			}
			if len(s.Rules) != c.rules {
				t.Errorf("rules are %v", s.Rules)
			}
		})
	}
}

// A node that joins while a lane stands brings the rules with it.
func TestWithALaneHasItsRule(t *testing.T) {
	node, l := wgNode(), wgLease()
	node.Lane = Lane{PublicKey: Key{10}, Port: 51822, PortV6: 51823, Ways: map[Key]Way{{2}: {Main: true, Lane: true}}}
	l.Lane = lease.Lane{PublicKey: Key{20}.String(), Port: 51822, PortV6: 51823}
	whole := plan(t, node, wgNetwork(""), l).State
	with, _, simple := plan(t, node, wgNetwork("")).With(l, nil)
	if !simple || fmt.Sprint(with.State) != fmt.Sprint(whole) {
		t.Errorf("simple %t, and the state is\n%v, want\n%v", simple, with.State, whole)
	}
}
