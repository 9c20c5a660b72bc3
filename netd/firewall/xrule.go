package firewall

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The chains in iptables. The first two are flannel's, so that a node taken
// over from flanneld, or given back to it, has every rule once.
const (
	xPostrouting = "FLANNEL-POSTRTG"
	xForward     = "FLANNEL-FWD"
	xClamp       = "WEFT-MSS"
	xOutput      = "WEFT-OUT"
)

// An xchain is a chain of netd's in iptables.
type xchain struct {
	table, name string
	// base is the built-in chain from which it is jumped to.
	base string
	// comment stands at every rule, and at the jump.
	comment string
	// rules are what iptables -S prints, less "-A" and the chain; none when
	// the chain is not wanted.
	rules []string
}

// xchains are the chains for the rules of t; random is whether the program
// knows random ports.
func xchains(t Table, random bool) []xchain {
	all := []xchain{
		{table: "nat", name: xPostrouting, base: "POSTROUTING", comment: "flanneld masq"},
		{table: "mangle", name: xClamp, base: "FORWARD", comment: "weft mss"},
		{table: "filter", name: xForward, base: "FORWARD", comment: "flanneld forward"},
		{table: "filter", name: xOutput, base: "OUTPUT", comment: "weft tunnels"},
	}
	for i, rules := range [][]Rule{t.Postrouting, t.Clamp, t.Forward, t.Output} {
		for _, r := range rules {
			all[i].rules = append(all[i].rules, r.spec(all[i].comment, random))
		}
	}
	return all
}

// jump is the rule that leads to the chain.
func (c xchain) jump() string {
	return fmt.Sprintf("-A %s -m comment --comment %q -j %s", c.base, c.comment, c.name)
}

// spec is the rule as iptables prints it, so that what is there can be
// compared with it as text.
func (r Rule) spec(comment string, random bool) string {
	var words []string
	for _, m := range []struct {
		flag string
		Match
	}{{"-s", r.From}, {"-d", r.To}} {
		if !m.Prefix.IsValid() {
			continue
		}
		if m.Not {
			words = append(words, "!")
		}
		words = append(words, m.flag, m.Prefix.Masked().String())
	}
	if r.Verdict == Clamp {
		words = append(words, "-p tcp -m tcp --tcp-flags SYN,RST SYN")
	}
	if r.FromPort != 0 {
		words = append(words, fmt.Sprintf("-p udp -m udp --sport %d", r.FromPort))
	}
	if r.Mark != 0 {
		words = append(words, fmt.Sprintf("-m mark --mark %#x/%#x", r.Mark, r.Mark))
	}
	words = append(words, fmt.Sprintf("-m comment --comment %q -j", comment))
	switch r.Verdict {
	case MasqueradeRandom:
		words = append(words, "MASQUERADE")
		if random {
			words = append(words, "--random-fully")
		}
	case Masquerade:
		words = append(words, "MASQUERADE")
	case Accept:
		words = append(words, "ACCEPT")
	case Drop:
		words = append(words, "DROP")
	case Clamp:
		words = append(words, "TCPMSS --clamp-mss-to-pmtu")
	default:
		words = append(words, "RETURN")
	}
	return strings.Join(words, " ")
}

// A listing is what iptables -S prints of a chain of netd's and of the chain
// that leads to it.
type listing struct {
	exists bool
	rules  []string // of the chain
	base   []string // of the chain that leads to it
}

// saved is what iptables-save prints, by table and chain; a chain without
// rules has none.
type saved map[string]map[string][]string

// parseSaved reads what iptables-save prints, less what it does not know.
func parseSaved(text string) saved {
	all := saved{}
	var chains map[string][]string
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, "*"):
			chains = map[string][]string{}
			all[line[1:]] = chains
		case chains == nil:
		case strings.HasPrefix(line, ":"):
			name, _, _ := strings.Cut(line[1:], " ")
			chains[name] = nil
		case strings.HasPrefix(line, "-A "):
			name, _, _ := strings.Cut(line[len("-A "):], " ")
			chains[name] = append(chains[name], line)
		}
	}
	return all
}

// of is the part of it that concerns a chain.
func (s saved) of(c xchain) listing {
	rules, exists := s[c.table][c.name]
	return listing{exists: exists, rules: rules, base: s[c.table][c.base]}
}

// edit is what iptables-restore has to be told so that the chain is there
// with its rules and exactly one jump, or, if it has no rules, so that it and
// all jumps to it are gone. Nothing is said about what is right already.
func (c xchain) edit(have listing) []string {
	if len(c.rules) == 0 {
		return c.removal(have)
	}
	var lines []string
	want := make([]string, len(c.rules))
	for i, r := range c.rules {
		want[i] = "-A " + c.name + " " + r
	}
	if !have.exists || !slices.Equal(have.rules, want) {
		// Naming a chain of one's own makes or empties it (iptables-restore,
		// --noflush); with its rules it is replaced in one step.
		lines = append(lines, fmt.Sprintf(":%s - [0:0]", c.name))
		lines = append(lines, want...)
	}
	jumps := 0
	for _, line := range have.base {
		if line == c.jump() {
			jumps++
		}
	}
	if jumps == 0 {
		lines = append(lines, c.jump())
	}
	for ; jumps > 1; jumps-- {
		lines = append(lines, "-D "+strings.TrimPrefix(c.jump(), "-A "))
	}
	return lines
}

// removal removes the chain and what leads to it.
func (c xchain) removal(have listing) []string {
	if !have.exists {
		return nil
	}
	var lines []string
	for _, line := range have.base {
		if strings.HasSuffix(line, "-j "+c.name) || strings.HasSuffix(line, "-g "+c.name) {
			lines = append(lines, "-D "+strings.TrimPrefix(line, "-A "))
		}
	}
	return append(lines, "-F "+c.name, "-X "+c.name)
}

// script is the input of iptables-restore for edits by table.
func script(edits map[string][]string) string {
	var b strings.Builder
	for _, table := range slices.Sorted(maps.Keys(edits)) {
		if lines := edits[table]; len(lines) > 0 {
			fmt.Fprintf(&b, "*%s\n%s\nCOMMIT\n", table, strings.Join(lines, "\n"))
		}
	}
	return b.String()
}
