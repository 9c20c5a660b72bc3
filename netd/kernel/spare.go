package kernel

import (
	"net/netip"

	"weft/netd/diff"
	"weft/netd/wanted"
)

// spare is changes without the removals that would take the old path of a
// peer whose new one could not be made: its route, and the neighbour and the
// FDB entry that the route needs. They go when the new path is there.
func spare(changes []diff.Change, failures []Failure) []diff.Change {
	lost := map[netip.Addr]bool{} // where the subnets begin: gateways of tunnels
	for _, f := range failures {
		if r, is := f.Change.Object.(wanted.Route); is && f.Change.Verb == diff.Create {
			lost[r.Dst.Addr()] = true
		}
	}
	if len(lost) == 0 {
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
