// Package explain says where a packet goes from this node, and why: whose
// address it is, what of the network carries it, and what the kernel lacks.
//
// It is a plain function over what netd knows, what the kernel holds and what
// the packet filter should hold. It sends nothing and asks nothing.
package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/netd/cni"
	"weft/netd/firewall"
	"weft/netd/reconcile"
	"weft/netd/status"
	"weft/netd/wanted"
)

// A Situation is what an answer is made of.
type Situation struct {
	// Snapshot is what the reconciler knows, Report what is known of peers.
	Snapshot reconcile.Snapshot
	Report   status.Report
	// Kernel is what the kernel holds of netd's; nil when it could not be
	// read.
	Kernel *wanted.State
	// Hop is where the kernel says it would send the packet; nil when it was
	// not asked, and HopError why it has no answer.
	Hop      *Hop
	HopError string
}

// A Hop is the kernel's own answer to where a packet goes (ip route get).
type Hop struct {
	Device string     `json:"device"`
	Via    netip.Addr `json:"via,omitzero"`
	Source netip.Addr `json:"source,omitzero"`
	// Table is the routing table it was found in.
	Table int `json:"table"`
	// Local says that the packet is for this node.
	Local bool `json:"local,omitempty"`
}

// mainTable is the table netd's routes are in (RT_TABLE_MAIN), localTable the
// kernel's own (RT_TABLE_LOCAL).
const (
	mainTable  = 254
	localTable = 255
)

// An Answer is where a packet goes, and why.
type Answer struct {
	// Target is what was asked for, Verdict what it is, in a sentence.
	Target  string `json:"target"`
	Verdict string `json:"verdict"`
	// Steps are what carries the packet, in its order.
	Steps []Step `json:"steps"`
	// Problems are what is wrong with the way, each with what to do about it.
	Problems []Problem `json:"problems,omitempty"`
}

// A Step is one thing that decides about the packet.
type Step struct {
	// Name is what it is, such as route; Text what it says.
	Name string `json:"name"`
	Text string `json:"text"`
	// Missing says that it is wanted, but not in the kernel.
	Missing bool `json:"missing,omitempty"`
}

// Problem is something wrong with the way of a packet.
type Problem struct {
	Text string `json:"text"`
	Fix  string `json:"fix"`
}

// MaxTarget is the longest text that can be asked for, in bytes: an IPv6
// address with a prefix length takes 49.
const MaxTarget = 64

// Parse reads what is asked for: an address, or a subnet of pods.
func Parse(text string) (netip.Prefix, error) {
	if len(text) > MaxTarget {
		return netip.Prefix{}, fmt.Errorf("what to explain has %d characters; write an address such as 10.244.2.7 or a subnet such as 10.244.2.0/24", len(text))
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is no address such as 10.244.2.7 and no subnet such as 10.244.2.0/24", text)
	}
	return p.Masked(), nil
}

// Explain says where a packet to target goes.
func Explain(target netip.Prefix, s Situation) Answer {
	e := &explainer{Situation: s, target: target, to: target.Addr()}
	e.answer.Target = target.String()
	if target.IsSingleIP() {
		e.answer.Target = e.to.String()
	}
	e.explain()
	return e.answer
}

// explainer makes one answer.
type explainer struct {
	Situation
	target netip.Prefix
	to     netip.Addr
	family wanted.Family
	known  bool     // the family is one of the network
	absent []string // what is wanted and not in the kernel
	answer Answer
}

func (e *explainer) say(format string, a ...any) { e.answer.Verdict = fmt.Sprintf(format, a...) }

func (e *explainer) step(name, format string, a ...any) {
	e.answer.Steps = append(e.answer.Steps, Step{Name: name, Text: fmt.Sprintf(format, a...)})
}

func (e *explainer) problem(text, fix string) {
	e.answer.Problems = append(e.answer.Problems, Problem{text, fix})
}

func (e *explainer) explain() {
	for _, f := range wanted.Families(e.Snapshot.Node, e.Snapshot.Config.Network) {
		if f.IPv6 == e.to.Is6() {
			e.family, e.known = f, true
		}
	}
	for _, services := range e.Snapshot.Config.Network.Services {
		if services.Contains(e.to) {
			e.service(services)
			return
		}
	}
	switch {
	case !e.known || !e.family.Network.Contains(e.to):
		e.outside()
	case e.target.Bits() < e.family.Own.Bits() && e.target.Overlaps(e.family.Network) && e.target.Bits() <= e.family.Network.Bits():
		e.network()
	case e.family.Own.Contains(e.to):
		e.own()
	default:
		e.others()
	}
}

// service is an address that somebody else turns into a pod's.
func (e *explainer) service(services netip.Prefix) {
	e.say("a service address (%s); kube-proxy, or what stands in for it, turns it into a pod's before it is routed", services)
	e.step("netd", "has no part in services; ask for the address of a pod behind it (kubectl get endpointslices)")
}

// network is the whole range of pods.
func (e *explainer) network() {
	e.say("the pod network: %d peers of %s, and this node's %s", len(e.peers()), e.family, e.family.Own)
	for _, p := range e.peers()[:min(len(e.peers()), 20)] {
		e.step("peer", "%s has %s, by %s", p.Name, p.Subnet, p.Device)
	}
}

func (e *explainer) peers() []status.Peer {
	var all []status.Peer
	for _, p := range e.Report.Peers {
		if p.Family == e.family.String() {
			all = append(all, p)
		}
	}
	return all
}

// own is an address of this node's own pods.
func (e *explainer) own() {
	own := e.family.Own
	switch e.to {
	case own.Masked().Addr(), cni.Gateway(own):
		e.say("this node itself: the address of its tunnel device")
		if e.to == cni.Gateway(own) {
			e.say("this node itself: the gateway of its pods, on bridge %s", cni.Bridge)
		}
		e.hop(func(h Hop) bool { return h.Local || h.Device == cni.Bridge })
		return
	case cni.ProbeAddress(own):
		e.say("netd's probe pod on this node")
	default:
		e.say("a pod of this node, in %s", own)
	}
	e.step("delivery", "by bridge %s, without a tunnel; the pod has to be there (ip neigh show dev %s)", cni.Bridge, cni.Bridge)
	e.guard()
	e.hop(func(h Hop) bool { return h.Device == cni.Bridge || h.Local })
	e.rules(false)
	if e.HopError != "" {
		e.problem("there is no bridge "+cni.Bridge+": no pod has been started on this node since it booted",
			"start one; the container runtime makes the bridge for it")
	}
}

// guard tells of the route that a packet ends on as long as there is no
// better one.
func (e *explainer) guard() {
	for _, r := range e.Snapshot.Wanted.Routes {
		if r.Unreachable && r.Dst.Contains(e.to) {
			e.object("otherwise", fmt.Sprintf("%s is unreachable: a packet ends here, and never leaves by the default route", r.Dst),
				e.Kernel != nil && !slices.Contains(e.Kernel.Routes, r))
		}
	}
}

// others is an address of the network that is not this node's.
func (e *explainer) others() {
	for _, p := range e.Snapshot.Peers {
		if p.Subnet.Contains(e.to) {
			e.peer(p)
			return
		}
	}
	e.say("inside the pod network %s, but no node that is honoured has it", e.family.Network)
	e.hop(nil)
	if e.HopError == "" {
		e.rules(true)
	}
	if len(e.refused()) == 0 {
		e.problem("no lease has a subnet with it",
			"check the address; if a node should have it, look there: netd status")
	}
}

// refused tells of the refused leases that would own the address.
func (e *explainer) refused() []wanted.Refusal {
	var all []wanted.Refusal
	for _, r := range e.Snapshot.Refusals {
		if r.Subnet.IsValid() && r.Subnet.Masked().Contains(e.to) {
			all = append(all, r)
			e.problem(fmt.Sprintf("the lease of %s for %s is refused: %s", r.Node, r.Subnet, r.Reason), r.Fix)
		}
	}
	return all
}

// outside is an address that is not the network's.
func (e *explainer) outside() {
	for _, p := range e.Report.Peers {
		if p.Address == e.to {
			e.say("node %s itself, on the underlay: no tunnel", p.Name)
		}
	}
	if e.answer.Verdict == "" {
		e.say("outside the pod network; the host's own routes decide")
	}
	e.hop(func(h Hop) bool { return h.Local || !e.ours(h.Device) })
	if e.HopError == "" {
		e.rules(true)
	} else {
		e.problem("this node has no route to it", "give the node a default route, or a route to it")
	}
	e.refused()
	if !e.known && len(e.Report.Node.Subnets) > 0 {
		family := wanted.Family{IPv6: e.to.Is6()}
		e.problem("pods have no "+family.String()+" here, so only this node itself can send to it",
			"for pods with "+family.String()+", add a range to network.pods")
	}
}

// ours reports whether a device is netd's.
func (e *explainer) ours(device string) bool {
	return slices.Contains(e.Report.Backend.Devices, device)
}

// hop tells where the kernel sends the packet; right says whether that is as
// it should be.
func (e *explainer) hop(right func(Hop) bool) {
	switch {
	case e.HopError != "":
		e.step("kernel", "has no route: %s", e.HopError)
	case e.Hop == nil:
	default:
		h := *e.Hop
		text := "sends it out of " + h.Device
		if h.Via.IsValid() {
			text += " to " + h.Via.String()
		}
		if h.Local {
			text = "delivers it here, on " + h.Device
		}
		if h.Source.IsValid() {
			text += ", from " + h.Source.String()
		}
		if h.Table != 0 && h.Table != mainTable && h.Table != localTable {
			text += fmt.Sprintf(", by table %d", h.Table)
		}
		e.step("kernel", "%s", text)
		if right != nil && !right(h) && len(e.answer.Problems) == 0 {
			e.problem("the kernel sends it elsewhere: "+strings.TrimPrefix(text, "sends it "),
				"look for a route or rule of somebody else: ip rule; ip route get "+e.to.String())
		}
	}
}

// rules tells what netd's rules do with the packet, from a pod here if asked
// for, and from this node.
func (e *explainer) rules(pods bool) {
	for _, table := range firewall.Wanted(e.Snapshot.Node, e.Snapshot.Config.Network).Tables {
		if table.IPv6 != e.to.Is6() || table.Hold || !e.known {
			continue
		}
		if pod := e.family.Own.Addr().Next().Next(); pods {
			e.step("from pods", "%s; %s", address(table.Postrouting, pod, e.to), forward(table.Forward, pod, e.to))
		}
		if source := e.source(); source.IsValid() {
			e.step("from node", "%s", address(table.Postrouting, source, e.to))
		}
	}
}

// source is what this node itself sends from.
func (e *explainer) source() netip.Addr {
	if e.Hop != nil && e.Hop.Source.IsValid() {
		return e.Hop.Source
	}
	return e.family.Underlay.Address
}
