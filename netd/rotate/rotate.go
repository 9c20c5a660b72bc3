// Package rotate replaces WireGuard keys without losing a packet.
//
// A WireGuard device takes a packet only if it comes from the peer that its
// inner address belongs to, and an address belongs to one peer of a device.
// So there is no moment at which a device could take packets under a node's
// old key and its new one, and replacing a key in one device loses what is on
// the way. Two devices have no such limit: while a key is replaced, the nodes
// concerned have a second one, the lane, with keys of its own.
//
//	lane   The node that rotates makes a lane and says so in its lease. Each
//	       peer answers with a lane. When a handshake has proved a lane, each
//	       of the two, for itself, sends through it from then on, and says so.
//	       Packets are taken from both devices all the time.
//	key    Every peer sends to the node, and the node to every peer, through
//	       the lane, and what was on the way has arrived: nothing uses the main
//	       device between them. The node takes these peers out of its main
//	       device, gives it the new key, and puts them back.
//	done   Peers learn of the new key and prove it with a handshake, while
//	       packets still take the lane. Then each sends through the main device
//	       again, and says so. When nobody has used the lanes for a while, they
//	       are removed.
//
// What makes it sound, in the order in which one relies on the other:
//
//   - A lane's key is made for one use and names it: a lease that speaks of a
//     lane by its key cannot be mistaken for one about an earlier lane.
//   - A handshake on a lane proves that the peer has this node's lane with
//     its addresses, and so has read the lease that asks for it.
//   - State is saved, then the kernel is changed, then the lease is written
//     (see [Machine]). So "I send to you through the lane" is said after it is
//     true, and "no longer" after it has ceased to be, whenever a node dies.
//   - A node starts only when it has no lane, so an answer to an earlier
//     rotation never counts for this one.
//   - Leases that were kept on disk change nothing: after a boot a node waits
//     for the store before it forgets a lane or takes a step.
//   - A handshake on a main device proves the new key only if the peer was out
//     of the device when the key changed, or if it is later than the change:
//     the kernel tells of handshakes of earlier keys too.
//
// A peer that cannot take part, because it knows no lanes or is down, is
// waited for no longer than [PatienceDown] or [Patience]. It stays in the main
// device when the key changes: the kernel then goes on taking what the peer
// sends under the old session (wg_noise_expire_current_peer_keypairs ends only
// sending), and holds up to 128 packets for it until the peer knows the new
// key (MAX_STAGED_PACKETS).
//
// The package decides; it reads no clock and touches neither kernel nor store.
package rotate

import (
	"slices"
	"time"

	"weft/netd/lease"
	"weft/netd/wanted"
	"weft/netd/wireguard"
)

// How long things take.
const (
	// Grace is how long a packet may be on the way at most: it covers queues,
	// and the time a store takes to deliver a lease to nodes that just came.
	Grace = 10 * time.Second
	// Patience is how long a peer that is alive is waited for, PatienceDown a
	// peer of which no recent handshake is known.
	Patience     = 10 * time.Minute
	PatienceDown = 2 * time.Minute
	// Poll is how often handshakes are to be looked at while one is waited
	// for: the kernel does not tell of them.
	Poll = time.Second
)

// A Step says how far a node is in replacing its key.
type Step string

// The steps, as leases spell them; a node that replaces no key has none.
const (
	StepNone Step = ""
	StepLane Step = "lane"
	StepKey  Step = "key"
	StepDone Step = "done"
)

// needsLane reports whether a node at this step must not be sent packets
// through its main device.
func (s Step) needsLane() bool { return s == StepLane || s == StepKey }

// A State is what a node has to remember, across crashes too.
type State struct {
	// Main is the main key and Made when it was made.
	Main wireguard.Private
	Made time.Time
	// Step is how far the node is, since Since.
	Step  Step
	Since time.Time
	// Next is the key that will be the main one.
	Next wireguard.Private
	// Lane is the key of the lane; zero when there is none.
	Lane wireguard.Private
	// Via are the keys of the peers' lanes to which the node sends through its
	// own, sorted.
	Via []wanted.Key
	// With are the keys of the peers' lanes that are peers of the own lane.
	With []wanted.Key
	// Stayed are the keys of the lanes of peers that the node sends to through
	// its own, and that were in the main device when its key changed.
	Stayed []wanted.Key
	// Asked says that somebody asked for a new key and has not got it yet.
	Asked bool
	// Held is since when the condition of the next step has held without a
	// break, or zero.
	Held time.Time
}

// Rotating reports whether the node is replacing its key.
func (s State) Rotating() bool { return s.Step != StepNone }

// Equal reports whether two states are the same.
func (s State) Equal(other State) bool {
	return s.Main == other.Main && s.Made.Equal(other.Made) && s.Step == other.Step && s.Since.Equal(other.Since) &&
		s.Next == other.Next && s.Lane == other.Lane && slices.Equal(s.Via, other.Via) && slices.Equal(s.With, other.With) &&
		slices.Equal(s.Stayed, other.Stayed) &&
		s.Asked == other.Asked && s.Held.Equal(other.Held)
}

// A Peer is another node as its lease and the kernel show it.
type Peer struct {
	// Name is for logs. ID tells peers apart.
	Name, ID string
	// Main is its main key, Lane the key of its lane or zero, Step its step,
	// and On the lanes it sends to through its own.
	Main, Lane wanted.Key
	Step       Step
	On         []wanted.Key
	// Aware says that the peer knows of lanes: its lease is a netd's.
	Aware bool
	// MainUp and LaneUp say that a handshake took place between the main keys,
	// or the keys of the lanes, that both have now, on every device that the
	// two share. A handshake of earlier keys does not count.
	MainUp, LaneUp bool
	// MainAt is when the last handshake of the main devices was; the earlier
	// one of two.
	MainAt time.Time
	// Live says that the last handshake of the main devices is recent,
	// LaneLive that the one of the lanes is.
	Live, LaneLive bool
}

// sendsTo reports whether the peer says that it sends through its lane to the
// lane with a key.
func (p Peer) sendsTo(key wanted.Key) bool { return key != noKey && slices.Contains(p.On, key) }

// An Input is what a decision is made from.
type Input struct {
	Now time.Time
	// Every is the age at which a key is replaced at the latest, and at nine
	// tenths of it at the earliest; 0 is never.
	Every time.Duration
	// Fixed says that peers have a list of keys, and cannot be told of another.
	Fixed bool
	// Peers are the other nodes.
	Peers []Peer
	// Applied says that the kernel holds what the last output asked for, and
	// that this was not of kept leases.
	Applied bool
	// Kept says that the peers are as their leases were at some earlier time,
	// because the store has not answered since a boot. Nothing is decided from
	// that: to forget a lane that peers count on, and to find it again later,
	// loses what they send and are sent in between.
	Kept bool
}

// An Output is what a node should have and say.
type Output struct {
	// Ways are the peers' by their ID.
	Ways map[string]wanted.Way
	// Notes are for the log: what was decided and why.
	Notes []string
	// Wake is when to decide again at the latest, without news; the zero time
	// when only news matter.
	Wake time.Time
}

// LaneOf is what the node's lease says of its lane, once the kernel is as the
// state says; ports are the caller's.
func (s State) LaneOf(port, portV6 uint16) lease.Lane {
	if s.Lane.IsZero() {
		return lease.Lane{}
	}
	l := lease.Lane{PublicKey: s.Lane.Public().String(), Port: port, PortV6: portV6, Step: string(s.Step)}
	for _, key := range s.Via {
		l.On = append(l.On, key.String())
	}
	slices.Sort(l.On)
	return l
}

// ParseLane reads what a lease says of a lane into p; a lane that makes no
// sense is none.
func (p *Peer) ParseLane(l lease.Lane) {
	p.Lane, p.Step, p.On = wanted.Key{}, StepNone, nil
	key, err := wanted.ParseKey(l.PublicKey)
	if err != nil {
		return
	}
	p.Lane, p.Step = key, Step(l.Step)
	for _, text := range l.On {
		if on, err := wanted.ParseKey(text); err == nil {
			p.On = append(p.On, on)
		}
	}
}
