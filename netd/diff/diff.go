// Package diff compares kernel states: it lists the changes that turn one
// into another, and judges whether news from the kernel agrees with what is
// wanted.
//
// It is plain functions over values and changes nothing itself; package
// kernel applies the changes.
package diff

import (
	"fmt"

	"weft/netd/wanted"
)

// Verb is what a change does with its object.
type Verb string

const (
	// Create makes an object. Where the kernel has one with the same key
	// (route: destination, table and metric; FDB entry: MAC; neighbour: IP;
	// WireGuard peer: public key), the new one takes its place in one step.
	Create Verb = "create"
	// Adjust changes settings of an existing link.
	Adjust Verb = "adjust"
	// Remove removes exactly the object given.
	Remove Verb = "remove"
)

// An Object is a [wanted.Link], [wanted.Address], [wanted.Route],
// [wanted.Rule], [wanted.FDBEntry], [wanted.Neighbour] or [wanted.WGPeer].
type Object interface{ fmt.Stringer }

// A Change is one step from one state to another.
type Change struct {
	Verb   Verb
	Object Object
	// Was is the link as it was read, in an Adjust of a link; nil otherwise.
	// It is a pointer because there are changes by the ten thousand, and only
	// a few of them are of links.
	Was *wanted.Link
}

// String describes the change for logs.
func (c Change) String() string { return string(c.Verb) + " " + c.Object.String() }

// Diff lists the changes that turn have into want, additions before removals,
// in the order a peer never loses its path: devices and addresses, then
// WireGuard peer or neighbour, FDB entry, rule and route; on the way out the reverse.
// What must be made anew because it cannot be changed is removed first, as its
// successor has its name. Routes that lead nowhere are there before any device
// that could bring packets for them, and until after it.
func Diff(have, want wanted.State) []Change {
	d := differ{}
	have = d.recreated(have, want)

	merge(have.Links, want.Links, wanted.CompareLinks, func(was, is *wanted.Link) {
		switch {
		case was == nil:
			d.create(*is)
		case is == nil:
			d.remove(*was)
		case !sameLink(*was, *is):
			is := *is
			is.Index = was.Index
			was := *was
			d.additions = append(d.additions, Change{Adjust, is, &was})
		}
	})
	merge(have.Addresses, want.Addresses, wanted.CompareAddresses, func(was, is *wanted.Address) {
		if was == nil {
			d.create(*is)
		} else if is == nil {
			d.remove(*was)
		}
	})
	merge(have.Peers, want.Peers, wanted.CompareWGPeers, func(was, is *wanted.WGPeer) {
		switch {
		case is == nil:
			d.remove(*was)
		case was == nil || !sameWGPeer(*was, *is):
			d.create(*is)
		}
	})
	merge(have.Neighs, want.Neighs, wanted.CompareNeighbourKeys, func(was, is *wanted.Neighbour) {
		switch {
		case is == nil:
			d.remove(*was)
		case was == nil || *was != *is:
			d.create(*is)
		}
	})
	merge(have.FDB, want.FDB, wanted.CompareFDBKeys, func(was, is *wanted.FDBEntry) {
		switch {
		case is == nil:
			d.remove(*was)
		case was == nil || *was != *is:
			d.create(*is)
		}
	})
	merge(have.Rules, want.Rules, wanted.CompareRules, func(was, is *wanted.Rule) {
		if was == nil {
			d.create(*is)
		} else if is == nil {
			d.remove(*was)
		}
	})
	merge(have.Routes, want.Routes, wanted.CompareRoutes, func(was, is *wanted.Route) {
		switch {
		case is == nil && was.Unreachable:
			d.last = append(d.last, Change{Verb: Remove, Object: *was})
		case is == nil:
			d.remove(*was)
		case was != nil && sameRoute(*was, *is):
		case is.Unreachable:
			d.first = append(d.first, Change{Verb: Create, Object: *is})
		default:
			d.create(*is)
		}
	})
	return d.changes()
}

// differ collects changes.
type differ struct {
	first, additions, removals, last []Change
}

func (d *differ) create(o Object) { d.additions = append(d.additions, Change{Verb: Create, Object: o}) }
func (d *differ) remove(o Object) { d.removals = append(d.removals, Change{Verb: Remove, Object: o}) }

// changes are all changes in order: removals were collected in the order of
// additions and are done in the reverse.
func (d *differ) changes() []Change {
	all := make([]Change, 0, len(d.first)+len(d.additions)+len(d.removals)+len(d.last))
	all = append(append(all, d.first...), d.additions...)
	for i := len(d.removals) - 1; i >= 0; i-- {
		all = append(all, d.removals[i])
	}
	return append(all, d.last...)
}

// recreated removes the links that cannot be turned into what is wanted, and
// returns have without them and without what goes with them.
func (d *differ) recreated(have, want wanted.State) wanted.State {
	gone := map[string]bool{}
	merge(have.Links, want.Links, wanted.CompareLinks, func(was, is *wanted.Link) {
		if was != nil && is != nil && !Compatible(*was, *is) {
			gone[was.Name] = true
			d.first = append(d.first, Change{Verb: Remove, Object: *was})
		}
	})
	if len(gone) == 0 {
		return have
	}
	return Without(have, gone)
}

// Compatible reports whether a link can be turned into the wanted one without
// losing it. The kernel changes local address, underlay and learning of a
// VXLAN device in place (vxlan_changelink), but not VNI, port or extensions;
// of a WireGuard device everything (WG_CMD_SET_DEVICE), which is not made use
// of for a lane ([wanted.IsLane]).
func Compatible(have, want wanted.Link) bool {
	return have.Kind == want.Kind &&
		(!wanted.IsLane(want.Name) || have.WireGuard == want.WireGuard || have.WireGuard.PublicKey == (wanted.Key{})) &&
		have.VXLAN.VNI == want.VXLAN.VNI &&
		have.VXLAN.Port == want.VXLAN.Port &&
		have.VXLAN.GBP == want.VXLAN.GBP &&
		have.VXLAN.Local.Is4() == want.VXLAN.Local.Is4()
}

// sameWGPeer compares peers of one device and key. A wanted peer without an
// endpoint may have any: the kernel learns where a peer is.
func sameWGPeer(have, want wanted.WGPeer) bool {
	if !want.Endpoint.IsValid() {
		have.Endpoint = want.Endpoint
	}
	return have.Equal(want)
}

// sameLink compares links without the kernel's number for them.
func sameLink(have, want wanted.Link) bool {
	have.Index = want.Index
	return have == want
}

// sameRoute compares routes of one destination, metric, gateway and device.
//
// Who made a route does not matter on a device of netd's own: flanneld leaves
// no mark, and rewriting its routes when taking over from it would be a
// needless change. On any other device netd's mark is the only sign of
// ownership, so there an equal route without it is wanted once more, marked.
func sameRoute(have, want wanted.Route) bool {
	if want.OnLink || wanted.Marked(have.Protocol) {
		have.Protocol = want.Protocol
	}
	return have == want
}

// Without is s without the links named and all that goes with them.
func Without(s wanted.State, names map[string]bool) wanted.State {
	return wanted.State{
		Links:     drop(s.Links, names, func(l wanted.Link) string { return l.Name }),
		Addresses: drop(s.Addresses, names, func(a wanted.Address) string { return a.Link }),
		Routes:    drop(s.Routes, names, func(r wanted.Route) string { return r.Link }),
		Rules:     s.Rules,
		FDB:       drop(s.FDB, names, func(e wanted.FDBEntry) string { return e.Link }),
		Neighs:    drop(s.Neighs, names, func(n wanted.Neighbour) string { return n.Link }),
		Peers:     drop(s.Peers, names, func(p wanted.WGPeer) string { return p.Link }),
	}
}

func drop[T any](all []T, names map[string]bool, name func(T) string) []T {
	var kept []T
	for _, one := range all {
		if !names[name(one)] {
			kept = append(kept, one)
		}
	}
	return kept
}

// merge walks two sorted slices in step and calls each with the elements that
// compare equal, or with one and nil where the other slice has no such.
func merge[T any](have, want []T, compare func(a, b T) int, each func(was, is *T)) {
	for len(have) > 0 || len(want) > 0 {
		order := 0
		switch {
		case len(have) == 0:
			order = 1
		case len(want) == 0:
			order = -1
		default:
			order = compare(have[0], want[0])
		}
		switch {
		case order < 0:
			each(&have[0], nil)
			have = have[1:]
		case order > 0:
			each(nil, &want[0])
			want = want[1:]
		default:
			each(&have[0], &want[0])
			have, want = have[1:], want[1:]
		}
	}
}
