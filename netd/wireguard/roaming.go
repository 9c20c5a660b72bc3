package wireguard

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"weft/netd/lease"
	"weft/netd/wanted"
)

// maxCandidates limits the endpoints of other nodes that are tried for a peer.
const maxCandidates = 8

// Roaming decides about the endpoints of peers. The kernel moves a peer's
// endpoint to where authenticated packets come from, which is newer than what
// the store says, so an endpoint is set only when
//
//   - the peer is new in the device,
//   - its lease says something else than before, or
//   - packets are sent to it and no handshake answers for longer than
//     [RejectAfter]: then the lease's endpoint and those that other nodes have
//     learned are tried in turn, one every [LookEvery].
//
// An endpoint inside the networks of pods is none: a tunnel that ran through
// itself would carry nothing. A peer that got there (a packet of its tunnel left
// it with a pod's address as source) goes back to its lease's endpoint at once.
// The zero value is ready for use.
type Roaming struct {
	// Pods are the networks of pods, of both families.
	Pods []netip.Prefix

	seen map[place]*sight
}

// A place is a peer in a device.
type place struct {
	device string
	key    wanted.Key
}

// A sight is what is remembered of a peer.
type sight struct {
	lease netip.AddrPort // as last applied
	try   netip.AddrPort // to be set next
	turn  int
	tried time.Time
	sent  int64
	up    bool
	// at is the endpoint in the kernel, other than the lease's, since since.
	at      netip.AddrPort
	since   time.Time
	learned bool
}

func (r *Roaming) of(p place) *sight {
	if r.seen == nil {
		r.seen = map[place]*sight{}
	}
	s := r.seen[p]
	if s == nil {
		s = &sight{}
		r.seen[p] = s
	}
	return s
}

// Settle is what is wanted with the endpoints to be set: a peer whose endpoint
// is to stay has none. Both lists are sorted.
func (r *Roaming) Settle(have, want []wanted.WGPeer) []wanted.WGPeer {
	settled := slices.Clone(want)
	for i := range settled {
		w := &settled[i]
		at, found := slices.BinarySearchFunc(have, *w, wanted.CompareWGPeers)
		if !found || !have[at].Endpoint.IsValid() {
			continue
		}
		s := r.of(place{w.Link, w.PublicKey})
		switch {
		case r.inside(have[at].Endpoint):
		case s.lease.IsValid() && s.lease != w.Endpoint:
		case s.try.IsValid():
			w.Endpoint = s.try
		case !s.lease.IsValid() && !s.up:
			// netd has just started and the peer is silent.
			if have[at].Endpoint == w.Endpoint {
				w.Endpoint = netip.AddrPort{}
			}
		default:
			w.Endpoint = netip.AddrPort{}
		}
	}
	return settled
}

// Applied notes that the kernel has what was wanted, with the endpoints of
// leases, and forgets all other peers.
func (r *Roaming) Applied(want []wanted.WGPeer) {
	kept := make(map[place]*sight, len(want))
	for _, w := range want {
		s := r.of(place{w.Link, w.PublicKey})
		if s.lease != w.Endpoint {
			s.turn, s.tried, s.learned, s.at = 0, time.Time{}, false, netip.AddrPort{}
		}
		s.lease, s.try = w.Endpoint, netip.AddrPort{}
		kept[place{w.Link, w.PublicKey}] = s
	}
	r.seen = kept
}

// Look takes in how the kernel's peers are, and reports whether endpoints have
// to be set. others are the endpoints that other nodes have learned.
func (r *Roaming) Look(now time.Time, devices []Device, others map[wanted.Key][]netip.AddrPort) bool {
	set := false
	for _, d := range devices {
		for _, p := range d.Peers {
			s := r.of(place{d.Name, p.PublicKey})
			trying := p.Sent > s.sent
			s.sent, s.up = p.Sent, p.State(now) == Up
			switch {
			case r.inside(p.Endpoint) && s.lease.IsValid():
				s.try, set = s.lease, true
			case s.up:
				s.turn = 0
				s.tried = now
			case s.tried.IsZero():
				s.tried = now
			case trying && now.Sub(s.tried) >= LookEvery && s.lease.IsValid():
				s.tried = now
				candidates := r.candidates(s.lease, others[p.PublicKey])
				next := candidates[s.turn%len(candidates)]
				if s.turn++; next == p.Endpoint && len(candidates) > 1 {
					next = candidates[s.turn%len(candidates)]
					s.turn++
				}
				if next != p.Endpoint {
					s.try, set = next, true
				}
			}
			s.learn(now, p, r.inside(p.Endpoint))
		}
	}
	return set
}

// inside reports whether an endpoint is a pod's, and so none.
func (r *Roaming) inside(endpoint netip.AddrPort) bool {
	return slices.ContainsFunc(r.Pods, func(pods netip.Prefix) bool { return pods.Contains(endpoint.Addr().Unmap()) })
}

// learn notes where a peer is that is not where its lease says. What is seen
// once may be gone again, so it counts when it has stayed for a while.
func (s *sight) learn(now time.Time, p Peer, none bool) {
	switch {
	case none || !s.lease.IsValid() || !p.Endpoint.IsValid() || p.Endpoint == s.lease:
		s.at, s.learned = netip.AddrPort{}, false
	case p.Endpoint != s.at:
		s.at, s.since, s.learned = p.Endpoint, now, false
	case s.up && now.Sub(s.since) >= LookEvery/2:
		s.learned = true
	}
}

// candidates are the endpoints a peer may have, that of its lease first.
func (r *Roaming) candidates(leased netip.AddrPort, learned []netip.AddrPort) []netip.AddrPort {
	all := []netip.AddrPort{leased}
	for _, one := range learned {
		usable := one.IsValid() && one.Port() != 0 && one.Addr().IsGlobalUnicast() && one.Addr().Is4() == leased.Addr().Is4() &&
			!r.inside(one)
		if usable && !slices.Contains(all, one) && len(all) < maxCandidates {
			all = append(all, one)
		}
	}
	return all
}

// Learned are the endpoints worth telling other nodes: those of peers that
// answer from elsewhere than their leases say. Lanes are too short-lived.
func (r *Roaming) Learned() []lease.Endpoint {
	var all []lease.Endpoint
	for at, s := range r.seen {
		if s.learned && !wanted.IsLane(at.device) {
			all = append(all, lease.Endpoint{PublicKey: at.key.String(), Address: s.at})
		}
	}
	slices.SortFunc(all, func(a, b lease.Endpoint) int {
		if c := bytes.Compare([]byte(a.PublicKey), []byte(b.PublicKey)); c != 0 {
			return c
		}
		return a.Address.Compare(b.Address)
	})
	return all
}

// Others are the endpoints in leases, by the key of the peer.
func Others(leases []lease.Lease) map[wanted.Key][]netip.AddrPort {
	all := map[wanted.Key][]netip.AddrPort{}
	for _, l := range leases {
		for _, e := range l.Learned {
			if key, err := wanted.ParseKey(e.PublicKey); err == nil {
				all[key] = append(all[key], e.Address)
			}
		}
	}
	for _, endpoints := range all {
		slices.SortFunc(endpoints, netip.AddrPort.Compare)
	}
	return all
}
