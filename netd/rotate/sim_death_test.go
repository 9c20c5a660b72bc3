package rotate

import (
	"fmt"
	"maps"
	"testing"
	"time"
)

// reboot empties the kernel of a node; what is saved stays.
func (s *sim) reboot(n *simNode) {
	s.log = append(s.log, fmt.Sprintf("%s node %d: reboot", s.now.Sub(time.Unix(1_000_000, 0)), n.id))
	n.running, n.booting, n.todo = false, true, nil
	n.main, n.lane, n.via = simDevice{peers: map[int]*simPeer{}}, simDevice{peers: map[int]*simPeer{}}, map[int]bool{}
	n.seen, n.answers = maps.Clone(n.kept), s.now.Add(s.upTo(20*time.Second))
	clear(n.arrives)
}

// answered reports whether the store has answered since the last boot.
func (n *simNode) answered() bool { return n.answers.IsZero() }

// hear gives a node the leases that have arrived.
func (s *sim) hear(n *simNode) {
	if !n.answered() {
		if s.now.Before(n.answers) {
			return
		}
		n.answers = time.Time{}
		for _, other := range s.nodes {
			if other != n {
				n.seen[other.id] = other.lease
			}
		}
		clear(n.arrives)
	}
	for from, queue := range n.arrives {
		for len(queue) > 0 && !queue[0].at.After(s.now) {
			n.seen[from] = queue[0].lease
			queue = queue[1:]
		}
		n.arrives[from] = queue
	}
	if s.chance(50) {
		n.kept = maps.Clone(n.seen)
	}
}

// A peer whose netd is dead gets no packet to its main device that knows the old
// key there: the node stays on the lane for it, however long that takes. The
// netd dies at any step of the node's rotation, and returns long after nobody
// waits for it any more.
func TestPeerWithoutNetdIsReachedByTheLane(t *testing.T) {
	reached := 0
	for seed := range uint64(40) {
		s := newSim(t, seed, 2)
		one, two := s.nodes[0], s.nodes[1]
		one.state.Asked = true
		byLane := false
		s.excused = func(p packetOnTheWay) bool { return p.from == two.id || !byLane }
		dies := s.now.Add(s.upTo(4 * time.Second))
		back := dies.Add(Patience + 20*time.Minute)
		for s.now.Before(back) {
			if two.running && s.now.After(dies) {
				two.running, two.todo = false, nil // its kernel goes on
			}
			s.tick(false)
			byLane = byLane || one.via[two.id]
		}
		if one.state.Main.Public() == s.mains[0] {
			s.fail("node 0 still waits for node 1")
		}
		if byLane && len(two.lease.lane.On) == 0 {
			reached++ // only the own routes tell that the lane is needed
		}
		two.running, two.applied = true, false
		for i := 0; !s.atRest(); i++ {
			if i > 6000 {
				s.fail("the nodes do not come to rest")
			}
			s.tick(false)
		}
	}
	if reached == 0 {
		t.Error("no netd died between its lane and its lease")
	}
	t.Logf("%d of 40 peers could take the lane and did not say so", reached)
}
