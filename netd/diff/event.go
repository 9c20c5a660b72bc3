package diff

import (
	"slices"

	"weft/netd/wanted"
)

// An Event is news from the kernel about one object.
type Event struct {
	// Gone says that the object was removed; otherwise it is new or changed.
	Gone bool
	// Object is as the kernel holds it now, or held it.
	Object Object
}

// Agrees reports whether the event leaves the kernel as want says. It looks
// only at the event: an event that agrees may hide one that was lost.
func Agrees(want wanted.State, e Event) bool {
	switch o := e.Object.(type) {
	case wanted.Link:
		is, found := find(want.Links, o, wanted.CompareLinks)
		return found && !e.Gone && sameLink(o, is)
	case wanted.Address:
		_, found := find(want.Addresses, o, wanted.CompareAddresses)
		return found != e.Gone
	case wanted.Route:
		is, found := find(want.Routes, o, wanted.CompareRoutes)
		if e.Gone {
			// A route of the same key that gave way to the wanted one is
			// reported as gone; only the loss of the wanted one matters.
			return !found || !sameRoute(o, is)
		}
		return found && sameRoute(o, is)
	case wanted.Rule:
		_, found := find(want.Rules, o, wanted.CompareRules)
		return found != e.Gone
	case wanted.FDBEntry:
		is, found := find(want.FDB, o, wanted.CompareFDBKeys)
		return (found && is == o) != e.Gone
	case wanted.Neighbour:
		// One that is gone may be told of without its MAC (neigh_fill_info
		// leaves it out when it is no longer valid).
		is, found := find(want.Neighs, o, wanted.CompareNeighbourKeys)
		if e.Gone {
			return !found
		}
		return found && is == o
	}
	return true // the kernel tells nothing of WireGuard peers
}

// Displaces reports whether a route that is not netd's has the destination and
// metric of a wanted one. The kernel tells of a route that takes another's
// place, but not of the one that lost it.
func Displaces(r wanted.Route, want wanted.State) bool {
	_, found := find(want.Routes, r, wanted.CompareRouteKeys)
	return found
}

// find looks o up in a sorted slice.
func find[T any](all []T, o T, compare func(a, b T) int) (T, bool) {
	i, found := slices.BinarySearchFunc(all, o, compare)
	if !found {
		var none T
		return none, false
	}
	return all[i], true
}
