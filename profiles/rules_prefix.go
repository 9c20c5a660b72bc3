package profiles

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"weft/document"
)

// special are the ranges no pod, service or node may have, by RFC 6890.
var special = []struct {
	prefix netip.Prefix
	name   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "addresses of \"this network\""},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback addresses"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local addresses"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast addresses"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved addresses"},
	{netip.MustParsePrefix("::/127"), "the unspecified and the loopback address"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4 addresses written as IPv6"},
	{netip.MustParsePrefix("fe80::/10"), "link-local addresses"},
	{netip.MustParsePrefix("ff00::/8"), "multicast addresses"},
}

// specialUse says which addresses of no use a prefix holds; "" for none.
func specialUse(p netip.Prefix) string {
	for _, s := range special {
		if s.prefix.Overlaps(p) {
			return s.name
		}
	}
	return ""
}

// canonical wants prefixes without host bits.
func canonical(d *document.Document, path string, list []netip.Prefix) document.Problems {
	var found document.Problems
	for i, p := range list {
		if p.IsValid() && p != p.Masked() {
			found = append(found, d.Problem(document.Index(path, i), fmt.Sprintf("%s has bits set beyond its length", p)).
				WithFix("write "+p.Masked().String()))
		}
	}
	return found
}

// ordinary wants prefixes without special-purpose addresses.
func ordinary(d *document.Document, path string, list []netip.Prefix) document.Problems {
	var found document.Problems
	for i, p := range list {
		if !p.IsValid() {
			continue
		}
		if use := specialUse(p); use != "" {
			found = append(found, d.Problem(document.Index(path, i), fmt.Sprintf("%s may not be used here", p)).
				WithNote("it holds "+use).
				WithFix("use a private range, such as 10.244.0.0/16 or fd42::/48"))
		}
	}
	return found
}

// bases returns the addresses of prefixes, for checks of their families.
func bases(list []netip.Prefix) []netip.Addr {
	addrs := make([]netip.Addr, len(list))
	for i, p := range list {
		addrs[i] = p.Addr()
	}
	return addrs
}

// onePerFamily wants at most one address or prefix of each family.
func onePerFamily(d *document.Document, path string, list []netip.Addr) document.Problems {
	var found document.Problems
	first := map[string]int{}
	for i, a := range list {
		if !a.IsValid() {
			continue
		}
		family := familyName(a)
		j, twice := first[family]
		if !twice {
			first[family] = i
			continue
		}
		found = append(found, d.Problem(document.Index(path, i), fmt.Sprintf("%s has more than one %s entry", path, family)).
			WithNote(inLine(d, document.Index(path, j), "the first is")).
			WithFix("keep one of each family"))
	}
	return found
}

// inLine says in which line a path stands; "" when it is in no file.
func inLine(d *document.Document, path, what string) string {
	at := d.Position(path)
	if at.Line == 0 {
		return ""
	}
	return what + " in line " + strconv.Itoa(at.Line)
}

// hostAddresses wants addresses that a node can have on its underlay.
func hostAddresses(d *document.Document, path string, list []netip.Addr) document.Problems {
	var found document.Problems
	for i, a := range list {
		if !a.IsValid() {
			continue
		}
		note := "it has a zone"
		if a.Zone() == "" {
			use := specialUse(netip.PrefixFrom(a, a.BitLen()))
			if use == "" {
				continue
			}
			note = "it is one of the " + use
		}
		found = append(found, d.Problem(document.Index(path, i), fmt.Sprintf("%s cannot be a node's address", a)).
			WithNote(note).WithFix("use a global or private address"))
	}
	return found
}

// A placed prefix is one with its place in a file.
type placed struct {
	prefix netip.Prefix
	path   string
	order  int
}

// overlaps reports each prefix that overlaps one that stands before it. It
// sorts, so that thousands of peers cost little.
func overlaps(d *document.Document, all []placed, fix string) document.Problems {
	slices.SortStableFunc(all, func(a, b placed) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	var found document.Problems
	// A prefix that holds others sorts before them, so comparing with the
	// last one that was not itself inside another is enough.
	var outer placed
	for i, p := range all {
		if i == 0 || !outer.prefix.Overlaps(p.prefix) {
			outer = p
			continue
		}
		early, late := outer, p
		if late.order < early.order {
			early, late = late, early
		}
		found = append(found, d.Problem(late.path, fmt.Sprintf("%s overlaps %s", late.prefix, early.prefix)).
			WithNote(inLine(d, early.path, early.prefix.String()+" is")).WithFix(fix))
	}
	return found
}

// place gives prefixes their paths for [overlaps]; bad ones are left out.
func place(all []placed, path string, list []netip.Prefix) []placed {
	for i, p := range list {
		if p.IsValid() {
			all = append(all, placed{p.Masked(), document.Index(path, i), len(all)})
		}
	}
	return all
}
