package service

import (
	"fmt"
	"slices"
	"sync"
)

// How a stage or a service stands, for those that come after it.
type standing int

const (
	pending standing = iota // not there yet
	passed                  // over or late: nobody waits for it, nobody can rely on it
	up                      // there
	broken                  // it will not come
)

// conditions are what services wait for.
type conditions struct {
	mu      sync.Mutex
	state   map[string]standing
	why     map[string]string
	changed chan struct{} // closed at the next change
}

func newConditions() *conditions {
	return &conditions{state: make(map[string]standing), why: make(map[string]string), changed: make(chan struct{})}
}

// set changes how one stands.
func (c *conditions) set(name string, s standing, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state[name] == s && c.why[name] == why {
		return
	}
	c.state[name], c.why[name] = s, why
	close(c.changed)
	c.changed = make(chan struct{})
}

// verdict is whether a service may start.
type verdict struct {
	// wait names what it still waits for; empty when it may start.
	wait []string
	// soft says that only what it comes after is missing, which it can do
	// without.
	soft bool
	// lacks is what it requires and will never have.
	lacks error
}

// judge says whether a service may start, and gives the channel that is closed
// when that may have changed.
func (c *conditions) judge(s Spec) (verdict, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := verdict{soft: true}
	for _, need := range s.Requires {
		switch c.state[need] {
		case up:
		case broken:
			v.lacks = fmt.Errorf("it requires %s: %s", need, c.why[need])
		default:
			v.wait, v.soft = append(v.wait, need), false
		}
	}
	for _, need := range s.After {
		if c.state[need] == pending && !slices.Contains(v.wait, need) {
			v.wait = append(v.wait, need)
		}
	}
	return v, c.changed
}
