package reconcile

import (
	"slices"

	"weft/netd/diff"
	"weft/netd/wanted"
)

// underKernel is want, of leases that were kept on disk, where the kernel has
// the better knowledge: what an earlier netd made of the store's word may be
// younger than what it had the time to write down, so what is there of peers
// stays until the store has answered. Of devices that are to be made or
// changed over, as after a boot, nothing is known that could be better.
func underKernel(have, want wanted.State) wanted.State {
	for _, link := range want.Links {
		i, found := slices.BinarySearchFunc(have.Links, link, wanted.CompareLinks)
		if !found || !diff.Compatible(have.Links[i], link) {
			return want
		}
	}
	if len(have.Links) != len(want.Links) {
		return want
	}
	want.Routes = over(have.Routes, want.Routes, wanted.CompareRoutes, wanted.CompareRouteKeys)
	want.FDB = over(have.FDB, want.FDB, wanted.CompareFDB, wanted.CompareFDBKeys)
	want.Neighs = over(have.Neighs, want.Neighs, wanted.CompareNeighbours, wanted.CompareNeighbourKeys)
	return want
}

// over is have with what want has besides, by key.
func over[T any](have, want []T, compare, keys func(a, b T) int) []T {
	all := slices.Clone(have)
	for _, one := range want {
		if _, found := slices.BinarySearchFunc(have, one, keys); !found {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, compare)
	return all
}
