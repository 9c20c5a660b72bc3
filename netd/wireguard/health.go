package wireguard

import (
	"net/netip"
	"time"

	"weft/netd/wanted"
)

// RejectAfter is how old a session gets before nothing is taken under it any
// more (REJECT_AFTER_TIME of the WireGuard paper, section 6.5). With traffic a
// session is renewed every two minutes, so an older handshake means silence or
// a peer that does not answer.
const RejectAfter = 180 * time.Second

// LookEvery is how often handshakes are looked at when nothing is going on:
// the kernel tells of none, so there is no event to wait for.
const LookEvery = 30 * time.Second

// A State says in a word how a peer is.
type State string

// The states of peers.
const (
	// Up is a peer with a session.
	Up State = "up"
	// Waiting is one with which there never was a handshake.
	Waiting State = "waiting"
	// Stale is one whose last session is over: it does not answer, or there
	// was nothing to send.
	Stale State = "stale"
)

// Health is how the kernel sees one peer of one device.
type Health struct {
	Device    string         `json:"device"`
	PublicKey wanted.Key     `json:"publicKey"`
	Endpoint  netip.AddrPort `json:"endpoint"`
	// Handshake is when the last one was, the zero time if never.
	Handshake time.Time `json:"handshake,omitzero"`
	// Received and Sent are bytes, handshakes included.
	Received int64 `json:"received"`
	Sent     int64 `json:"sent"`
	State    State `json:"state"`
}

// Peers is the health of all peers of devices, in their order.
func Peers(now time.Time, devices []Device) []Health {
	var all []Health
	for _, d := range devices {
		for _, p := range d.Peers {
			all = append(all, Health{Device: d.Name, PublicKey: p.PublicKey, Endpoint: p.Endpoint,
				Handshake: p.Handshake, Received: p.Received, Sent: p.Sent, State: p.State(now)})
		}
	}
	return all
}

// State is how the peer is. A handshake far ahead is one from before the clock
// was set back, and says nothing of now.
func (p Peer) State(now time.Time) State {
	switch {
	case p.Handshake.IsZero():
		return Waiting
	case now.Sub(p.Handshake).Abs() > RejectAfter:
		return Stale
	}
	return Up
}
