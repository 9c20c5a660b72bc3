package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weft/netd/wanted"
)

// A Migration is how far a network is that changes its backend node by node:
// which peers have another than this node. It does not say which way the
// change goes, which no node knows.
type Migration struct {
	// Backend is this node's.
	Backend string `json:"backend"`
	// Peers are the other nodes, all of them; Others those of another backend
	// that are reached all the same, by backend, and Refused those that cannot
	// be until one of the two has changed.
	Peers   int            `json:"peers"`
	Others  map[string]int `json:"others,omitempty"`
	Refused int            `json:"refused,omitempty"`
	// Keeps are the kinds of devices that stay here as long as peers may send
	// to them.
	Keeps []wanted.Kind `json:"keeps,omitempty"`
}

// Migration is the one that goes on; nil when all nodes have one backend.
func (s Snapshot) Migration() *Migration {
	m := Migration{Backend: s.Config.Network.Backend.Canonical(), Others: map[string]int{}, Keeps: s.Keep}
	differs := func(p wanted.Peer) bool { return p.Backend != m.Backend && p.Backend != "" }
	refused := func(r wanted.Refusal) bool { return r.Kind == wanted.RefusedBackend }
	if !slices.ContainsFunc(s.Peers, differs) && !slices.ContainsFunc(s.Refusals, refused) {
		return nil
	}
	nodes, others, away := map[string]bool{}, map[string]string{}, map[string]bool{}
	for _, p := range s.Peers {
		if nodes[p.Node] = true; differs(p) {
			others[p.Node] = p.Backend
		}
	}
	for _, r := range s.Refusals {
		if refused(r) {
			nodes[r.Node], away[r.Node] = true, true
		}
	}
	for _, backend := range others {
		m.Others[backend]++
	}
	m.Peers, m.Refused = len(nodes), len(away)
	return &m
}

// String is how far it is, such as "2 of 5 peers on vxlan".
func (m *Migration) String() string {
	if m == nil {
		return ""
	}
	var parts []string
	for _, backend := range slices.SortedFunc(maps.Keys(m.Others), cmp.Compare[string]) {
		parts = append(parts, fmt.Sprintf("%d of %d peers on %s", m.Others[backend], m.Peers, backend))
	}
	if m.Refused > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d peers on one that does not go with %s: not reached", m.Refused, m.Peers, m.Backend))
	}
	for _, kind := range m.Keeps {
		parts = append(parts, fmt.Sprintf("device of %s kept for them", kind))
	}
	return strings.Join(parts, "; ")
}

// noteMigration logs how far it is, when that changes.
func (l *Loop) noteMigration() {
	now := l.state.Migration().String()
	switch {
	case now == l.migration:
	case now == "":
		l.log.Info("all peers have this node's backend", "backend", l.config.Network.Backend.Canonical())
	default:
		l.log.Info("the network changes its backend", "here", l.config.Network.Backend.Canonical(), "migrating", now)
	}
	l.migration = now
}
