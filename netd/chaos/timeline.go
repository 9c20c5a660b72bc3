package chaos

import (
	"slices"
	"time"
)

// A timeline is what happened to a cluster: since when who could talk to the
// store, and what excuses losses.
type timeline struct {
	moments []moment
	excuses []excuse
	faults  map[string]int // how often, by kind
}

// A moment is a change of who is connected to the store.
type moment struct {
	at time.Time
	// bad are the nodes whose netd is down or cut off, and 0 when it is etcd.
	bad map[int]bool
}

// An excuse is something that cannot happen to a node without a loss between
// it and others: until both ends have heard of it.
type excuse struct {
	at   time.Time
	node int
	what string
}

// settle is how long two nodes with a working way to the store may take to
// make good what happened: the longest pause between attempts to reach it
// (0.8 s, package etcd), a restart, and what a busy machine adds.
const settle = 4 * time.Second

// connected notes that a part, a node or 0 for etcd, is from now on connected
// or not.
func (l *timeline) connected(at time.Time, part int, up bool) {
	bad := map[int]bool{}
	if n := len(l.moments); n > 0 {
		for old := range l.moments[n-1].bad {
			bad[old] = true
		}
	}
	if delete(bad, part); !up {
		bad[part] = true
	}
	l.moments = append(l.moments, moment{at, bad})
}

// fault counts what happened.
func (l *timeline) fault(kind string) { l.faults[kind]++ }

// excuse notes something that excuses losses.
func (l *timeline) excuse(at time.Time, node int, what string) {
	l.excuses = append(l.excuses, excuse{at, node, what})
}

// settled is when two nodes have heard of what happened at a time: when for so
// long nothing stood between them and the store.
func (l *timeline) settled(since time.Time, a, b int) time.Time {
	start, bad := since, false
	for _, m := range l.moments {
		now := m.bad[0] || m.bad[a] || m.bad[b]
		if !m.at.After(since) {
			bad = now
			continue
		}
		if !bad && m.at.Sub(start) >= settle {
			return start.Add(settle)
		}
		if bad != now || now {
			bad, start = now, m.at
		}
	}
	if bad {
		return time.Time{} // never
	}
	return start.Add(settle)
}

// cause is what excuses the loss of a packet between two nodes, sent at a
// time and answered within another at most; empty when nothing does.
func (l *timeline) cause(sent time.Time, within time.Duration, from, to int) string {
	for _, e := range slices.Backward(l.excuses) {
		if e.node != from && e.node != to || e.at.After(sent.Add(within)) {
			continue
		}
		if end := l.settled(e.at, from, to); end.IsZero() || !sent.After(end) {
			return e.what
		}
	}
	return ""
}
