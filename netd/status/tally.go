package status

import (
	"maps"
	"net/netip"
	"time"

	"weft/netd/diff"
	"weft/netd/reconcile"
	"weft/netd/wanted"
)

// A Tally adds up what the reconciler did, pass by pass.
type Tally struct {
	// Took is how long all passes were together.
	Took time.Duration
	// Repairs count the changes that undid what somebody else had done, by
	// the object that was changed; OfPeer by the subnet of the peer it reaches.
	Repairs map[string]int
	OfPeer  map[netip.Prefix]int

	passes int // the number of the last pass that was added
}

// objectNames are what repairs are counted by.
var objectNames = []string{"device", "address", "route", "rule", "fdb", "neighbour", "wireguard"}

// objectName is the name of an object's kind.
func objectName(o diff.Object) string {
	switch o.(type) {
	case wanted.Link:
		return "device"
	case wanted.Address:
		return "address"
	case wanted.Route:
		return "route"
	case wanted.Rule:
		return "rule"
	case wanted.FDBEntry:
		return "fdb"
	case wanted.Neighbour:
		return "neighbour"
	case wanted.WGPeer:
		return "wireguard"
	}
	return "other"
}

// Add is the tally with what is new in a snapshot; t stays as it is. A
// snapshot of a pass that was added already adds nothing.
func (t Tally) Add(s reconcile.Snapshot) Tally {
	if t.passes == s.Counters.Passes {
		return t
	}
	t.passes = s.Counters.Passes
	t.Took += s.Took
	if len(s.Repaired) == 0 {
		return t
	}
	t.Repairs, t.OfPeer = maps.Clone(t.Repairs), maps.Clone(t.OfPeer)
	if t.Repairs == nil {
		t.Repairs, t.OfPeer = map[string]int{}, map[netip.Prefix]int{}
	}
	index := indexPeers(s.Peers)
	for _, c := range s.Repaired {
		t.Repairs[objectName(c.Object)]++
		for _, subnet := range index.about(c.Object) {
			t.OfPeer[subnet]++
		}
	}
	return t
}

// objects are the repairs of every kind, also those there were none of.
func (t Tally) objects() map[string]int {
	all := make(map[string]int, len(objectNames))
	for _, name := range objectNames {
		all[name] = t.Repairs[name]
	}
	return all
}

// peerIndex finds the peers an object of the kernel serves.
type peerIndex struct {
	subnets map[netip.Prefix]bool
	firsts  map[netip.Addr]netip.Prefix // by the first address of the subnet
	macs    map[wanted.MAC][]netip.Prefix
	keys    map[wanted.Key][]netip.Prefix
}

func indexPeers(peers []wanted.Peer) peerIndex {
	i := peerIndex{subnets: map[netip.Prefix]bool{}, firsts: map[netip.Addr]netip.Prefix{},
		macs: map[wanted.MAC][]netip.Prefix{}, keys: map[wanted.Key][]netip.Prefix{}}
	for _, p := range peers {
		i.subnets[p.Subnet] = true
		i.firsts[p.Subnet.Addr()] = p.Subnet
		i.macs[p.MAC] = append(i.macs[p.MAC], p.Subnet)
		i.keys[p.PublicKey] = append(i.keys[p.PublicKey], p.Subnet)
	}
	return i
}

// about are the subnets of the peers that an object serves. A device serves
// all peers, which says nothing of any.
func (i peerIndex) about(o diff.Object) []netip.Prefix {
	switch o := o.(type) {
	case wanted.Route:
		if i.subnets[o.Dst] {
			return []netip.Prefix{o.Dst}
		}
	case wanted.Neighbour:
		if subnet, found := i.firsts[o.IP]; found {
			return []netip.Prefix{subnet}
		}
	case wanted.FDBEntry:
		var all []netip.Prefix
		for _, subnet := range i.macs[o.MAC] {
			if subnet.Addr().Is4() == o.Dst.Is4() {
				all = append(all, subnet)
			}
		}
		return all
	case wanted.WGPeer:
		return i.keys[o.PublicKey]
	}
	return nil
}
