package ipsec

import "strings"

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
	connections := want.Connections()
	s.planConnections(connections, have)
	wanted, live := map[string]bool{}, map[string]bool{}
	for _, c := range connections {
		wanted[c.Name] = true
	}
	for _, sa := range have.SAs {
		if !wanted[sa.Name] {
			// A peer that has not said yet who it is has no connection's name.
			if !sa.Closing && strings.HasPrefix(sa.Name, connectionPrefix) {
				s.EndSAs = append(s.EndSAs, sa.ID)
			}
			continue
		}
		carries, dead := sa.judge(have.SPIs)
		s.EndChildren = append(s.EndChildren, dead...)
		live[sa.Name] = live[sa.Name] || carries
	}
	for _, c := range connections {
		if !live[c.Name] && !early(c) {
			s.Initiate = append(s.Initiate, c.Name)
		}
	}
	return s
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
	found := map[Policy]Policy{}
	for _, p := range have.Policies {
		found[p.selector()] = p
	}
	for _, p := range want.Policies() {
		if there, ok := found[p.selector()]; !ok || there != p {
			s.SetPolicies = append(s.SetPolicies, p)
		}
		delete(found, p.selector())
	}
	for _, p := range have.Policies {
		if _, left := found[p.selector()]; left {
			s.DropPolicies = append(s.DropPolicies, p)
		}
	}
}

// planConnections compares connections by their names, which tell all.
func (s *Steps) planConnections(connections []Connection, have Have) {
	loaded := make(map[string]bool, len(have.Connections))
	for _, name := range have.Connections {
		loaded[name] = true
	}
	wanted := make(map[string]bool, len(connections))
	for _, c := range connections {
		wanted[c.Name] = true
		if !loaded[c.Name] {
			s.Load = append(s.Load, c)
		}
	}
	for _, name := range have.Connections {
		if !wanted[name] {
			s.Unload = append(s.Unload, name)
		}
	}
}
