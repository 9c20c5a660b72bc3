package kernel

import (
	"net/netip"

	"weft/netd/diff"
	"weft/netd/wanted"
)

// A table is one of a family.
type table struct {
	ipv6   bool
	number uint32
}

// spare is changes without the removals that would take the old path of a
// peer whose new one could not be made: its route, and the neighbour and the
// FDB entry that the route needs. They go when the new path is there. Nor are
// there routes of a table to which no rule could be made: a kernel without
// tables would put them into the main one.
func spare(changes []diff.Change, failures []Failure) []diff.Change {
	lost := map[netip.Addr]bool{} // where the subnets begin: gateways of tunnels
	dead := map[table]bool{}
	for _, f := range failures {
		if f.Change.Verb != diff.Create {
			continue
		}
		switch o := f.Change.Object.(type) {
		case wanted.Route:
			lost[o.Dst.Addr()] = true
		case wanted.Rule:
			dead[table{o.IPv6, o.Table}] = true
		}
	}
	if len(lost)+len(dead) == 0 {
		return changes
	}
	macs := map[wanted.MAC]bool{}
	for _, c := range changes {
		if n, is := c.Object.(wanted.Neighbour); is && lost[n.IP] {
			macs[n.MAC] = true
		}
	}
	var rest []diff.Change
	for _, c := range changes {
		needed := false
		switch o := c.Object.(type) {
		case wanted.Route:
			if c.Verb == diff.Create && dead[table{o.Dst.Addr().Is6(), o.Table}] {
				continue
			}
			needed = lost[o.Dst.Addr()]
		case wanted.Neighbour:
			needed = lost[o.IP]
		case wanted.FDBEntry:
			needed = macs[o.MAC]
		}
		if !needed || c.Verb != diff.Remove {
			rest = append(rest, c)
		}
	}
	return rest
}
