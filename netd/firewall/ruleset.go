// Package firewall keeps the packet filter rules a pod network needs: pods
// that leave the network take the node's address, pod traffic may be
// forwarded, and TCP connections fit through the tunnel.
//
// What the rules are is a plain function ([Wanted]); a [Filter] makes the
// node's packet filter hold them, by nftables spoken to over netlink or by
// the programs of iptables. It knows nobody else's rules and touches none,
// except those that flanneld left on a node that netd has taken over.
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
	// Ensure makes the filter hold exactly want of netd's rules and reports
	// whether anything had to be changed. It may wait, for seconds, for the
	// lock of the legacy iptables; the end of ctx ends that.
	Ensure(ctx context.Context, want Ruleset) (changed bool, err error)
	// Changes delivers whenever netd's rules may have been changed by anyone.
	// The subscription has begun when Changes returns; it ends with ctx.
	Changes(ctx context.Context) (iter.Seq2[struct{}, error], error)
}

// MasqueradeMark is the mark (and its mask) of packets that somebody else has
// decided about; kube-proxy sets it on what it masquerades itself.
const MasqueradeMark = 0x4000

// A Ruleset is everything netd keeps in the packet filter.
type Ruleset struct {
	// Mode is the packet filter: [profiles.FirewallNFTables], also when
	// empty, or [profiles.FirewallIPTables].
	Mode string
	// Tables are the rules of the families of the network. Of a family that
	// is not here nothing is kept. Without any, it is not known yet what to
	// keep, and everything stays as it is.
	Tables []Table
}

// of is the table of a family.
func (r Ruleset) of(ipv6 bool) Table {
	for _, t := range r.Tables {
		if t.IPv6 == ipv6 {
			return t
		}
	}
	return Table{IPv6: ipv6, Hold: len(r.Tables) == 0}
}

// A Table holds the rules of one address family.
type Table struct {
	IPv6 bool
	// Hold says that the node's part in the family is not known yet: what is
	// there stays.
	Hold bool
	// Postrouting are the rules for packets on their way out, in order.
	Postrouting []Rule
	// Clamp are the rules that change packets that are passed on, before it
	// is decided about them.
	Clamp []Rule
	// Forward are the rules for packets that are passed on, in order.
	Forward []Rule
	// Output are the rules for packets that the node itself sends.
	Output []Rule
}

// Verdict is what happens to a packet a rule matches.
type Verdict string

const (
	// Return leaves the packet as it is.
	Return Verdict = "return"
	// Masquerade gives the packet the address of the device it leaves by.
	Masquerade Verdict = "masquerade"
	// MasqueradeRandom is Masquerade with a port drawn at random from all:
	// ports that follow each other make two connections collide in the race
	// to be tracked.
	MasqueradeRandom Verdict = "masquerade with random ports"
	// Accept lets the packet pass.
	Accept Verdict = "accept"
	// Drop lets the packet go nowhere.
	Drop Verdict = "drop"
	// Clamp matches only the packets that open a TCP connection, and lowers
	// the segment size they announce to what fits the route.
	Clamp Verdict = "clamp"
)

// A Rule matches packets and says what happens to them. Zero matches match
// everything.
type Rule struct {
	// Mark matches packets with this bit of their mark set.
	Mark uint32
	// From and To match the packet's addresses.
	From, To Match
	// FromPort matches UDP datagrams from this port.
	FromPort uint16
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

// Wanted are the rules that network asks for on node, whatever its backend.
// They have the meaning of flannel's in its iptables mode, in the same order;
// its nftables mode differs in the fourth rule of postrouting, by which the
// sixth never applies and pods see packets from other nodes' hosts with an
// address they may not be able to answer to.
//
// A WireGuard datagram takes the address that the kernel chooses, and while the
// underlay has none of its family that is the tunnel device's own, a pod's: the
// peers would answer into the tunnel, to themselves. Such datagrams are dropped;
// WireGuard sends anew when there is an address again.
//
// The segment size is clamped by the pods' addresses and not by the tunnel's
// device: the kernel takes the smaller MTU of the routes in both directions
// (net/netfilter/nft_rt.c, net/netfilter/xt_TCPMSS.c), so that the rules hold
// for every backend, IPsec with no device of its own among them.
func Wanted(node wanted.Node, network profiles.Network) Ruleset {
	rules := Ruleset{Mode: network.Firewall.Mode}
	families := wanted.Families(node, network)
	for _, pods := range network.Pods {
		table := Table{IPv6: pods.Addr().Is6(), Hold: true}
		for _, f := range families {
			if f.IPv6 == table.IPv6 {
				table = tableFor(f, network)
			}
		}
		rules.Tables = append(rules.Tables, table)
	}
	return rules
}

// tableFor are the rules of one family.
func tableFor(f wanted.Family, network profiles.Network) Table {
	table := Table{IPv6: f.IPv6}
	if network.Firewall.MSSClamp {
		table.Clamp = []Rule{
			{From: in(f.Network), Verdict: Clamp, Comment: "segments from pods fit"},
			{To: in(f.Network), Verdict: Clamp, Comment: "segments to pods fit"},
		}
	}
	if isTrue(network.Firewall.ForwardRules, true) {
		table.Forward = []Rule{
			{From: in(f.Network), Verdict: Accept, Comment: "from pods"},
			{To: in(f.Network), Verdict: Accept, Comment: "to pods"},
		}
	}
	for _, port := range wanted.WireGuardPorts(network.Backend) {
		table.Output = append(table.Output, Rule{From: in(f.Network), FromPort: port, Verdict: Drop, Comment: "tunnels are between nodes"})
	}
	masqueraded, multicast := isTrue(network.Masquerade.IPv4, true), multicast4
	if f.IPv6 {
		masqueraded, multicast = isTrue(network.Masquerade.IPv6, false), multicast6
	}
	if !masqueraded {
		return table
	}
	masquerade := MasqueradeRandom
	if !isTrue(network.Firewall.RandomFully, true) {
		masquerade = Masquerade
	}
	table.Postrouting = []Rule{
		{Mark: MasqueradeMark, Verdict: Return, Comment: "marked: decided elsewhere"},
		{From: in(f.Own), To: in(f.Network), Verdict: Return, Comment: "from own pods to pods"},
		{From: in(f.Network), To: in(f.Own), Verdict: Return, Comment: "from pods to own pods"},
		{From: out(f.Network), To: in(f.Own), Verdict: Return, Comment: "from outside to own pods"},
		{From: in(f.Network), To: out(multicast), Verdict: masquerade, Comment: "from pods to outside"},
		{From: out(f.Network), To: in(f.Network), Verdict: masquerade, Comment: "from this node to pods of others"},
	}
	return table
}

// isTrue is what b says, or fallback when it says nothing.
func isTrue(b *bool, fallback bool) bool {
	if b == nil {
		return fallback
	}
	return *b
}
