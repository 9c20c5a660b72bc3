// Package ipsec keeps the legacy backend ipsec: XFRM policies in the kernel
// say which pods' packets are encrypted, and strongSwan's charon agrees on the
// keys with the peers.
//
// What should be is a plain function ([For]); comparing is one too. The
// [Engine] is the edge: it knows the kernel, charon's process and its control
// socket (see package vici).
//
// As in flannel (pkg/backend/ipsec), charon is told to install no policies:
// they are netd's own, so they can be kept in order, and outlive both netd and
// charon. The network is IPv4 only.
package ipsec

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"

	"weft/netd/vici"
	"weft/netd/wanted"
	"weft/profiles"
)

// ReqID marks netd's policies and security associations in the kernel. It is
// flannel's (pkg/backend/ipsec, defaultReqID); it is not on the wire.
const ReqID = 11

// proposals are what IKE packets are protected with: flannel's, and a modern
// one for a peer that cannot do it.
var proposals = []string{"aes256-sha256-modp4096", "aes256gcm16-prfsha256-ecp256"}

// A Want is what IPsec of a node should be. Its zero value is none at all.
type Want struct {
	// Local is where this node is reached, Subnet where its pods are.
	Local  netip.Addr
	Subnet netip.Prefix
	// Peers are sorted by subnet.
	Peers []Peer
	// ESP is what ESP packets are protected with, as strongSwan spells it.
	ESP string
	// Encapsulate sends ESP in UDP even where no NAT is seen.
	Encapsulate bool
	// PSKFile is the file with the pre-shared key.
	PSKFile string
	// Hold leaves what is there of other peers: the peers are those of an
	// earlier time, and somebody may have joined since.
	Hold bool
}

// A Peer is another node.
type Peer struct {
	Node    string
	Subnet  netip.Prefix
	Address netip.Addr
}

// For is what network asks of node. It is the zero value when the backend is
// another, or the node has no IPv4 underlay.
func For(node wanted.Node, network profiles.Network, peers []wanted.Peer) Want {
	if network.Backend.Type != profiles.BackendIPsec || !node.Underlay.IPv4.Address.IsValid() || !node.IPv4.IsValid() {
		return Want{}
	}
	w := Want{
		Local:       node.Underlay.IPv4.Address,
		Subnet:      node.IPv4.Masked(),
		ESP:         cmp.Or(network.Backend.ESPProposal, profiles.DefaultESPProposal),
		Encapsulate: network.Backend.UDPEncapsulation,
		PSKFile:     network.Backend.PSKFile,
	}
	for _, p := range peers {
		if p.Subnet.Addr().Is4() {
			w.Peers = append(w.Peers, Peer{p.Node, p.Subnet, p.Address})
		}
	}
	slices.SortFunc(w.Peers, func(a, b Peer) int { return a.Subnet.Addr().Compare(b.Subnet.Addr()) })
	return w
}

// IsZero reports whether no IPsec is wanted.
func (w Want) IsZero() bool { return !w.Local.IsValid() }

// A Connection is what charon is to know of one peer.
type Connection struct {
	// Name is different for every connection that differs in anything, so
	// that charon's list of names tells all that netd has to compare.
	Name string
	Peer Peer
}

// connectionPrefix begins the name of every connection of netd's.
const connectionPrefix = "weft-"

// Connections are the connections wanted, one for each peer in their order.
func (w Want) Connections() []Connection {
	list := make([]Connection, len(w.Peers))
	var text []byte
	for i, p := range w.Peers {
		// Names of another make would have charon load all of them again after
		// an update of netd.
		text = w.Local.AppendTo(append(text[:0], "1 "...))
		text = w.Subnet.AppendTo(append(text, ' '))
		text = p.Address.AppendTo(append(text, ' '))
		text = p.Subnet.AppendTo(append(text, ' '))
		text = append(append(append(text, ' '), w.ESP...), ' ')
		sum := sha256.Sum256(strconv.AppendBool(text, w.Encapsulate))
		text = p.Subnet.AppendTo(append(text[:0], connectionPrefix...))
		text = hex.AppendEncode(append(text, '-'), sum[:4])
		list[i] = Connection{Name: string(text), Peer: p}
	}
	return list
}

// Settings returns what charon is told of a connection, as of swanctl.conf(5),
// section connections. What all connections have in common is made once.
func (w Want) Settings() func(Connection) *vici.Section {
	child := new(vici.Section).
		List("local_ts", w.Subnet.String()).
		List("esp_proposals", w.ESP).
		Set("mode", "tunnel").
		Set("reqid", strconv.Itoa(ReqID)).
		Set("policies", "no"). // they are netd's
		Set("rekey_time", "1h").
		// netd starts what is missing. What dies without a word while netd is
		// not there is started by charon itself.
		Set("start_action", "none").
		Set("dpd_action", "restart")
	connection := new(vici.Section).
		Set("version", "2").
		List("local_addrs", w.Local.String()).
		List("proposals", proposals...).
		Set("encap", yesNo(w.Encapsulate)).
		// Nodes do not move, and what this brings would send IKE to port 4500.
		Set("mobike", "no").
		Set("dpd_delay", "30s").
		Set("keyingtries", "0"). // for ever
		Add("local", new(vici.Section).Set("auth", "psk")).
		Add("remote", new(vici.Section).Set("auth", "psk"))
	return func(c Connection) *vici.Section {
		own := child.Clone().List("remote_ts", c.Peer.Subnet.String())
		return connection.Clone().
			List("remote_addrs", c.Peer.Address.String()).
			Add("children", new(vici.Section).Add(c.Name, own))
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Direction is where a policy applies, by the kernel's numbers
// (include/uapi/linux/xfrm.h, XFRM_POLICY_IN and so on).
type Direction uint8

// The directions of policies.
const (
	In Direction = iota
	Out
	Forward
)

// String is the direction as ip xfrm policy has it.
func (d Direction) String() string {
	return [...]string{"in", "out", "fwd"}[min(d, Forward)]
}

// A Policy says that packets between two prefixes are in a tunnel between two
// hosts, or else are dropped.
type Policy struct {
	Direction Direction
	// Src and Dst choose packets.
	Src, Dst netip.Prefix
	// From and To are the ends of the tunnel.
	From, To netip.Addr
	// Index is the kernel's number for one that was found there.
	Index uint32
}

// Policies are the kernel's policies wanted: for each peer one for what is
// sent, and two for what comes, for the node itself and for its pods.
func (w Want) Policies() []Policy {
	list := make([]Policy, 0, 3*len(w.Peers))
	for _, p := range w.Peers {
		list = append(list, w.policy(p, Out), w.policy(p, In), w.policy(p, Forward))
	}
	return list
}

// policy is the one for a peer and a direction.
func (w Want) policy(p Peer, d Direction) Policy {
	if d == Out {
		return Policy{Direction: d, Src: w.Subnet, Dst: p.Subnet, From: w.Local, To: p.Address}
	}
	return Policy{Direction: d, Src: p.Subnet, Dst: w.Subnet, From: p.Address, To: w.Local}
}

// Joined are the peers of w that were not there before, if joining is all
// that makes w another than before.
func (w Want) Joined(before Want) (joined []Peer, only bool) {
	was := before.Peers
	if !before.sameNode(w) {
		return nil, false
	}
	for _, p := range w.Peers {
		if len(was) > 0 && was[0] == p {
			was = was[1:]
		} else {
			joined = append(joined, p)
		}
	}
	return joined, len(was) == 0
}

// sameNode reports whether two differ in their peers only.
func (w Want) sameNode(other Want) bool {
	w.Peers, other.Peers = nil, nil
	return reflect.DeepEqual(w, other)
}

// String describes the policy for logs.
func (p Policy) String() string {
	return fmt.Sprintf("policy %s %s to %s (%s to %s)", p.Direction, p.Src, p.Dst, p.From, p.To)
}
