package rotate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weft/netd/wanted"
	"weft/netd/wireguard"
)

// A Machine decides for one node. Each decision goes: [Machine.Next]; save the
// state if it changed; make the kernel so; write the lease. A lease is not
// written while the kernel is not as the state says.
type Machine struct {
	// NewKey makes a private key.
	NewKey func() wireguard.Private
}

// Next decides what follows on state with what is known now.
func (m Machine) Next(s State, in Input) (State, Output) {
	d := decision{newKey: m.NewKey, State: s, in: in}
	d.via, d.with = set(s.Via), set(s.With)
	if in.Kept {
		d.out.Ways = d.ways()
		return s, d.out
	}
	d.forget()
	d.late()
	d.stay()
	d.begin()
	d.makeLane()
	d.move()
	d.advance()
	d.dropLane()
	d.meet()
	d.out.Ways = d.ways()
	d.wake()
	d.Via, d.With = sorted(d.via), sorted(d.with)
	return d.State, d.out
}

func set(keys []wanted.Key) map[wanted.Key]bool {
	all := make(map[wanted.Key]bool, len(keys))
	for _, key := range keys {
		all[key] = true
	}
	return all
}

func sorted(keys map[wanted.Key]bool) []wanted.Key {
	return slices.SortedFunc(maps.Keys(keys), func(a, b wanted.Key) int { return bytes.Compare(a[:], b[:]) })
}

// noKey is the key of a device that is not there.
var noKey wanted.Key

// A decision is one call of Next.
type decision struct {
	newKey func() wireguard.Private
	State
	in  Input
	out Output
	// via and with are those of State: a network may have thousands of nodes.
	via, with map[wanted.Key]bool
}

func (d *decision) note(format string, args ...any) {
	d.out.Notes = append(d.out.Notes, fmt.Sprintf(format, args...))
}

func (d *decision) enter(s Step) { d.Step, d.Since, d.Held = s, d.in.Now, time.Time{} }

// waited is how long the step has lasted. A clock that was set back makes it
// begin anew.
func (d *decision) waited() time.Duration {
	if d.in.Now.Before(d.Since) {
		d.Since = d.in.Now
	}
	return d.in.Now.Sub(d.Since)
}

// holds reports whether a condition has held for Grace without a break.
func (d *decision) holds(condition bool) bool {
	switch {
	case !condition:
		d.Held = time.Time{}
		return false
	case d.Held.IsZero() || d.in.Now.Before(d.Held):
		d.Held = d.in.Now
	}
	return d.in.Now.Sub(d.Held) >= Grace
}

// forget drops lanes that no lease speaks of any longer.
func (d *decision) forget() {
	there := make(map[wanted.Key]bool, len(d.in.Peers))
	for _, p := range d.in.Peers {
		there[p.Lane] = p.Lane != noKey
	}
	gone := func(key wanted.Key, _ bool) bool { return !there[key] }
	maps.DeleteFunc(d.via, gone)
	maps.DeleteFunc(d.with, gone)
	d.Stayed = slices.DeleteFunc(slices.Clone(d.Stayed), func(key wanted.Key) bool { return gone(key, true) })
}

// late has the new key count from when the kernel has it: a node that dies
// before leaves it with the old one, and handshakes under that go on. Only those
// who stayed in the device are judged by the time.
func (d *decision) late() {
	if d.Step == StepDone && len(d.Stayed) > 0 && !d.in.Applied {
		d.Made = d.in.Now
	}
}

// stay ends a rotation in which the key is still the old one where nobody can
// be told of another.
func (d *decision) stay() {
	if !d.in.Fixed {
		return
	}
	d.Asked = false
	if d.Step.needsLane() {
		d.Next = wireguard.Private{}
		d.enter(StepNone)
		d.note("the key stays: peers have a list of keys now")
	}
}

// begin starts a rotation that is due. A clock that was set back makes the age
// begin anew.
func (d *decision) begin() {
	if d.Step == StepNone && d.in.Now.Before(d.Made) {
		d.Made = d.in.Now
	}
	age := d.in.Now.Sub(d.Made)
	due := d.Asked || d.in.Every > 0 && age >= d.life()
	if !due || d.in.Fixed || d.Step != StepNone || !d.Lane.IsZero() {
		return
	}
	d.Next, d.Lane, d.Asked, d.Stayed = d.newKey(), d.newKey(), false, nil
	d.enter(StepLane)
	d.note("a new key begins: the old one is %s old", age.Round(time.Second))
}

// life is the age at which the key is replaced: the last tenth of the time asked
// for, at a point that the key itself gives. Nodes of one age would else all
// begin at once, and each lease would name every other node's lane.
func (d *decision) life() time.Duration {
	key := d.Main.Public()
	early := float64(binary.BigEndian.Uint32(key[:])) / (1 << 32) // 0 <= early < 1
	return d.in.Every - time.Duration(early*float64(d.in.Every/10))
}

// makeLane makes a lane for a peer that needs one.
func (d *decision) makeLane() {
	if d.Lane.IsZero() && slices.ContainsFunc(d.in.Peers, func(p Peer) bool { return p.Step.needsLane() && p.Lane != noKey }) {
		d.Lane, d.Held = d.newKey(), time.Time{}
		d.Since = d.in.Now
	}
}

// needed reports whether packets between the node and p must leave the main
// devices.
func (d *decision) needed(p Peer) bool { return d.Step.needsLane() || p.Step.needsLane() }

// proved reports whether a handshake has shown that p has the node's main key.
// The kernel goes on telling of handshakes under an earlier key. A peer that was
// out of the device when the key changed has none of those; with one that
// stayed, a handshake counts that is later than the kernel can have taken for
// the change.
func (d *decision) proved(p Peer) bool {
	return p.MainUp && (!slices.Contains(d.Stayed, p.Lane) || p.MainAt.After(d.Made.Add(Grace)))
}

// move puts each peer on the lane or back on the main device.
func (d *decision) move() {
	for _, p := range d.in.Peers {
		on := d.via[p.Lane]
		switch {
		case !on && d.needed(p) && p.LaneUp && !d.Lane.IsZero() && p.Lane != noKey:
			d.via[p.Lane] = true
		case on && !d.needed(p) && (d.proved(p) || !p.LaneLive && d.waited() > PatienceDown):
			delete(d.via, p.Lane)
		}
	}
}

// meet takes the peers into the lane with which packets may go through it. A
// peer stays there until either lane is gone: it may still send, and what it
// has sent may be on the way, after it has said that it sends no longer.
func (d *decision) meet() {
	if d.Lane.IsZero() {
		clear(d.via)
		clear(d.with)
		return
	}
	for _, p := range d.in.Peers {
		if p.Lane != noKey && !d.with[p.Lane] && (d.needed(p) || p.sendsTo(d.Lane.Public())) {
			d.with[p.Lane] = true
		}
	}
}

// advance takes the node's own rotation a step further.
func (d *decision) advance() {
	switch d.Step {
	case StepLane:
		waiting, left := d.waitingFor()
		if !d.holds(len(waiting) == 0 && d.in.Applied) {
			return
		}
		for _, p := range left {
			d.note("going on without %s, which %s", p.Name, whyLeft(p))
		}
		d.enter(StepKey)
	case StepKey:
		// The peers on the lane are out of the main device. What makes a
		// handshake with one of them a proof of the new key is that they come
		// back as new.
		if !d.in.Applied {
			return
		}
		d.Stayed = nil
		for _, p := range d.in.Peers {
			if d.via[p.Lane] && !p.sendsTo(d.Lane.Public()) {
				d.Stayed = append(d.Stayed, p.Lane)
			}
		}
		d.Main, d.Next, d.Made = d.Next, wireguard.Private{}, d.in.Now
		d.enter(StepDone)
		d.note("the new key is %s", d.Main.Public())
	}
}

// waitingFor are the peers that have to be on the lane, in both directions,
// before the key changes, and those that are no longer waited for.
func (d *decision) waitingFor() (names []string, left []Peer) {
	own, waited := d.Lane.Public(), d.waited()
	for _, p := range d.in.Peers {
		switch {
		case d.via[p.Lane] && p.sendsTo(own):
		case !p.Aware, waited > Patience, waited > PatienceDown && !p.Live && !p.LaneLive:
			left = append(left, p)
		default:
			names = append(names, p.Name)
		}
	}
	return names, left
}

func whyLeft(p Peer) string {
	switch {
	case !p.Aware:
		return "knows no second device: it may wait for some packets until it has read the new key"
	case !p.Live && !p.LaneLive:
		return "has not been heard of lately"
	}
	return "did not follow"
}

// dropLane removes the lane when nobody has needed it for a while.
func (d *decision) dropLane() {
	if d.Lane.IsZero() || d.Step.needsLane() {
		return
	}
	own := d.Lane.Public()
	used := len(d.via) > 0 || slices.ContainsFunc(d.in.Peers, func(p Peer) bool {
		dead := !p.LaneLive && d.waited() > PatienceDown
		return p.Step.needsLane() && p.Lane != noKey || p.sendsTo(own) && !dead
	})
	if d.holds(!used && d.in.Applied) {
		d.Lane, d.Stayed = wireguard.Private{}, nil
		if d.Step == StepDone {
			d.note("the new key is in use everywhere")
		}
		d.enter(StepNone)
	}
}

// ways is what the devices have for each peer.
func (d *decision) ways() map[string]wanted.Way {
	ways := make(map[string]wanted.Way, len(d.in.Peers))
	for _, p := range d.in.Peers {
		via := d.via[p.Lane]
		w := wanted.Way{Main: true, Lane: d.with[p.Lane], Via: via}
		// Whoever does not say that it sends through the lane may be sending
		// to the main device, and stays in it.
		if via && d.Step == StepKey && p.sendsTo(d.Lane.Public()) {
			w.Main = false
		}
		w.Provoke = via && w.Main && !d.needed(p) && !d.proved(p)
		ways[p.ID] = w
	}
	return ways
}

// wake says when to decide again.
func (d *decision) wake() {
	switch {
	case !d.Lane.IsZero():
		d.out.Wake = d.in.Now.Add(Poll)
	case d.in.Every > 0:
		d.out.Wake = d.Made.Add(d.life())
	}
}

// Waiting says in one line what a rotation waits for; empty when there is
// none.
func (s State) Waiting(peers []Peer) string {
	switch {
	case s.Step == StepLane:
		d := decision{State: s, in: Input{Now: s.Since, Peers: peers}, via: set(s.Via)}
		if names, _ := d.waitingFor(); len(names) > 0 {
			return "waits for " + strings.Join(names, ", ") + " to take the second device"
		}
		return "waits for packets on the way"
	case s.Step == StepDone && len(s.Via) > 0:
		return fmt.Sprintf("waits for %d peers to prove the new key", len(s.Via))
	case s.Asked && !s.Rotating() && !s.Lane.IsZero():
		for _, p := range peers {
			if p.Step.needsLane() && p.Lane != noKey {
				return "waits until " + p.Name + " has replaced its key"
			}
		}
		fallthrough
	case s.Rotating():
		return "waits for the end of the second device"
	}
	return ""
}
