package rotate

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/wanted"
	"weft/netd/wireguard"
)

var (
	simSeed = flag.Uint64("sim.seed", 0, "seed of one simulated cluster; 0 runs many")
	simRuns = flag.Int("sim.runs", 25, "how many clusters are simulated")
)

// maxFlight is how long a simulated packet is on the way at most, and maxLag
// how long a lease is: the two together are what Grace is for.
const (
	maxFlight = 6 * time.Second
	maxLag    = 3 * time.Second
)

// A simDevice is a WireGuard device: its key and, by node, the peer there.
type simDevice struct {
	own   wanted.Key
	peers map[int]*simPeer
}

type simPeer struct {
	key    wanted.Key
	proved bool // a handshake took place since the peer was made
	at     time.Time
}

// A simNode is a node: what survives a crash of netd (all but memory).
type simNode struct {
	id         int
	running    bool
	state      State // as saved
	main, lane simDevice
	via        map[int]bool // routes
	lease      simLease     // as the store has it
	seen       map[int]simLease
	arrives    map[int][]arrival
	applied    bool
	todo       []func() // of the decision under way
	every      time.Duration
	// After a boot, until the store answers, a node has the leases that it
	// kept on disk, which are of some earlier time.
	kept    map[int]simLease
	answers time.Time // when the store does
	booting bool      // the kernel does not have everything yet
	booted  time.Time // when it had
}

type simLease struct {
	main string
	lane lease.Lane
}

type arrival struct {
	at    time.Time
	lease simLease
}

type packetOnTheWay struct {
	from, to  int
	lane      bool
	own, peer wanted.Key // as the sender had them
	sent, at  time.Time
}

type sim struct {
	t       *testing.T
	random  *rand.Rand
	now     time.Time
	nodes   []*simNode
	mains   []wanted.Key // their first main keys
	packets []packetOnTheWay
	sent    int
	log     []string
	// excused are packets that may be lost.
	excused func(packetOnTheWay) bool
}

func newSim(t *testing.T, seed uint64, n int) *sim {
	s := &sim{t: t, random: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0)}
	for i := range n {
		main := s.key()
		s.mains = append(s.mains, main.Public())
		s.nodes = append(s.nodes, &simNode{id: i, running: true, applied: true, via: map[int]bool{},
			state: State{Main: main, Made: s.now}, main: simDevice{own: main.Public(), peers: map[int]*simPeer{}},
			lane: simDevice{peers: map[int]*simPeer{}}, lease: simLease{main: main.Public().String()},
			seen: map[int]simLease{}, arrives: map[int][]arrival{}})
	}
	for _, a := range s.nodes {
		for _, b := range s.nodes {
			if a != b {
				a.main.peers[b.id] = &simPeer{key: b.main.own, proved: true}
				a.seen[b.id] = b.lease
			}
		}
		a.kept = maps.Clone(a.seen)
	}
	return s
}

func (s *sim) key() wireguard.Private {
	var b [32]byte
	for i := range b {
		b[i] = byte(s.random.Uint32())
	}
	k, err := wireguard.Generate(reader(b[:]))
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

type reader []byte

func (r reader) Read(p []byte) (int, error) { return copy(p, r), nil }

func (s *sim) chance(n int) bool { return s.random.IntN(n) == 0 }

func (s *sim) upTo(d time.Duration) time.Duration { return time.Duration(s.random.Int64N(int64(d))) }

// device is what a packet between two nodes leaves or arrives by.
func (n *simNode) device(lane bool) *simDevice {
	if lane {
		return &n.lane
	}
	return &n.main
}

// send is a packet as the sender's kernel would send it now.
func (s *sim) send(from, to int) packetOnTheWay {
	a := s.nodes[from]
	p := packetOnTheWay{from: from, to: to, lane: a.via[to], sent: s.now, at: s.now}
	d := a.device(p.lane)
	p.own = d.own
	if peer := d.peers[to]; peer != nil {
		p.peer = peer.key
	}
	return p
}

// arrive fails the test unless the receiver's kernel takes the packet now.
func (s *sim) arrive(p packetOnTheWay) {
	d := s.nodes[p.to].device(p.lane)
	peer := d.peers[p.from]
	if s.excused != nil && s.excused(p) {
		return
	}
	for _, n := range []*simNode{s.nodes[p.from], s.nodes[p.to]} {
		if n.booting || !p.sent.After(n.booted) {
			return
		}
	}
	if p.peer == noKey || p.own == noKey || d.own != p.peer || peer == nil || peer.key != p.own {
		s.fail("a packet of %s from %d to %d is lost (lane %v): sent under %.6s to %.6s, the device is %.6s and knows %v",
			p.at.Sub(time.Unix(1_000_000, 0)), p.from, p.to, p.lane, p.own, p.peer, d.own, peer)
	}
}

func (s *sim) fail(format string, args ...any) {
	s.t.Helper()
	for _, line := range s.log[max(0, len(s.log)-60):] {
		s.t.Log(line)
	}
	for _, n := range s.nodes {
		s.t.Logf("node %d: running %v, step %q, via %v, lease lane %+v", n.id, n.running, n.state.Step, n.via, n.lease.lane)
	}
	s.t.Fatalf("at %s: %s", s.now.Sub(time.Unix(1_000_000, 0)), fmt.Sprintf(format, args...))
}

// traffic sends between all pairs: some packets arrive at once, some late.
func (s *sim) traffic() {
	for a := range s.nodes {
		for b := range s.nodes {
			if a == b {
				continue
			}
			p := s.send(a, b)
			s.sent++
			if s.chance(4) {
				p.at = s.now
				s.packets = append(s.packets, p)
				s.packets[len(s.packets)-1].at = s.now.Add(s.upTo(maxFlight))
			} else {
				s.arrive(p)
			}
		}
	}
	s.packets = slices.DeleteFunc(s.packets, func(p packetOnTheWay) bool {
		if p.at.After(s.now) {
			return false
		}
		s.arrive(p)
		return true
	})
}

// shake makes handshakes between devices that know each other.
func (s *sim) shake() {
	for _, a := range s.nodes {
		for _, b := range s.nodes {
			for _, lane := range []bool{false, true} {
				da, db := a.device(lane), b.device(lane)
				pa, pb := da.peers[b.id], db.peers[a.id]
				if pa == nil || pb == nil || da.own == noKey || pa.key != db.own || pb.key != da.own || !s.chance(3) {
					continue
				}
				pa.proved, pb.proved, pa.at, pb.at = true, true, s.now, s.now
			}
		}
	}
}

// decide begins a decision of a node: the steps it is done in are put into
// todo, one a time, so that a crash may come between any two.
func (s *sim) decide(n *simNode) {
	answered := n.answered()
	in := Input{Now: s.now, Every: n.every, Applied: n.applied, Kept: !answered}
	for _, other := range s.nodes {
		l, known := n.seen[other.id]
		if !known {
			continue
		}
		p := Peer{Name: fmt.Sprint(other.id), ID: fmt.Sprint(other.id), Aware: true, Live: true}
		p.Main, _ = wanted.ParseKey(l.main)
		p.ParseLane(l.lane)
		if k := n.main.peers[other.id]; k != nil {
			p.MainUp = k.key == p.Main && k.proved
			p.MainAt = k.at
		}
		if k := n.lane.peers[other.id]; k != nil && n.lane.own == n.state.Lane.Public() {
			p.LaneUp = k.key == p.Lane && k.proved
			p.LaneLive = p.LaneUp
		}
		in.Peers = append(in.Peers, p)
	}
	next, out := Machine{NewKey: s.key}.Next(n.state, in)
	for _, note := range out.Notes {
		s.log = append(s.log, fmt.Sprintf("%s node %d: %s", s.now.Sub(time.Unix(1_000_000, 0)), n.id, note))
	}
	n.applied = false
	var first, later []func()
	device := func(d *simDevice, own wanted.Key, in func(wanted.Way) bool, key func(Peer) wanted.Key) {
		anew := d == &n.lane && d.own != own // a lane is never given another key
		if own != noKey && d.own != own {
			first = append(first, func() {
				d.own = own
				if anew {
					d.peers = map[int]*simPeer{}
				}
			})
		}
		for i, p := range s.wantedKeys(n, out, in, key) {
			if p == noKey {
				if d.peers[i] != nil {
					later = append(later, func() { delete(d.peers, i) })
				}
				continue
			}
			if have := d.peers[i]; anew || have == nil || have.key != p {
				first = append(first, func() { d.peers[i] = &simPeer{key: p} })
			}
		}
		if own == noKey && d.own != noKey {
			later = append(later, func() { d.own, d.peers = noKey, map[int]*simPeer{} })
		}
	}
	device(&n.lane, next.Lane.Public(), func(w wanted.Way) bool { return w.Lane }, func(p Peer) wanted.Key { return p.Lane })
	device(&n.main, next.Main.Public(), func(w wanted.Way) bool { return w.Main }, func(p Peer) wanted.Key { return p.Main })
	for _, p := range in.Peers {
		i := slices.IndexFunc(s.nodes, func(o *simNode) bool { return fmt.Sprint(o.id) == p.ID })
		if via := out.Ways[p.ID].Via; via != n.via[i] {
			first = append(first, func() { n.via[i] = via })
		}
	}
	n.todo = append([]func(){func() { n.state = next }}, first...)
	n.todo = append(n.todo, later...)
	n.todo = append(n.todo, func() {
		n.applied = answered
		if n.booting && answered {
			n.booting, n.booted = false, s.now
		}
	}, func() {
		if !n.applied && !n.state.Lane.IsZero() {
			return
		}
		s.publish(n, simLease{main: n.state.Main.Public().String(), lane: n.state.LaneOf(1, 2)})
	})
}

// wantedKeys is the key wanted in a device for each node, or noKey.
func (s *sim) wantedKeys(n *simNode, out Output, in func(wanted.Way) bool, key func(Peer) wanted.Key) map[int]wanted.Key {
	keys := map[int]wanted.Key{}
	for _, other := range s.nodes {
		l, known := n.seen[other.id]
		if !known || other == n {
			continue
		}
		var p Peer
		p.Main, _ = wanted.ParseKey(l.main)
		p.ParseLane(l.lane)
		keys[other.id] = noKey
		if in(out.Ways[fmt.Sprint(other.id)]) {
			keys[other.id] = key(p)
		}
	}
	return keys
}

func (s *sim) publish(n *simNode, l simLease) {
	if reflect.DeepEqual(l, n.lease) {
		return
	}
	n.lease = l
	for _, other := range s.nodes {
		if other == n {
			continue
		}
		at := s.now.Add(s.upTo(maxLag))
		if queue := other.arrives[n.id]; len(queue) > 0 && queue[len(queue)-1].at.After(at) {
			at = queue[len(queue)-1].at // in order
		}
		other.arrives[n.id] = append(other.arrives[n.id], arrival{at, l})
	}
}

// tick moves time on and lets every node do a little.
func (s *sim) tick(crashes bool) {
	s.now = s.now.Add(s.upTo(400 * time.Millisecond))
	s.shake()
	for _, n := range s.nodes {
		s.hear(n)
		switch {
		case !n.running && s.chance(20) && s.excused == nil:
			n.running, n.applied, n.todo = true, false, nil
		case !n.running:
		case crashes && s.chance(600):
			s.reboot(n)
		case crashes && s.chance(150):
			n.running, n.todo = false, nil
			s.log = append(s.log, fmt.Sprintf("%s node %d: crash", s.now.Sub(time.Unix(1_000_000, 0)), n.id))
		case len(n.todo) == 0 && s.chance(2):
			s.decide(n)
		}
		for len(n.todo) > 0 && !s.chance(3) {
			n.todo[0]()
			n.todo = n.todo[1:]
			s.traffic()
		}
	}
	s.traffic()
}

// At no moment of any order of events may a packet be lost, in any pair of
// nodes, while nodes replace their keys, crash and come back; to and from a node
// that reboots until it is there again, of course.
func TestNoPacketIsEverLost(t *testing.T) {
	runs := make([]uint64, *simRuns)
	for i := range runs {
		runs[i] = uint64(i + 1)
	}
	if *simSeed != 0 {
		runs = []uint64{*simSeed}
	}
	rotations, packets := 0, 0
	for _, seed := range runs {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := newSim(t, seed, 2+int(seed%4))
			before := map[int]wanted.Key{}
			for _, n := range s.nodes {
				before[n.id] = n.state.Main.Public()
			}
			asked := map[int]bool{0: true}
			s.nodes[0].state.Asked = true
			for range 4000 {
				s.tick(true)
				if n := s.nodes[s.random.IntN(len(s.nodes))]; s.chance(300) && len(n.todo) == 0 {
					n.state.Asked, asked[n.id] = true, true
				}
			}
			// Everything comes to rest: crashes end and nobody asks.
			for i := 0; !s.atRest(); i++ {
				if i > 6000 {
					s.fail("the nodes do not come to rest")
				}
				s.tick(false)
			}
			for id := range asked {
				if s.nodes[id].state.Main.Public() == before[id] {
					s.fail("node %d still has its old key", id)
				}
				rotations++
			}
			packets += s.sent
		})
	}
	t.Logf("%d packets, none lost; at least %d keys replaced", packets, rotations)
}

// atRest reports whether nobody has a lane and everybody knows it.
func (s *sim) atRest() bool {
	for _, n := range s.nodes {
		if !n.running || n.booting || n.state.Asked || !n.state.Lane.IsZero() || n.lane.own != noKey || n.lease.lane.PublicKey != "" {
			return false
		}
		for _, queue := range n.arrives {
			if len(queue) > 0 {
				return false
			}
		}
	}
	return true
}
