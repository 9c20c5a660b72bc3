// Package ready decides whether a node is ready: a plain function over the
// state of the things that have to work.
package ready

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// State is how far one thing is.
type State int

// The states of a thing.
const (
	Pending State = iota
	Good
	Failed
)

// An Item is one thing that has to work.
type Item struct {
	// Name is what a person calls it, such as "data partition".
	Name string
	// State is how far it is.
	State State
	// Reason says why it failed, or what it waits for.
	Reason string
}

// A Verdict is what can be said of the node.
type Verdict int

// The verdicts.
const (
	// Waiting means that nothing failed and something is still going on.
	Waiting Verdict = iota
	// Ready means that all is good.
	Ready
	// Degraded means that something failed or takes too long.
	Degraded
)

// Decide judges the items. Late says that the time for waiting is over: then
// what is pending counts as failed. The reason names every item that is not
// good, in the order given.
func Decide(items []Item, late bool) (Verdict, string) {
	var bad []string
	waiting := false
	for _, it := range items {
		switch {
		case it.State == Failed:
			bad = append(bad, it.Name+": "+it.Reason)
		case it.State == Pending && late:
			text := it.Name + ": not done in time"
			if it.Reason != "" {
				text += ", " + it.Reason
			}
			bad = append(bad, text)
		case it.State == Pending:
			waiting = true
		}
	}
	switch {
	case len(bad) > 0:
		return Degraded, strings.Join(bad, "; ")
	case waiting:
		return Waiting, ""
	}
	return Ready, ""
}

// A Board holds the items while they change.
type Board struct {
	mu      sync.Mutex
	items   []Item
	changed chan struct{}
}

// NewBoard returns a board on which every name is pending.
func NewBoard(names ...string) *Board {
	b := &Board{changed: make(chan struct{}, 1)}
	for _, name := range names {
		b.items = append(b.items, Item{Name: name})
	}
	return b
}

// Set changes one item; a name that is not on the board is added.
func (b *Board) Set(name string, state State, reason string) {
	b.mu.Lock()
	i := slices.IndexFunc(b.items, func(it Item) bool { return it.Name == name })
	if i < 0 {
		i = len(b.items)
		b.items = append(b.items, Item{Name: name})
	}
	b.items[i].State, b.items[i].Reason = state, reason
	b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default: // a change not yet looked at covers this one
	}
}

// Items returns a copy of the items.
func (b *Board) Items() []Item {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.items)
}

// Announcer is told the verdicts as they change.
type Announcer interface {
	// Ready is called when all is good.
	Ready()
	// Degraded is called when something is not, and again when the reason is
	// another.
	Degraded(reason string)
}

// Watch announces each change of the verdict until done is closed. What is
// pending when late fires counts as failed from then on.
func (b *Board) Watch(done <-chan struct{}, late <-chan time.Time, to Announcer) {
	var verdict Verdict
	var reason string
	over := false
	for {
		select {
		case <-done:
			return
		case <-late:
			over = true
		case <-b.changed:
		}
		v, r := Decide(b.Items(), over)
		if v == verdict && r == reason {
			continue
		}
		verdict, reason = v, r
		switch v {
		case Ready:
			to.Ready()
		case Degraded:
			to.Degraded(r)
		}
	}
}
