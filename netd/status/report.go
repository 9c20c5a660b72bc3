// Package status tells how netd and the network stand: as JSON, as Prometheus
// metrics, as tables for people, as health checks, and to the service
// manager.
//
// It tells what others found out; it decides nothing, and nothing secret is
// in it.
package status

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"weft/netd/diff"
	"weft/netd/probe"
	"weft/netd/reconcile"
	"weft/netd/store"
	"weft/netd/wanted"
)

// Facts are what a report is made of.
type Facts struct {
	// Version is netd's, Now the time of the report.
	Version string
	Now     time.Time
	// Snapshot is what the reconciler knows, Tally what it has done.
	Snapshot reconcile.Snapshot
	Tally    Tally
	// Store is what is known of the store.
	Store StoreFacts
	// Probes are what the prober found out, ProbeError what keeps it from it.
	Probes     []probe.Result
	ProbeError error
	// Parts are what is wrong with the parts of netd that run beside the
	// reconciler, such as the engine of a backend.
	Parts []error
	// Files are how the files for others stand, Reload how the last reading of
	// the configuration went.
	Files  FileFacts
	Reload ReloadFacts
	// Kernel is what the kernel holds of netd's, if it was read, KernelError
	// why it could not be.
	Kernel      *wanted.State
	KernelError error
}

// A Report is how things stand; it is what /status answers.
type Report struct {
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	Node    Node      `json:"node"`
	// Ready says that everything wanted is in the kernel, Reason what is not.
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
	// Fix says what to do about Reason.
	Fix string `json:"fix,omitempty"`
	// Alarms are dangers that concern this node's identity.
	Alarms []string `json:"alarms,omitempty"`
	// Backend carries packets between nodes.
	Backend Backend `json:"backend"`
	// Migration is how far the network is that changes its backend; nil when
	// all nodes have the same.
	Migration *reconcile.Migration `json:"migration,omitempty"`
	// Former are addresses of this node's devices that are in the network but
	// not in its subnets: pods there are cut off.
	Former []Former `json:"former,omitempty"`
	// Underlay carries the tunnels, one a family.
	Underlay []Underlay `json:"underlay"`
	// MTU is what pods may use; MTUs are those of the tunnel devices.
	MTU  int            `json:"mtu"`
	MTUs map[string]int `json:"mtus"`
	// PodsMTU is the largest MTU that pods were given since the start, if it
	// is larger than the one now.
	PodsMTU int `json:"podsMTU,omitempty"`
	// Peers are the peers, one entry a family.
	Peers    []Peer           `json:"peers"`
	Refusals []wanted.Refusal `json:"refusals"`
	// Store is the state of the store.
	Store Store `json:"store"`
	// Firewall is the state of the packet filter.
	Firewall Firewall `json:"firewall"`
	// Files are how subnet.env and the CNI configuration stand.
	Files Files `json:"files"`
	// Reload is how reading the configuration again went the last time.
	Reload *Reload `json:"reload,omitempty"`
	// Parts are what is wrong with other parts of netd.
	Parts []string `json:"parts,omitempty"`
	// Counters count what was done since the start.
	Counters Counters `json:"counters"`
	// LastWork is the last pass that changed the kernel, or else the first.
	LastWork Work `json:"lastWork"`
	// ProbeError is what keeps netd from probing.
	ProbeError string `json:"probeError,omitempty"`
	// Rotation says what the replacing of this node's WireGuard key waits for.
	Rotation string `json:"rotation,omitempty"`
	// Kernel is what the kernel holds of netd's, read when asked, and Drift
	// what has to change for it to be as wanted, the first of it.
	Kernel *wanted.State `json:"kernel,omitempty"`
	Drift  []string      `json:"drift,omitempty"`
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

// Former is an address of a subnet that was this node's before.
type Former struct {
	Device  string     `json:"device"`
	Address netip.Addr `json:"address"`
}

// Backend is how packets get to other nodes.
type Backend struct {
	Type    string   `json:"type"`
	Devices []string `json:"devices,omitempty"`
}

// Underlay is the device that carries one family.
type Underlay struct {
	Family  string     `json:"family"`
	Device  string     `json:"device,omitempty"`
	Address netip.Addr `json:"address"`
	MTU     int        `json:"mtu"`
}

// Firewall is the packet filter.
type Firewall struct {
	Mode  string `json:"mode"`
	Error string `json:"error,omitempty"`
}

// Counters are [reconcile.Counters] and [Tally].
type Counters struct {
	Passes          int            `json:"passes"`
	PassSeconds     float64        `json:"passSeconds"`
	Reads           int            `json:"reads"`
	Changes         int            `json:"changes"`
	Repairs         int            `json:"repairs"`
	RepairsOf       map[string]int `json:"repairsOf"`
	FirewallRepairs int            `json:"firewallRepairs"`
	LostEvents      int            `json:"lostEvents"`
	LastRepair      *time.Time     `json:"lastRepair,omitempty"`
}

// Work is [reconcile.Work].
type Work struct {
	Changes    int     `json:"changes"`
	WallMillis float64 `json:"wallMillis"`
	CPUMillis  float64 `json:"cpuMillis"`
}

// maxDrift limits how much drift a report lists: one device that is gone
// takes thousands of routes with it.
const maxDrift = 20

// Build makes a report of facts.
func Build(f Facts) Report {
	s := f.Snapshot
	r := Report{
		Version: f.Version,
		Time:    f.Now,
		Node:    Node{Name: s.Config.Node.Name, UUID: s.Config.Node.UUID, MAC: s.Node.MAC, Subnets: subnets(s)},
		Backend: Backend{Type: s.Config.Network.Backend.Canonical()},
		MTU:     s.MTU(),
		MTUs:    map[string]int{},
		Refusals: append([]wanted.Refusal{},
			s.Refusals...),
		Store:    storeOf(f),
		Firewall: Firewall{Mode: s.Config.Network.Firewall.Mode, Error: text(s.FirewallError)},
		Files:    filesOf(f.Files),
		Reload:   reloadOf(f.Reload),
		Counters: Counters{
			Passes: s.Counters.Passes, PassSeconds: f.Tally.Took.Seconds(), Reads: s.Counters.Reads,
			Changes: s.Counters.Changes, Repairs: s.Counters.Repairs, RepairsOf: f.Tally.objects(),
			FirewallRepairs: s.Counters.FirewallRepairs, LostEvents: s.Counters.Lost, LastRepair: moment(s.Counters.LastRepair),
		},
		LastWork:    Work{Changes: s.LastWork.Changes, WallMillis: millis(s.LastWork.Wall), CPUMillis: millis(s.LastWork.CPU)},
		ProbeError:  text(f.ProbeError),
		Rotation:    s.Rotation,
		PodsMTU:     s.PodsMTU,
		Migration:   s.Migration(),
		Kernel:      f.Kernel,
		KernelError: text(f.KernelError),
	}
	for _, family := range wanted.Families(s.Node, s.Config.Network) {
		r.Underlay = append(r.Underlay, Underlay{Family: family.String(), Device: family.Underlay.Name,
			Address: family.Underlay.Address, MTU: family.Underlay.MTU})
	}
	for _, f := range s.Former {
		r.Former = append(r.Former, Former(f))
	}
	for _, l := range s.Wanted.Links {
		r.MTUs[l.Name] = l.MTU
		r.Backend.Devices = append(r.Backend.Devices, l.Name)
	}
	for _, err := range f.Parts {
		r.Parts = append(r.Parts, err.Error())
	}
	var drift []diff.Change
	if f.Kernel != nil {
		drift = diff.Diff(*f.Kernel, s.Wanted)
		for _, c := range drift[:min(len(drift), maxDrift)] {
			r.Drift = append(r.Drift, c.String())
		}
	}
	r.Peers = peers(f, drift)
	r.Alarms = alarms(s.Refusals)
	for _, err := range []error{f.Store.OwnError, f.Store.Error, s.StoreError} {
		if errors.Is(err, store.ErrTwin) {
			r.Alarms = append(r.Alarms, err.Error())
			break
		}
	}
	r.Ready, r.Reason, r.Fix = ready(f, r, len(drift))
	return r
}

// subnets are this node's, as they are used.
func subnets(s reconcile.Snapshot) []netip.Prefix {
	var all []netip.Prefix
	for _, p := range []netip.Prefix{s.Node.IPv4, s.Node.IPv6} {
		if p.IsValid() {
			all = append(all, p)
		}
	}
	if all == nil {
		return s.Config.Node.Subnets
	}
	return all
}

// alarms are the refusals that say that this node is there twice, one for
// each other node.
func alarms(refusals []wanted.Refusal) []string {
	var all []string
	said := map[string]bool{}
	for _, r := range refusals {
		if r.Kind == wanted.RefusedClone && !said[r.Node+r.Family] {
			said[r.Node+"IPv4"], said[r.Node+"IPv6"] = true, true
			all = append(all, r.Reason)
		}
	}
	return all
}

// ready reports whether all is well, or what is not and what to do about it.
func ready(f Facts, r Report, drift int) (ok bool, reason, fix string) {
	s := f.Snapshot
	if ok, reason := s.Ready(); !ok {
		reason, fix = wayOut(reason)
		if fix == "" {
			fix = fixOf(s)
		}
		return false, reason, fix
	}
	switch {
	case f.Files.Error != nil:
		return false, filesReason(f.Files.Error.Error()), fixFiles
	case r.Store.Kept:
		return false, join("store: it has not answered yet; the network is as it was last known", r.Store.Error),
			"check that the store can be reached; pods are reached meanwhile"
	case f.Store.OwnError != nil && !errors.Is(f.Store.OwnError, store.ErrTwin): // that is an alarm
		reason, fix = wayOut("store: own lease: " + strings.TrimPrefix(f.Store.OwnError.Error(), "own lease: "))
		if fix == "" {
			fix = "see the log of netd; it tries again by itself"
		}
		return false, reason + "; peers may not know this node", fix
	case len(r.Parts) > 0:
		return false, r.Parts[0], "see the log of netd; it tries again by itself"
	case f.KernelError != nil:
		return false, "kernel: " + f.KernelError.Error(), "see the log of netd"
	case drift > 0:
		return false, fmt.Sprintf("kernel: %d of what is wanted is not so, first: %s", drift, r.Drift[0]),
			"nothing, netd repairs it within a second; if it stays, find who changes it"
	case len(r.Former) > 0:
		former := r.Former[0]
		return false, fmt.Sprintf("pods: %s has address %s, which is in none of this node's subnets now: no peer reaches the pods there", former.Device, former.Address),
			fmt.Sprintf("delete %s and start the pods anew, or the node", former.Device)
	case len(r.Alarms) > 0:
		for _, refusal := range s.Refusals {
			if refusal.Kind == wanted.RefusedClone {
				fix = refusal.Fix
			}
		}
		reason, way := wayOut("identity: " + r.Alarms[0])
		return false, reason, cmp.Or(fix, way)
	}
	return true, "", ""
}

// fixOf says what to do about what keeps a node from being ready.
func fixOf(s reconcile.Snapshot) string {
	switch {
	case !s.StoreAnswered:
		return "check that the store can be reached"
	case len(s.Waiting) > 0:
		return "give the node its address (node file, DHCP, router advertisements); netd goes on by itself"
	case len(s.Failures) > 0:
		return fixOfFailures(s.Failures)
	case s.FirewallError != nil:
		return fixOfFirewall(s)
	}
	for _, r := range s.Refusals {
		if r.Kind == wanted.RefusedDevice {
			return r.Fix
		}
	}
	return "see the log of netd"
}

// wayOut parts what an error says from the way out that it names.
func wayOut(text string) (reason, fix string) {
	reason, fix, _ = strings.Cut(text, "; fix: ")
	return reason, fix
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
