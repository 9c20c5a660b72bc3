package explain

import (
	"fmt"
	"net/netip"

	"weft/netd/firewall"
)

// address says what the rules for packets on their way out do with the
// source address of one, by the first rule that matches. Marked packets are
// left out: who marks them decides about them.
func address(rules []firewall.Rule, from, to netip.Addr) string {
	if len(rules) == 0 {
		return "address kept (this family is not masqueraded)"
	}
	r, found := first(rules, from, to)
	switch {
	case !found:
		return "address kept (no rule is about it)"
	case r.Verdict == firewall.Masquerade || r.Verdict == firewall.MasqueradeRandom:
		return fmt.Sprintf("masqueraded (rule %q)", r.Comment)
	}
	return fmt.Sprintf("address kept (rule %q)", r.Comment)
}

// forward says what the rules for packets that are passed on do with one.
func forward(rules []firewall.Rule, from, to netip.Addr) string {
	r, found := first(rules, from, to)
	if !found {
		return "netd has no rule to let it through"
	}
	return fmt.Sprintf("let through (rule %q)", r.Comment)
}

// first is the first rule that decides about an unmarked packet.
func first(rules []firewall.Rule, from, to netip.Addr) (firewall.Rule, bool) {
	for _, r := range rules {
		if r.Mark == 0 && matches(r.From, from) && matches(r.To, to) {
			return r, true
		}
	}
	return firewall.Rule{}, false
}

func matches(m firewall.Match, a netip.Addr) bool {
	return !m.Prefix.IsValid() || m.Prefix.Contains(a) != m.Not
}
