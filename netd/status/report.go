// Package status tells how netd and the network stand: as JSON, as Prometheus
// metrics, as a table for people, as health checks, and to the service
// manager.
//
// It only tells. Nothing can be changed through it, and nothing secret is in
// it.
package status

import (
	"net/netip"
	"time"

	"weft/netd/probe"
	"weft/netd/reconcile"
	"weft/netd/wanted"
)

// A Report is how things stand; it is what /status answers.
type Report struct {
	Node Node `json:"node"`
	// Ready says that everything wanted is in the kernel, Reason what is not.
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
	// Fix says what to do about Reason.
	Fix string `json:"fix,omitempty"`
	// Underlay carries the tunnels, one a family.
	Underlay []Underlay `json:"underlay"`
	// MTU is what pods may use; MTUs are those of the tunnel devices.
	MTU  int            `json:"mtu"`
	MTUs map[string]int `json:"mtus"`
	// Peers are the peers, one entry a family.
	Peers    []Peer           `json:"peers"`
	Refusals []wanted.Refusal `json:"refusals"`
	// Store says whether the store has answered, and what is wrong with it.
	Store Store `json:"store"`
	// Counters count what was done since the start.
	Counters Counters `json:"counters"`
	// LastWork is the last pass that changed the kernel, or else the first.
	LastWork Work `json:"lastWork"`
	// ProbeError is what keeps netd from probing.
	ProbeError string `json:"probeError,omitempty"`
	// Kernel is what the kernel holds of netd's, read when asked.
	Kernel *wanted.State `json:"kernel,omitempty"`
	// KernelError is why Kernel is missing.
	KernelError string `json:"kernelError,omitempty"`
}

// Node is this node.
type Node struct {
	Name    string         `json:"name"`
	UUID    string         `json:"uuid,omitempty"`
	MAC     wanted.MAC     `json:"mac"`
	Subnets []netip.Prefix `json:"subnets"`
}

// Underlay is the device that carries one family.
type Underlay struct {
	Family  string     `json:"family"`
	Device  string     `json:"device,omitempty"`
	Address netip.Addr `json:"address"`
	MTU     int        `json:"mtu"`
}

// Peer is another node in one family.
type Peer struct {
	Name       string       `json:"name"`
	Family     string       `json:"family"`
	Address    netip.Addr   `json:"address"`
	Subnet     netip.Prefix `json:"subnet"`
	MAC        wanted.MAC   `json:"mac"`
	Programmed bool         `json:"programmed"`
	Probe      *Probe       `json:"probe,omitempty"`
}

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

// Store is the state of the store.
type Store struct {
	Answered bool   `json:"answered"`
	Error    string `json:"error,omitempty"`
}

// Counters are [reconcile.Counters].
type Counters struct {
	Passes          int        `json:"passes"`
	Reads           int        `json:"reads"`
	Changes         int        `json:"changes"`
	Repairs         int        `json:"repairs"`
	FirewallRepairs int        `json:"firewallRepairs"`
	LostEvents      int        `json:"lostEvents"`
	LastRepair      *time.Time `json:"lastRepair,omitempty"`
}

// Work is [reconcile.Work].
type Work struct {
	Changes    int     `json:"changes"`
	WallMillis float64 `json:"wallMillis"`
	CPUMillis  float64 `json:"cpuMillis"`
}

// Build makes a report of what the reconciler and the prober know.
func Build(s reconcile.Snapshot, probes []probe.Result, probeError error) Report {
	ready, reason := s.Ready()
	r := Report{
		Node:     Node{Name: s.Config.Node.Name, UUID: s.Config.Node.UUID, MAC: s.Node.MAC, Subnets: s.Config.Node.Subnets},
		Ready:    ready,
		Reason:   reason,
		Fix:      fix(s, ready),
		MTU:      s.MTU(),
		MTUs:     map[string]int{},
		Peers:    make([]Peer, 0, len(s.Peers)),
		Refusals: append([]wanted.Refusal{}, s.Refusals...),
		Store:    Store{Answered: s.StoreAnswered, Error: text(s.StoreError)},
		Counters: Counters{
			Passes: s.Counters.Passes, Reads: s.Counters.Reads, Changes: s.Counters.Changes,
			Repairs: s.Counters.Repairs, FirewallRepairs: s.Counters.FirewallRepairs,
			LostEvents: s.Counters.Lost, LastRepair: moment(s.Counters.LastRepair),
		},
		LastWork:   Work{Changes: s.LastWork.Changes, WallMillis: millis(s.LastWork.Wall), CPUMillis: millis(s.LastWork.CPU)},
		ProbeError: text(probeError),
	}
	for _, f := range wanted.Families(s.Node, s.Config.Network) {
		r.Underlay = append(r.Underlay, Underlay{Family: f.String(), Device: f.Underlay.Name,
			Address: f.Underlay.Address, MTU: f.Underlay.MTU})
	}
	for _, l := range s.Wanted.Links {
		r.MTUs[l.Name] = l.MTU
	}
	byNode := make(map[netip.Addr]probe.Result, len(probes))
	for _, p := range probes {
		byNode[p.To] = p
	}
	for _, p := range s.Peers {
		r.Peers = append(r.Peers, peer(p, s.Failed[p.Subnet] || waits(r.Underlay, p), byNode))
	}
	return r
}

func peer(p wanted.Peer, failed bool, probes map[netip.Addr]probe.Result) Peer {
	out := Peer{Name: p.Node, Family: family(p.Subnet.Addr()), Address: p.Address, Subnet: p.Subnet,
		MAC: p.MAC, Programmed: !failed}
	if result, found := probes[probe.Address(p.Subnet)]; found {
		out.Probe = &Probe{From: result.From, To: result.To, Answers: result.Answers,
			RTT: millis(result.RTT), Loss: result.Loss,
			Sent: result.Sent, Received: result.Received, Seen: moment(result.Seen)}
	}
	return out
}

// waits reports whether a peer's family has no underlay, so that nothing of
// it is programmed.
func waits(underlays []Underlay, p wanted.Peer) bool {
	for _, u := range underlays {
		if u.Family == family(p.Subnet.Addr()) {
			return u.Device == ""
		}
	}
	return true
}

// fix says what to do about what keeps a node from being ready.
func fix(s reconcile.Snapshot, ready bool) string {
	switch {
	case ready:
		return ""
	case !s.StoreAnswered:
		return "check that the store can be reached"
	case len(s.Waiting) > 0:
		return "give the node its address (node file, DHCP, router advertisements); netd goes on by itself"
	case len(s.Failures) > 0:
		return "check that the kernel has what the profile's contract names; netd tries again by itself"
	case s.FirewallError != nil:
		return "check that the kernel has nf_tables with masquerade (nft_masq, nft_chain_nat)"
	}
	for _, r := range s.Refusals {
		if r.Node == s.Node.Name {
			return r.Fix
		}
	}
	return "see the log of netd"
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// moment is t, or nil for no time at all.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
