// Package firewall keeps the packet filter rules a pod network needs: pods
// that leave the network take the node's address, and pod traffic may be
// forwarded.
//
// What the rules are is a plain function ([Wanted]); an edge makes a packet
// filter hold them. This package knows nftables; another filter is another
// [Firewall].
package firewall

import (
	"context"
	"iter"
	"net/netip"

	"weft/netd/wanted"
	"weft/profiles"
)

// A Firewall is a packet filter that can hold the rules.
type Firewall interface {
	// Ensure makes the filter hold exactly want of netd's rules, in one step,
	// and reports whether anything had to be changed.
	Ensure(want Ruleset) (changed bool, err error)
	// Changes delivers whenever netd's rules may have been changed by anyone.
	// The subscription has begun when Changes returns; it ends with ctx.
	Changes(ctx context.Context) (iter.Seq2[struct{}, error], error)
}

// MasqueradeMark is the mark (and its mask) of packets that somebody else has
// decided about; kube-proxy sets it on what it masquerades itself.
const MasqueradeMark = 0x4000

// A Ruleset is everything netd keeps in the packet filter.
type Ruleset []Table

// A Table holds the rules of one address family.
type Table struct {
	IPv6 bool
	// Postrouting are the rules for packets on their way out, in order.
	Postrouting []Rule
	// Forward are the rules for packets that are passed on, in order.
	Forward []Rule
}

// Verdict is what happens to a packet a rule matches.
type Verdict string

const (
	// Return leaves the packet as it is.
	Return Verdict = "return"
	// Masquerade gives the packet the address of the device it leaves by,
	// with a port drawn at random from all: ports that follow each other make
	// two connections collide in the race to be tracked.
	Masquerade Verdict = "masquerade"
	// Accept lets the packet pass.
	Accept Verdict = "accept"
)

// A Rule matches packets and says what happens to them. Zero matches match
// everything.
type Rule struct {
	// Mark matches packets with this bit of their mark set.
	Mark uint32
	// From and To match the packet's addresses.
	From, To Match
	Verdict  Verdict
	// Comment says in the packet filter's own listing what the rule is for.
	Comment string
}

// A Match matches an address: one in Prefix, or with Not one outside of it.
type Match struct {
	Prefix netip.Prefix
	Not    bool
}

// in and out match addresses in and outside of a prefix.
func in(p netip.Prefix) Match  { return Match{Prefix: p} }
func out(p netip.Prefix) Match { return Match{Prefix: p, Not: true} }

// Multicast addresses of each family (RFC 5771, RFC 4291 section 2.7).
var (
	multicast4 = netip.MustParsePrefix("224.0.0.0/4")
	multicast6 = netip.MustParsePrefix("ff00::/8")
)

// Wanted are the rules that network asks for on node. They have the meaning
// of flannel's in its iptables mode, in the same order; its nftables mode
// differs in the fourth rule of postrouting, by which the sixth never applies
// and pods see packets from other nodes' hosts with an address they may not
// be able to answer to.
func Wanted(node wanted.Node, network profiles.Network) Ruleset {
	var rules Ruleset
	for _, f := range wanted.Families(node, network) {
		table := Table{IPv6: f.IPv6, Forward: []Rule{
			{From: in(f.Network), Verdict: Accept, Comment: "from pods"},
			{To: in(f.Network), Verdict: Accept, Comment: "to pods"},
		}}
		if masquerade(network.Masquerade, f.IPv6) {
			multicast := multicast4
			if f.IPv6 {
				multicast = multicast6
			}
			table.Postrouting = []Rule{
				{Mark: MasqueradeMark, Verdict: Return, Comment: "marked: decided elsewhere"},
				{From: in(f.Own), To: in(f.Network), Verdict: Return, Comment: "from own pods to pods"},
				{From: in(f.Network), To: in(f.Own), Verdict: Return, Comment: "from pods to own pods"},
				{From: out(f.Network), To: in(f.Own), Verdict: Return, Comment: "from outside to own pods"},
				{From: in(f.Network), To: out(multicast), Verdict: Masquerade, Comment: "from pods to outside"},
				{From: out(f.Network), To: in(f.Network), Verdict: Masquerade, Comment: "from this node to pods of others"},
			}
		}
		rules = append(rules, table)
	}
	return rules
}

// masquerade reports whether a family is masqueraded.
func masquerade(m profiles.Masquerade, ipv6 bool) bool {
	if ipv6 {
		return m.IPv6 != nil && *m.IPv6
	}
	return m.IPv4 == nil || *m.IPv4
}
