package kmod

import (
	"slices"
)

// order returns the names of all members, each after those it depends on, and
// where that allows it, after those that softdeps want before it. Cycles,
// which only softdeps can make, are cut where they would break a dependency.
// The result depends on the set alone, not on the order of arrival.
func (c *closure) order() []string {
	o := ordering{closure: c, open: map[string]bool{}, done: map[string]bool{}, reach: map[string]map[string]bool{}}
	names := make([]string, 0, len(c.members))
	for _, m := range c.members {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	for _, name := range names {
		o.visit(name)
	}
	return o.result
}

// ordering is a depth-first walk.
type ordering struct {
	*closure
	// open are the modules whose predecessors are being placed, done those
	// that have their place.
	open, done map[string]bool
	reach      map[string]map[string]bool
	result     []string
}

func (o *ordering) visit(name string) {
	if o.done[name] || o.open[name] {
		return
	}
	o.open[name] = true
	for _, d := range o.members[o.at[name]].Depends {
		o.visit(d)
	}
	before := slices.Clone(o.before[name])
	slices.Sort(before)
	for _, b := range before {
		// What depends on an open module must come after it, so it cannot
		// come first here; its own turn will come.
		if !o.needsOpen(b) {
			o.visit(b)
		}
	}
	delete(o.open, name)
	o.done[name] = true
	o.result = append(o.result, name)
}

// needsOpen says whether name depends, directly or not, on an open module.
func (o *ordering) needsOpen(name string) bool {
	for d := range o.reached(name) {
		if o.open[d] {
			return true
		}
	}
	return false
}

// reached returns all modules that name depends on, directly or not.
func (o *ordering) reached(name string) map[string]bool {
	if found, ok := o.reach[name]; ok {
		return found
	}
	found := map[string]bool{}
	o.reach[name] = found
	stack := []string{name}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, d := range o.members[o.at[top]].Depends {
			if !found[d] {
				found[d] = true
				stack = append(stack, d)
			}
		}
	}
	return found
}
