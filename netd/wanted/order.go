package wanted

import (
	"cmp"
	"net/netip"
	"slices"
)

// Sort brings s into the order all functions over states rely on.
func (s *State) Sort() {
	slices.SortFunc(s.Links, CompareLinks)
	slices.SortFunc(s.Addresses, CompareAddresses)
	slices.SortFunc(s.Routes, CompareRoutes)
	slices.SortFunc(s.Rules, CompareRules)
	s.Rules = slices.Compact(s.Rules)
	slices.SortFunc(s.FDB, CompareFDB)
	slices.SortFunc(s.Neighs, CompareNeighbours)
	s.Peers = mergedPeers(s.Peers)
}

// mergedPeers are peers in order. Peers of one device and key, which both
// families of one node have in a device they share, become one.
func mergedPeers(peers []WGPeer) []WGPeer {
	slices.SortStableFunc(peers, CompareWGPeers)
	var merged []WGPeer
	for _, p := range peers {
		if n := len(merged); n > 0 && CompareWGPeers(merged[n-1], p) == 0 {
			last := &merged[n-1]
			last.AllowedIPs = slices.Concat(last.AllowedIPs, p.AllowedIPs)
			if !last.Endpoint.IsValid() {
				last.Endpoint = p.Endpoint
			}
			continue
		}
		merged = append(merged, p)
	}
	for i := range merged {
		allowed := slices.Clone(merged[i].AllowedIPs)
		slices.SortFunc(allowed, comparePrefixes)
		merged[i].AllowedIPs = slices.Compact(allowed)
	}
	return merged
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// CompareLinks orders links by name.
func CompareLinks(a, b Link) int { return cmp.Compare(a.Name, b.Name) }

// CompareAddresses orders addresses by all they hold.
func CompareAddresses(a, b Address) int {
	return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()),
		cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.Link, b.Link))
}

// CompareRoutes orders routes by what makes two of them exclude each other
// (destination, table and metric) and then by the rest, except the protocol.
func CompareRoutes(a, b Route) int {
	if c := CompareRouteKeys(a, b); c != 0 {
		return c
	}
	if c := a.Via.Compare(b.Via); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Link, b.Link); c != 0 || a.OnLink == b.OnLink {
		return c
	}
	if b.OnLink {
		return -1
	}
	return 1
}

// CompareRouteKeys orders routes by destination, table and metric, of which the
// kernel holds one route that is used.
func CompareRouteKeys(a, b Route) int {
	if c := a.Dst.Addr().Compare(b.Dst.Addr()); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Dst.Bits(), b.Dst.Bits()), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Metric, b.Metric))
}

// CompareRules orders rules by all they hold, IPv4 first.
func CompareRules(a, b Rule) int {
	if a.IPv6 != b.IPv6 {
		if b.IPv6 {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Table, b.Table))
}

// CompareFDB orders entries by MAC address and device, of which a VXLAN
// device holds one destination, and then by the destination.
func CompareFDB(a, b FDBEntry) int {
	if c := CompareFDBKeys(a, b); c != 0 {
		return c
	}
	return a.Dst.Compare(b.Dst)
}

// CompareFDBKeys orders entries by MAC address and device.
func CompareFDBKeys(a, b FDBEntry) int {
	if c := slices.Compare(a.MAC[:], b.MAC[:]); c != 0 {
		return c
	}
	return cmp.Compare(a.Link, b.Link)
}

// CompareNeighbours orders neighbours by IP and device and then by MAC.
func CompareNeighbours(a, b Neighbour) int {
	if c := CompareNeighbourKeys(a, b); c != 0 {
		return c
	}
	return slices.Compare(a.MAC[:], b.MAC[:])
}

// CompareNeighbourKeys orders neighbours by IP and device.
func CompareNeighbourKeys(a, b Neighbour) int {
	if c := a.IP.Compare(b.IP); c != 0 {
		return c
	}
	return cmp.Compare(a.Link, b.Link)
}

// CompareWGPeers orders peers by device and key.
func CompareWGPeers(a, b WGPeer) int {
	return cmp.Or(cmp.Compare(a.Link, b.Link), slices.Compare(a.PublicKey[:], b.PublicKey[:]))
}
