package wanted

import "net/netip"

// LaneTable is the routing table with the routes through lanes, and LaneRule
// the priority of the rules that have it asked: before any rule that leads to
// the main table, so that nobody's comes between.
const (
	LaneTable = 20800
	LaneRule  = 208
)

// Metrics in the table of lanes: of two routes to a subnet the throw counts.
const (
	throwMetric = 1
	laneMetric  = 2
)

// addLaneRoutes leads packets for a peer's subnet through the lane, or past it.
//
// They must be led back while many are on the way, and none may be lost. When a
// route goes, or another one takes its place, the kernel drops without a word
// what a program of this node is just sending by it, whatever other route there
// is by then: the route's end is the end of the next hop that such a packet
// holds (net/ipv4/route.c, rt_fibinfo_free; net/ipv6/route.c, fib6_nh_release;
// net/core/dst.c, dst_dev_put). So the route through a lane is there from its
// beginning to its end, when nobody has used it for long, and what comes and
// goes is a throw above it, which no packet ever holds. Next hop objects would
// not do: those of IPv6 lose what is on the way with each route that is added
// anywhere (rt6_get_pcpu_route).
//
// Routes are made in the order of their metrics and removed in the reverse, so
// that there is no moment with the lane's and without its throw.
func addLaneRoutes(s *State, f Family, subnet netip.Prefix, lane string, via bool) {
	route := Route{Dst: subnet, Table: LaneTable, Metric: laneMetric, Link: lane, Protocol: ProtocolFor(subnet)}
	if !via {
		throw := Route{Dst: subnet, Table: LaneTable, Metric: throwMetric, Throw: true, Protocol: ProtocolFor(subnet)}
		s.Routes = append(s.Routes, throw)
	}
	s.Routes = append(s.Routes, route)
	s.Rules = append(s.Rules, Rule{IPv6: f.IPv6, Priority: LaneRule, Table: LaneTable})
}

// Taken are the routes that packets may take: those that lead to a device and
// that no throw stands above.
func (s State) Taken() []Route {
	if len(s.Rules) == 0 {
		return s.Routes
	}
	var taken []Route
	var thrown netip.Prefix
	for _, r := range s.Routes { // a throw stands before what it is for
		if r.Throw {
			thrown = r.Dst
		} else if r.Table == 0 || r.Dst != thrown {
			taken = append(taken, r)
		}
	}
	return taken
}
