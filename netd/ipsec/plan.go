package ipsec

import (
	"net/netip"
	"slices"
	"strings"
)

// A Have is what was found.
type Have struct {
	// Policies are netd's in the kernel.
	Policies []Policy
	// SPIs are the security associations in the kernel, by the addresses they
	// are for and their numbers.
	SPIs map[uint32]bool
	// Connections are the names of the connections charon has.
	Connections []string
	// SAs are the security associations charon has.
	SAs []SA
}

// An SA is an IKE security association of charon's.
type SA struct {
	// Name is the connection's, ID charon's number for the association.
	Name, ID string
	// Closing says that it is on its way out.
	Closing bool
	// Established says that the peer is known; else it is being talked to.
	Established bool
	// Children carry packets.
	Children []Child
}

// A Child is a pair of ESP security associations of charon's.
type Child struct {
	ID string
	// Installed says that packets are carried; else it is being made or
	// renewed, or on its way out.
	Installed bool
	// In and Out are its numbers in the kernel.
	In, Out uint32
}

// Steps are what turns what is into what should be, in the order of the
// fields: protection comes first and goes last.
type Steps struct {
	// SetPolicies are added, or replace what is there for the same packets.
	SetPolicies []Policy
	// Load are connections that charon lacks, Initiate names of those that
	// carry nothing.
	Load     []Connection
	Initiate []string
	// Unload are connections that charon should not have, by name.
	Unload []string
	// EndChildren and EndSAs are what carries nothing or is not wanted, by
	// charon's numbers.
	EndChildren, EndSAs []string
	// DropPolicies are removed.
	DropPolicies []Policy
}

// Changes counts the changes.
func (s Steps) Changes() int {
	return len(s.SetPolicies) + len(s.Load) + len(s.Initiate) + len(s.Unload) +
		len(s.EndChildren) + len(s.EndSAs) + len(s.DropPolicies)
}

// Plan lists the steps from have to want. Connections for which early reports
// true are not initiated yet: the peer is about to do it.
func Plan(want Want, have Have, early func(Connection) bool) Steps {
	var s Steps
	s.planPolicies(want, have)
	s.planCharon(want, have, early)
	return s
}

// planCharon compares what charon has.
func (s *Steps) planCharon(want Want, have Have, early func(Connection) bool) {
	connections := want.Connections()
	wanted := make(map[string]bool, len(connections)) // and whether it is live
	for _, c := range connections {
		wanted[c.Name] = false
	}
	s.planConnections(connections, wanted, have)
	if want.Hold {
		s.Unload = nil
	}
	for _, sa := range have.SAs {
		live, is := wanted[sa.Name]
		if !is {
			// A peer that has not said yet who it is has no connection's name.
			if !want.Hold && !sa.Closing && strings.HasPrefix(sa.Name, connectionPrefix) {
				s.EndSAs = append(s.EndSAs, sa.ID)
			}
			continue
		}
		carries, dead := sa.judge(have.SPIs)
		s.EndChildren = append(s.EndChildren, dead...)
		wanted[sa.Name] = live || carries
	}
	for _, c := range connections {
		if !wanted[c.Name] && !early(c) {
			s.Initiate = append(s.Initiate, c.Name)
		}
	}
}

// judge tells whether an association carries packets or is about to, and
// which of its children charon believes in but the kernel does not have.
func (sa SA) judge(spis map[uint32]bool) (carries bool, dead []string) {
	if sa.Closing {
		return false, nil
	}
	if !sa.Established {
		return true, nil // charon is at it
	}
	for _, c := range sa.Children {
		if c.Installed && !(spis[c.In] && spis[c.Out]) {
			dead = append(dead, c.ID)
			continue
		}
		carries = true
	}
	return carries, dead
}

// planPolicies compares policies. One for the same packets is replaced in one
// step, so that they are protected all the time.
func (s *Steps) planPolicies(want Want, have Have) {
	peers := make(map[netip.Prefix]int, len(want.Peers)) // by subnet
	for i, p := range want.Peers {
		peers[p.Subnet] = i
	}
	const directions = int(Forward) + 1
	right := make([]bool, directions*len(want.Peers))
	missing := len(right)
	for _, p := range have.Policies {
		remote := p.Src
		if p.Direction == Out {
			remote = p.Dst
		}
		i, known := peers[remote]
		if !known {
			s.DropPolicies = append(s.DropPolicies, p)
			continue
		}
		wanted := want.policy(want.Peers[i], p.Direction)
		if p.Src != wanted.Src || p.Dst != wanted.Dst {
			s.DropPolicies = append(s.DropPolicies, p)
			continue
		}
		if n := directions*i + int(p.Direction); !right[n] && p.From == wanted.From && p.To == wanted.To {
			right[n] = true
			missing--
		}
	}
	if want.Hold {
		s.DropPolicies = nil
	}
	s.SetPolicies = slices.Grow(s.SetPolicies, missing)
	for i, peer := range want.Peers {
		for _, d := range []Direction{Out, In, Forward} {
			if !right[directions*i+int(d)] {
				s.SetPolicies = append(s.SetPolicies, want.policy(peer, d))
			}
		}
	}
}

// planConnections compares connections by their names, which tell all.
func (s *Steps) planConnections(connections []Connection, wanted map[string]bool, have Have) {
	loaded := make(map[string]bool, len(have.Connections))
	for _, name := range have.Connections {
		loaded[name] = true
		if _, is := wanted[name]; !is {
			s.Unload = append(s.Unload, name)
		}
	}
	s.Load = slices.Grow(s.Load, max(0, len(connections)-len(loaded)))
	for _, c := range connections {
		if !loaded[c.Name] {
			s.Load = append(s.Load, c)
		}
	}
}
