package kubernetes

import (
	"slices"
	"strconv"

	"weft/netd/lease"
	"weft/netd/store"
)

// An entry is what is kept of one node.
type entry struct {
	name, uid, version string
	// lease is the zero value for a node that is not in the network.
	lease lease.Lease
	// problem is why lease could not be read; nil when it could.
	problem *store.Problem
}

// inNetwork reports whether the entry has a lease.
func (e entry) inNetwork() bool { return e.lease.Backend != "" }

// peers are the nodes known, from which changes become updates.
type peers struct {
	self  string
	known map[string]entry
}

// apply brings peers up to date with c. It returns what that changes for a
// consumer of leases, whether it is anything, and problems that are new.
func (p *peers) apply(c change[entry]) (u store.Update, problems []*store.Problem, news bool) {
	old := p.known
	if c.full || old == nil {
		p.known = make(map[string]entry, len(c.set))
	}
	u = store.Update{Full: c.full, Set: map[string]lease.Lease{}, Revision: revision(c.version)}
	for _, e := range c.set {
		was := old[e.name]
		if e.problem != nil {
			if was.problem == nil || was.uid != e.uid || was.version != e.version {
				problems = append(problems, e.problem)
			}
			// Flanneld's peers too go by what they could read last.
			if was.uid == e.uid {
				e.lease = was.lease
			}
		}
		p.known[e.name] = e
		if e.name == p.self {
			continue
		}
		switch {
		case e.inNetwork() && (c.full || was.uid != e.uid || !was.lease.Equal(e.lease)):
			u.Set[e.name] = e.lease
		case !e.inNetwork() && was.inNetwork() && !c.full:
			u.Gone = append(u.Gone, e.name)
		}
	}
	for _, e := range c.gone {
		was, known := p.known[e.name]
		if !known || was.uid != e.uid {
			continue // the end of an object that another has replaced since
		}
		delete(p.known, e.name)
		if was.inNetwork() && e.name != p.self {
			u.Gone = append(u.Gone, e.name)
		}
	}
	slices.Sort(u.Gone)
	return u, problems, c.full || c.restored || len(u.Set)+len(u.Gone) > 0
}

// revision is a resource version as a number, for people and for status; 0
// for one that is none. Nothing here depends on their order, which not all
// servers promise ([API], "Resource versions").
func revision(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
