package rotate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/wanted"
	"weft/netd/wireguard"
)

var start = time.Unix(1_800_000_000, 0).UTC()

func public(n byte) wanted.Key { return wanted.Key{n} }

// idle is a node that has had its key since start.
func idle() State { return State{Main: wireguard.New(), Made: start} }

// inLane is a node in the middle of step lane, since start.
func inLane() State {
	s := idle()
	s.Step, s.Since, s.Next, s.Lane = StepLane, start, wireguard.New(), wireguard.New()
	return s
}

// following is a peer that has done all that step lane asks for.
func following(s State) Peer {
	return Peer{Name: "two", ID: "two", Main: public(2), Lane: public(20), On: []wanted.Key{s.Lane.Public()},
		Aware: true, MainUp: true, LaneUp: true, Live: true, LaneLive: true}
}

func next(s State, after time.Duration, peers ...Peer) (State, Output) {
	return Machine{NewKey: wireguard.New}.Next(s, Input{Now: start.Add(after), Every: time.Hour, Peers: peers, Applied: true})
}

func TestKeyOfItsAgeIsReplaced(t *testing.T) {
	s := idle()
	got, out := next(s, 54*time.Minute-time.Second)
	if got.Rotating() {
		t.Errorf("a young key: step %q", got.Step)
	}
	if got, _ = next(s, out.Wake.Sub(start)-time.Second); got.Rotating() {
		t.Errorf("a second before it wakes: step %q", got.Step)
	}
	got, _ = next(s, out.Wake.Sub(start))
	if got.Step != StepLane || got.Next.IsZero() || got.Lane.IsZero() || got.Main != s.Main {
		t.Errorf("an old key: %+v", got)
	}
}

// Keys of one age are replaced one after the other, over a tenth of the time.
func TestKeysOfOneAgeAreNotReplacedAtOnce(t *testing.T) {
	const nodes = 1000
	minutes := map[int]int{}
	for range nodes {
		_, out := next(idle(), 0)
		life := out.Wake.Sub(start)
		if life <= 54*time.Minute || life > time.Hour {
			t.Fatalf("a key lives %v", life)
		}
		minutes[int((life-1)/time.Minute)]++
	}
	for minute, n := range minutes {
		if n > nodes/3 { // a sixth is expected; 1 in 10^40 has a third
			t.Errorf("%d of %d keys are replaced in minute %d: %v", n, nodes, minute, minutes)
		}
	}
}

func TestKeyIsReplacedWhenAsked(t *testing.T) {
	s := idle()
	s.Asked = true
	if got, _ := next(s, 0); got.Step != StepLane || got.Asked {
		t.Errorf("state is %+v", got)
	}
}

func TestNoRotationBeginsWhileThereIsALane(t *testing.T) {
	s := idle()
	s.Asked, s.Lane = true, wireguard.New()
	if got, _ := next(s, 0); got.Step != StepNone || !got.Asked {
		t.Errorf("state is %+v", got)
	}
}

func TestLaneIsMadeForAPeerThatRotates(t *testing.T) {
	p := Peer{Name: "two", ID: "two", Main: public(2), Lane: public(20), Step: StepLane, Aware: true}
	got, out := next(idle(), 0, p)
	if got.Lane.IsZero() || got.Rotating() {
		t.Fatalf("state is %+v", got)
	}
	if w := out.Ways["two"]; w != (wanted.Way{Main: true, Lane: true}) {
		t.Errorf("way is %+v", w)
	}
	p.LaneUp = true
	if got, out = next(got, time.Second, p); !slices.Contains(got.Via, p.Lane) || !out.Ways["two"].Via {
		t.Errorf("after the handshake: %+v, %+v", got, out.Ways)
	}
}

// Each case lacks one thing without which the key must not change.
func TestKeyChangesOnlyWhenNothingUsesIt(t *testing.T) {
	cases := []struct {
		name    string
		spoil   func(p *Peer)
		applied bool
		after   time.Duration
		want    Step
	}{
		{"all is well", func(*Peer) {}, true, Grace, StepKey},
		{"packets may be on the way", func(*Peer) {}, true, Grace - 1, StepLane},
		{"the peer still sends to the main device", func(p *Peer) { p.On = nil }, true, Patience, StepLane},
		{"the peer speaks of an earlier lane", func(p *Peer) { p.On = []wanted.Key{public(99)} }, true, Patience, StepLane},
		{"no handshake on the lane", func(p *Peer) { p.LaneUp = false }, true, Patience, StepLane},
		{"the kernel is not as it should be", func(*Peer) {}, false, time.Hour, StepLane},
		{"the peer is down", func(p *Peer) { *p = Peer{Name: "two", ID: "two", Main: p.Main, Aware: true} }, true, PatienceDown + Grace + 2*time.Second, StepKey},
		{"the peer is down, but not for long", func(p *Peer) { *p = Peer{Name: "two", ID: "two", Main: p.Main, Aware: true} }, true, PatienceDown, StepLane},
		{"the peer does not follow", func(p *Peer) { p.On = nil }, true, Patience + Grace + 2*time.Second, StepKey},
		{"the peer is flanneld", func(p *Peer) { *p = Peer{Name: "two", ID: "two", Main: p.Main} }, true, Grace, StepKey},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := inLane()
			p := following(s)
			c.spoil(&p)
			for at := time.Duration(0); ; at = min(at+time.Second, c.after) {
				s, _ = Machine{NewKey: wireguard.New}.Next(s, Input{Now: start.Add(at), Peers: []Peer{p}, Applied: c.applied})
				if at == c.after || s.Step != StepLane {
					break
				}
			}
			if s.Step != c.want {
				t.Errorf("step is %q, want %q", s.Step, c.want)
			}
		})
	}
}

func TestPeersOnTheLaneComeBackAsNew(t *testing.T) {
	s := inLane()
	two, three := following(s), Peer{Name: "three", ID: "three", Main: public(3), Live: true}
	s.Step, s.Via = StepKey, []wanted.Key{two.Lane}
	old, planned := s.Main, s.Next

	s, out := Machine{NewKey: wireguard.New}.Next(s, Input{Now: start, Peers: []Peer{two, three}})
	if out.Ways["two"].Main || !out.Ways["three"].Main || s.Main != old {
		t.Fatalf("before the key changes: %+v", out.Ways)
	}
	s, out = next(s, time.Second, two, three)
	if s.Step != StepDone || s.Main != planned || !out.Ways["two"].Main || !out.Ways["two"].Via {
		t.Fatalf("after: step %q, %+v", s.Step, out.Ways)
	}
}

func TestPeerReturnsToTheMainDeviceWhenTheNewKeyIsProved(t *testing.T) {
	s := inLane()
	p := following(s)
	s.Step, s.Via, p.MainUp = StepDone, []wanted.Key{p.Lane}, false
	got, out := next(s, time.Second, p)
	if w := out.Ways["two"]; !w.Via || !w.Provoke || !slices.Contains(got.Via, p.Lane) {
		t.Fatalf("unproved: %+v", w)
	}
	p.MainUp = true
	if got, out = next(got, 2*time.Second, p); out.Ways["two"].Via || slices.Contains(got.Via, p.Lane) || got.Lane.IsZero() {
		t.Fatalf("proved: %+v", out.Ways)
	}
	p.On = nil
	got, _ = next(got, 3*time.Second, p)
	if got, _ = next(got, 3*time.Second+Grace, p); !got.Lane.IsZero() || got.Rotating() {
		t.Errorf("at the end: %+v", got)
	}
}

// A network that gets a list of keys while a node replaces its own lists the one
// it has: no other may follow.
func TestKeyStaysWherePeersHaveAList(t *testing.T) {
	for _, step := range []Step{StepNone, StepLane, StepKey} {
		s := idle()
		s.Asked = true
		if step != StepNone {
			s = inLane()
			s.Step, s.Via, s.With = step, []wanted.Key{public(20)}, []wanted.Key{public(20)}
		}
		main := s.Main
		listed := Peer{Name: "two", ID: "two", Main: public(2), MainUp: true, Live: true}
		var out Output
		for at := time.Duration(0); at < time.Hour; at += time.Second {
			s, out = Machine{NewKey: wireguard.New}.Next(s, Input{Now: start.Add(at), Peers: []Peer{listed}, Applied: true, Fixed: true})
			if s.Main != main {
				t.Fatalf("step %q: the key is another after %v", step, at)
			}
		}
		if s.Rotating() || s.Asked || !s.Lane.IsZero() || out.Ways["two"] != (wanted.Way{Main: true}) {
			t.Errorf("step %q: at the end %+v, %+v", step, s, out.Ways)
		}
	}
	// What is done is done: peers may have the new key already.
	s := inLane()
	s.Step, s.Next = StepDone, wireguard.Private{}
	if s, _ = (Machine{NewKey: wireguard.New}).Next(s, Input{Now: start, Fixed: true}); s.Step != StepDone {
		t.Errorf("at step done it goes to %q", s.Step)
	}
}

// A clock that was far ahead when the key was made does not make it last.
func TestKeyMadeInTheFutureIsReplacedAtItsAge(t *testing.T) {
	s := idle()
	s.Made = start.Add(10 * 365 * 24 * time.Hour)
	s, out := next(s, 0)
	if s.Rotating() || out.Wake.After(start.Add(time.Hour)) {
		t.Errorf("step %q, wakes at %v", s.Step, out.Wake)
	}
	if s, _ = next(s, time.Hour); s.Step != StepLane {
		t.Errorf("at its age: step %q", s.Step)
	}
}

// Who has asked for a key is told that another node comes first.
func TestAskedKeyThatWaitsForAnotherNodeSaysSo(t *testing.T) {
	s := idle()
	s.Asked = true
	s.Lane = wireguard.New() // for two
	p := Peer{Name: "two", ID: "two", Main: public(2), Lane: public(20), Step: StepKey, Aware: true}
	s, _ = next(s, 0, p)
	if got := s.Waiting([]Peer{p}); got != "waits until two has replaced its key" {
		t.Errorf("it says %q", got)
	}
	p.Step = StepDone
	if got := s.Waiting([]Peer{p}); got != "waits for the end of the second device" {
		t.Errorf("after that it says %q", got)
	}
}

// A netd that dies before the kernel has the new key leaves it with the old one,
// and handshakes under that go on for as long as netd is away. Of a peer that was
// in the device all the time, none of them proves the new key.
func TestHandshakesWhileNetdWasAwayProveNothing(t *testing.T) {
	s := inLane()
	p := following(s)
	p.On = nil // its netd is dead
	s.Step, s.Via, s.With = StepKey, []wanted.Key{p.Lane}, []wanted.Key{p.Lane}
	s, _ = next(s, 0, p)
	if s.Step != StepDone || !slices.Contains(s.Stayed, p.Lane) {
		t.Fatalf("state is %+v", s)
	}
	// Here it dies. An hour later the device still has the old key.
	p.MainUp, p.MainAt = false, start.Add(time.Hour-time.Second)
	s, _ = Machine{NewKey: wireguard.New}.Next(s, Input{Now: start.Add(time.Hour), Peers: []Peer{p}})
	p.MainUp = true // the new key is in the device, and the kernel tells of what was
	if s, _ = next(s, time.Hour+time.Second, p); !slices.Contains(s.Via, p.Lane) {
		t.Error("the peer is sent to by the main device, and does not know its key")
	}
	p.MainAt = start.Add(time.Hour + Grace + time.Second)
	if s, _ = next(s, time.Hour+Grace+2*time.Second, p); slices.Contains(s.Via, p.Lane) {
		t.Error("a later handshake does not count")
	}
}

// Leases are read from a store that anybody may have written.
func FuzzParseLane(f *testing.F) {
	f.Add(public(1).String(), "lane", public(2).String())
	f.Add("", "", "")
	f.Add("AAAA", "nonsense", "====")
	f.Fuzz(func(t *testing.T, key, step, on string) {
		var p Peer
		p.ParseLane(lease.Lane{PublicKey: key, Port: 1, Step: step, On: []string{on, on}})
		if p.Lane == noKey && (p.Step != StepNone || len(p.On) > 0) {
			t.Errorf("a lane without a key says %+v", p)
		}
		if slices.Contains(p.On, noKey) {
			t.Error("nobody is sent to")
		}
		s, out := next(inLane(), time.Second, p)
		if s.Main.IsZero() || len(out.Ways) != 1 {
			t.Errorf("state is %+v, ways %+v", s, out.Ways)
		}
	})
}

func FuzzStateFile(f *testing.F) {
	f.Add([]byte(`{"main":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","made":"2026-01-01T00:00:00Z","step":"lane"}`))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if _, _, err := Load(dir, start, wireguard.New); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, StateFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := Load(dir, start, wireguard.New)
		if err != nil || s.Main.IsZero() || s.Step.needsLane() && (s.Next.IsZero() || s.Lane.IsZero()) {
			t.Errorf("loaded %+v, %v", s, err)
		}
	})
}

// A decision is made every second while a key is replaced.
func BenchmarkDecisionWithFiveThousandPeers(b *testing.B) {
	s := inLane()
	var peers []Peer
	for i := range 5000 {
		p := following(s)
		p.ID = fmt.Sprint(i)
		p.Lane = wanted.Key{1, byte(i), byte(i >> 8)}
		peers = append(peers, p)
	}
	for b.Loop() {
		s, _ = next(s, time.Second, peers...)
	}
}
