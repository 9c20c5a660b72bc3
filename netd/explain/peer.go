package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/netd/status"
	"weft/netd/wanted"
	"weft/profiles"
)

// peer follows a packet to a pod of another node.
func (e *explainer) peer(p wanted.Peer) {
	backend := e.Snapshot.Config.Network.Backend
	e.say("a pod of %s, in %s", p.Node, p.Subnet)
	if e.target == p.Subnet {
		e.say("the pods of %s", p.Node)
	}
	var known status.Peer
	for _, candidate := range e.Report.Peers {
		if candidate.Subnet == p.Subnet {
			known = candidate
		}
	}
	switch route := e.route(p); {
	case backend.Canonical() == profiles.BackendNone:
		e.step("backend", "none: another router has to know %s; netd programs no way there", p.Subnet)
	case e.family.Underlay.Index == 0:
		e.step("waits", "%s has no underlay, so nothing is programmed", e.family)
		e.problem("no underlay for "+e.family.String(), "give the node an "+e.family.String()+" address; netd goes on by itself")
	case backend.Canonical() == profiles.BackendIPsec:
		e.step("tunnel", "ESP from %s to %s, by the kernel's policies (ip xfrm policy)", e.family.Underlay.Address, p.Address)
	case route == nil:
		e.problem("no route to "+p.Subnet.String()+" is wanted", "see netd status")
	case p.Plain || !e.ours(route.Link):
		e.step("link", "%s is on the link of %s: no tunnel", p.Address, route.Link)
	case p.PublicKey != (wanted.Key{}):
		e.wireguard(p, route.Link, known)
	default:
		e.vxlan(p, route.Link, backend)
	}
	if n := len(e.absent); n > 0 {
		list, is := e.absent[n-1], "is"
		if n > 1 {
			list, is = strings.Join(e.absent[:n-1], ", ")+" and "+list, "are"
		}
		e.problem(list+" "+is+" wanted but absent from the kernel: being repaired",
			"nothing, netd does it within a second; if it stays, see netd status")
	}
	e.mtu(known)
	e.hop(func(h Hop) bool { return known.Device == "" || h.Device == known.Device })
	e.rules(true)
	e.health(known)
}

// health tells what is measured and known of the peer.
func (e *explainer) health(known status.Peer) {
	switch {
	case known.Probe != nil && known.Probe.Answers:
		e.step("probe", "answered in %.2f ms, %.0f %% lost", known.Probe.RTT, 100*known.Probe.Loss)
	case known.Probe != nil:
		e.step("probe", "no answer, %.0f %% lost", 100*known.Probe.Loss)
	}
	if known.Error != "" && known.State != status.StateDrift { // that was told more exactly
		e.problem(known.Error, known.Fix)
	}
}

// route tells of the route to the peer that is wanted: its own, or the one to
// the whole network that WireGuard has.
func (e *explainer) route(p wanted.Peer) *wanted.Route {
	var best *wanted.Route
	for _, r := range e.Snapshot.Wanted.Taken() {
		holds := r.Dst.Bits() <= p.Subnet.Bits() && r.Dst.Contains(p.Subnet.Addr())
		if r.Link != "" && holds && (best == nil || r.Dst.Bits() > best.Dst.Bits()) {
			best = &r
		}
	}
	if best == nil {
		return nil
	}
	r := *best
	onlink := ""
	if r.OnLink {
		onlink = " onlink"
	}
	via := ""
	if r.Via.IsValid() {
		via = " via " + r.Via.String()
	}
	e.object("route", fmt.Sprintf("%s%s dev %s%s", r.Dst, via, r.Link, onlink),
		e.Kernel != nil && !slices.ContainsFunc(e.Kernel.Routes, func(h wanted.Route) bool { return wanted.CompareRoutes(h, r) == 0 }))
	return best
}

// object is a step that is an object of the kernel.
func (e *explainer) object(name, text string, missing bool) {
	if missing {
		e.absent = append(e.absent, name)
	}
	e.answer.Steps = append(e.answer.Steps, Step{Name: name, Text: text, Missing: missing})
}

// vxlan tells of neighbour, forwarding entry and outer packet.
func (e *explainer) vxlan(p wanted.Peer, device string, backend profiles.Backend) {
	neigh := wanted.Neighbour{Link: device, IP: p.Subnet.Addr(), MAC: p.MAC}
	e.object("neighbour", fmt.Sprintf("%s has MAC %s", neigh.IP, neigh.MAC), e.Kernel != nil && !slices.Contains(e.Kernel.Neighs, neigh))
	entry := wanted.FDBEntry{Link: device, MAC: p.MAC, Dst: p.Address}
	e.object("fdb", fmt.Sprintf("%s is behind %s", entry.MAC, entry.Dst), e.Kernel != nil && !slices.Contains(e.Kernel.FDB, entry))
	u := e.family.Underlay
	vni, port := backend.VNI, backend.Port
	if vni == 0 {
		vni = wanted.DefaultVNI
	}
	if port == 0 {
		port = wanted.DefaultPort
	}
	e.step("outer", "VXLAN %d, %s to %s, out of %s", vni, u.Address, netip.AddrPortFrom(p.Address, uint16(port)), u.Name)
	e.device(device)
}

// wireguard tells of the peer of the device.
func (e *explainer) wireguard(p wanted.Peer, device string, known status.Peer) {
	missing, key := false, p.PublicKey
	if wanted.IsLane(device) {
		key = p.Lane
	}
	if e.Kernel != nil {
		missing = !slices.ContainsFunc(e.Kernel.Peers, func(h wanted.WGPeer) bool {
			return h.Link == device && h.PublicKey == key && slices.Contains(h.AllowedIPs, p.Subnet)
		})
	}
	e.object("peer", fmt.Sprintf("key %s may have %s", key, p.Subnet), missing)
	endpoint := p.Address.String()
	if known.Tunnel != nil && known.Tunnel.Endpoint.IsValid() {
		endpoint = known.Tunnel.Endpoint.String()
	}
	e.step("outer", "WireGuard to %s", endpoint)
	switch {
	case known.Tunnel == nil:
	case known.Tunnel.Handshake.IsZero():
		e.step("handshake", "never")
		e.problem("no handshake with "+p.Node+" yet", "send something; if it stays so, check that UDP reaches "+endpoint+" and that both sides have the right keys")
	default:
		e.step("handshake", "%s", e.Report.Time.Sub(known.Tunnel.Handshake).Round(1e9).String()+" ago")
	}
	e.device(device)
}

// device tells if the device itself is not there.
func (e *explainer) device(name string) {
	if e.Kernel == nil {
		return
	}
	for _, l := range e.Kernel.Links {
		if l.Name == name {
			if !l.Up {
				e.problem("device "+name+" is down", "nothing, netd brings it up within a second")
			}
			return
		}
	}
	e.absent = append(e.absent, "device "+name)
}

// mtu tells the largest packet that fits.
func (e *explainer) mtu(known status.Peer) {
	if known.MTU == 0 {
		return
	}
	device := known.Device
	if device == "" {
		device = e.family.Underlay.Name
	}
	text := fmt.Sprintf("%d on %s", known.MTU, device)
	if e.Report.MTU != 0 && e.Report.MTU != known.MTU {
		text += fmt.Sprintf("; pods use %d, the smallest of all families", e.Report.MTU)
	}
	e.step("mtu", "%s", text)
}
