package wanted

import "net/netip"

// prefixes is a set of prefixes that do not overlap, with their owners.
type prefixes struct {
	owners  map[netip.Prefix]string
	lengths [129]int // how many prefixes there are of each length
}

func newPrefixes(size int) *prefixes {
	return &prefixes{owners: make(map[netip.Prefix]string, size)}
}

func (p *prefixes) add(prefix netip.Prefix, owner string) {
	p.owners[prefix] = owner
	p.lengths[prefix.Bits()]++
}

// overlap finds the owner of a prefix that overlaps prefix. Networks have
// subnets of one length, or a few, so this looks at each length once; only a
// prefix shorter than others makes it look at all of those.
func (p *prefixes) overlap(prefix netip.Prefix) (string, bool) {
	for bits, n := range p.lengths {
		if n == 0 {
			continue
		}
		if bits > prefix.Bits() {
			return p.inside(prefix)
		}
		around, err := prefix.Addr().Prefix(bits)
		if err != nil {
			continue // longer than addresses of this family are
		}
		if owner, found := p.owners[around]; found {
			return owner, true
		}
	}
	return "", false
}

// inside finds the first owner, by address, of a prefix inside prefix.
func (p *prefixes) inside(prefix netip.Prefix) (owner string, found bool) {
	var first netip.Addr
	for other, o := range p.owners {
		if prefix.Contains(other.Addr()) && (!found || other.Addr().Less(first)) {
			owner, first, found = o, other.Addr(), true
		}
	}
	return owner, found
}
