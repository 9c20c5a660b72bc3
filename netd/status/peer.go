package status

import (
	"net/netip"
	"time"

	"weft/netd/diff"
	"weft/netd/probe"
	"weft/netd/wanted"
	"weft/netd/wireguard"
)

// Peer is another node in one family.
type Peer struct {
	Name    string       `json:"name"`
	Family  string       `json:"family"`
	Address netip.Addr   `json:"address"`
	Subnet  netip.Prefix `json:"subnet"`
	MAC     wanted.MAC   `json:"mac"`
	// Backend is the one of its lease, another than this node's while the
	// network changes from one to the other.
	Backend string `json:"backend,omitempty"`
	// PublicKey is its WireGuard key, Tunnel what WireGuard knows of it.
	PublicKey *wanted.Key       `json:"publicKey,omitempty"`
	Tunnel    *wireguard.Health `json:"tunnel,omitempty"`
	// Device is what packets to the peer leave by, MTU the largest of them.
	Device string `json:"device,omitempty"`
	MTU    int    `json:"mtu,omitempty"`
	// Programmed says that all that reaches the peer is in the kernel, State
	// in a word how it stands, Error what is wrong and Fix what to do.
	Programmed bool   `json:"programmed"`
	State      string `json:"state"`
	Error      string `json:"error,omitempty"`
	Fix        string `json:"fix,omitempty"`
	// Repaired counts how often something of it was repaired.
	Repaired int    `json:"repaired"`
	Probe    *Probe `json:"probe,omitempty"`
}

// The states of a peer.
const (
	// StateReady is a peer with all of its objects in the kernel.
	StateReady = "ready"
	// StateWaiting is one whose family has no underlay.
	StateWaiting = "waiting"
	// StateFailed is one with something the kernel did not take, StateDrift
	// one with something that somebody took away just now.
	StateFailed = "failed"
	StateDrift  = "drift"
	// StateSilent is one that is in the kernel, but does not answer.
	StateSilent = "silent"
)

// Probe is how a peer's probe pod answers.
type Probe struct {
	From     netip.Addr `json:"from"`
	To       netip.Addr `json:"to"`
	Answers  bool       `json:"answers"`
	RTT      float64    `json:"rttMillis"`
	Loss     float64    `json:"loss"`
	Sent     int        `json:"sent"`
	Received int        `json:"received"`
	Seen     *time.Time `json:"seen,omitempty"`
}

// peers are the peers with all that is known of them.
func peers(f Facts, drift []diff.Change) []Peer {
	s := f.Snapshot
	index := indexPeers(s.Peers)
	wrong := map[netip.Prefix]string{}
	for _, c := range drift {
		for _, subnet := range index.about(c.Object) {
			if wrong[subnet] == "" {
				wrong[subnet] = "not yet done: " + c.String()
			}
		}
	}
	failed := map[netip.Prefix]string{}
	for _, failure := range s.Failures {
		for _, subnet := range index.about(failure.Change.Object) {
			failed[subnet] = failure.Error()
		}
	}
	probes := make(map[netip.Addr]probe.Result, len(f.Probes))
	for _, p := range f.Probes {
		probes[p.To] = p
	}
	taken := s.Wanted.Taken()
	routes := make(map[netip.Prefix]string, len(taken))
	for _, r := range taken {
		routes[r.Dst] = r.Link
	}
	carried := map[string]wanted.Family{}
	for _, family := range wanted.Families(s.Node, s.Config.Network) {
		carried[family.String()] = family
	}
	mtus := map[string]int{}
	for _, l := range s.Wanted.Links {
		mtus[l.Name] = l.MTU
	}
	tunnels := make(map[tunnelKey]wireguard.Health, len(s.Tunnels))
	for _, t := range s.Tunnels {
		tunnels[tunnelKey{t.Device, t.PublicKey}] = t
	}
	all := make([]Peer, 0, len(s.Peers))
	for _, p := range s.Peers {
		out := Peer{Name: p.Node, Family: family(p.Subnet.Addr()), Address: p.Address, Subnet: p.Subnet, MAC: p.MAC, Backend: p.Backend,
			Device: deviceTo(p.Subnet, routes, taken), Repaired: f.Tally.OfPeer[p.Subnet], State: StateReady}
		if out.MTU = mtus[out.Device]; out.MTU == 0 {
			out.MTU = carried[out.Family].Underlay.MTU
		}
		out.addTunnel(p, tunnels)
		out.addProbe(p, probes)
		switch {
		case carried[out.Family].Underlay.Index == 0:
			out.State, out.Error = StateWaiting, "no underlay for "+out.Family
			out.Fix = "give the node an " + out.Family + " address; netd goes on by itself"
		case failed[p.Subnet] != "" || s.Failed[p.Subnet]:
			out.State, out.Error = StateFailed, failed[p.Subnet]
			out.Fix = fixOfFailures(s.Failures)
		case wrong[p.Subnet] != "":
			out.State, out.Error = StateDrift, wrong[p.Subnet]
			out.Fix = "nothing, netd repairs it; if it stays, find who changes it"
		case out.Probe != nil && !out.Probe.Answers && out.Probe.Sent > 0:
			out.State, out.Error = StateSilent, "its probe pod does not answer"
			out.Fix = "check that netd runs there with probe: true, and that no firewall between the nodes drops the tunnel"
		}
		out.Programmed = out.State == StateReady || out.State == StateSilent
		all = append(all, out)
	}
	return all
}

// tunnelKey names a peer of a WireGuard device.
type tunnelKey struct {
	device string
	key    wanted.Key
}

// addTunnel adds what WireGuard knows of the peer.
func (p *Peer) addTunnel(from wanted.Peer, tunnels map[tunnelKey]wireguard.Health) {
	if from.PublicKey == (wanted.Key{}) {
		return
	}
	key := from.PublicKey
	p.PublicKey = &key
	inDevice := key
	if wanted.IsLane(p.Device) {
		inDevice = from.Lane
	}
	if tunnel, found := tunnels[tunnelKey{p.Device, inDevice}]; found {
		p.Tunnel = &tunnel
	}
}

// deviceTo is what packets to a subnet leave by: the device of its own route,
// or of the one to the whole network that WireGuard has.
func deviceTo(subnet netip.Prefix, own map[netip.Prefix]string, routes []wanted.Route) string {
	if device := own[subnet]; device != "" {
		return device
	}
	for _, r := range routes {
		if !r.Via.IsValid() && r.Dst.Bits() < subnet.Bits() && r.Dst.Contains(subnet.Addr()) {
			return r.Link
		}
	}
	return ""
}

// addProbe adds how the peer's probe pod answers.
func (p *Peer) addProbe(from wanted.Peer, probes map[netip.Addr]probe.Result) {
	result, found := probes[probe.Address(from.Subnet)]
	if !found {
		return
	}
	p.Probe = &Probe{From: result.From, To: result.To, Answers: result.Answers,
		RTT: millis(result.RTT), Loss: result.Loss,
		Sent: result.Sent, Received: result.Received, Seen: moment(result.Seen)}
}
