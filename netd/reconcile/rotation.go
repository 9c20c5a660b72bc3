package reconcile

import (
	"maps"
	"slices"
	"time"

	"weft/netd/lease"
	"weft/netd/rotate"
	"weft/netd/wanted"
	"weft/netd/wireguard"
)

// planned computes what should be, and where keys are being replaced again
// with what has been decided about that.
func (l *Loop) planned(leases []lease.Lease) (wanted.Plan, error) {
	plan, err := l.plainPlan(leases)
	if err != nil || !l.tunnelled() {
		return plan, err
	}
	lane := l.decide(plan, leases)
	main := l.tunnels.state.Main.Public()
	if main == l.node.PublicKey && lane.PublicKey == l.node.Lane.PublicKey && maps.Equal(lane.Ways, l.node.Lane.Ways) {
		return plan, nil
	}
	l.node.PublicKey, l.node.Lane = main, lane
	return l.plainPlan(leases)
}

// decide takes the replacing of keys further. What cannot be written to disk is
// not decided: keys stay as they are, and peers come and go meanwhile.
func (l *Loop) decide(plan wanted.Plan, leases []lease.Lease) wanted.Lane {
	t := &l.tunnels
	t.peers = l.rotating(plan, leases)
	in := rotate.Input{Now: l.now(), Peers: t.peers, Applied: t.applied, Kept: l.kept, Fixed: !l.canRotate()}
	if l.canRotate() {
		in.Every = l.config.Network.Backend.RotateEvery
	}
	machine := rotate.Machine{NewKey: wireguard.New}
	next, out := machine.Next(t.state, in)
	was := t.unkept
	if t.unkept = t.keep(next); t.unkept != nil {
		if was == nil {
			l.log.Warn("wireguard: the key's state stays as it is until it can be written", "error", t.unkept)
		}
		in.Kept = true // changes nothing
		next, out = machine.Next(t.state, in)
	}
	l.state.Rotation = t.waiting()
	for _, note := range out.Notes {
		l.log.Info("wireguard: " + note)
	}
	t.wakeAt(out.Wake)
	lane := wanted.Lane{PublicKey: next.Lane.Public(), Ways: map[wanted.Key]wanted.Way{}}
	if next.Lane.IsZero() {
		return wanted.Lane{}
	}
	lane.Port, lane.PortV6 = wanted.LanePorts(l.config.Network.Backend)
	for _, p := range t.peers {
		lane.Ways[p.Main] = out.Ways[p.ID]
	}
	return lane
}

// waiting says what the replacing of the key waits for.
func (t *tunnels) waiting() string {
	if t.unkept != nil {
		return "waiting for the disk: " + t.unkept.Error()
	}
	return t.state.Waiting(t.peers)
}

// wakeAt makes sure that the kernel is looked at no later than at a time.
func (t *tunnels) wakeAt(at time.Time) {
	if !at.IsZero() && at.Before(t.next) {
		t.next = at
	}
}

// rotating are the peers as package rotate takes them: those whose leases are
// honoured.
func (l *Loop) rotating(plan wanted.Plan, leases []lease.Lease) []rotate.Peer {
	t := &l.tunnels
	byKey := map[wanted.Key]*rotate.Peer{}
	families := map[wanted.Key][]bool{}
	var order []wanted.Key
	for _, p := range plan.Peers {
		if byKey[p.PublicKey] == nil {
			byKey[p.PublicKey] = &rotate.Peer{Name: p.Node, ID: p.PublicKey.String(), Main: p.PublicKey}
			order = append(order, p.PublicKey)
		}
		families[p.PublicKey] = append(families[p.PublicKey], p.Subnet.Addr().Is6())
	}
	for _, one := range leases {
		for _, half := range []lease.Half{one.IPv4, one.IPv6} {
			key, err := wanted.ParseKey(half.PublicKey)
			if p := byKey[key]; err == nil && p != nil {
				p.Aware = one.UUID != "" && l.canRotate()
				p.ParseLane(one.Lane)
			}
		}
	}
	peers := make([]rotate.Peer, 0, len(order))
	// A key can be at one peer of a device only, and never at its own: of
	// leases that say the same lane, the first has it.
	taken := map[wanted.Key]bool{t.state.Lane.Public(): true}
	for _, key := range order {
		p := *byKey[key]
		if taken[p.Lane] {
			p.ParseLane(lease.Lane{})
		}
		taken[p.Lane] = true
		var mains, lanes []string
		for _, ipv6 := range families[key] {
			names := wanted.DeviceNames(l.config.Network.Backend, ipv6)
			mains, lanes = append(mains, names[0]), append(lanes, names[1])
		}
		p.MainUp, p.Live, p.MainAt = t.handshakes(mains, t.state.Main.Public(), p.Main, l.now())
		p.LaneUp, p.LaneLive, _ = t.handshakes(lanes, t.state.Lane.Public(), p.Lane, l.now())
		peers = append(peers, p)
	}
	return peers
}

// handshakes reports whether there was a handshake of two keys on all devices,
// whether all of them are recent, and when the earliest was.
func (t *tunnels) handshakes(devices []string, own, peer wanted.Key, now time.Time) (all, recent bool, earliest time.Time) {
	if own == (wanted.Key{}) || peer == (wanted.Key{}) {
		return false, false, earliest
	}
	all, recent = true, true
	for _, name := range devices {
		state := wireguard.Waiting
		for _, d := range t.devices {
			if d.Name != name || d.PublicKey != own {
				continue
			}
			// Peers are sorted, and there may be thousands.
			asked := wireguard.Peer{WGPeer: wanted.WGPeer{Link: name, PublicKey: peer}}
			i, found := slices.BinarySearchFunc(d.Peers, asked, func(a, b wireguard.Peer) int {
				return wanted.CompareWGPeers(a.WGPeer, b.WGPeer)
			})
			if found {
				state = d.Peers[i].State(now)
				if at := d.Peers[i].Handshake; earliest.IsZero() || at.Before(earliest) {
					earliest = at
				}
			}
		}
		all, recent = all && state != wireguard.Waiting, recent && state == wireguard.Up
	}
	return all, recent, earliest
}
