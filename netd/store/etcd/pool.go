package etcd

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
)

// A pool is the subnets of one length of a network, numbered from 0. No more
// than 2^32 of them are given out.
type pool struct {
	network  netip.Prefix
	length   int
	min, max uint64 // numbers of the lowest and the highest to give out
	// limited says that min and max are not those a network has anyway.
	limited bool
}

// newPool makes a pool. low and high are the first addresses of the lowest
// and highest subnet; without them the second and the last count, as
// flannel's (pkg/subnet/config.go).
func newPool(network netip.Prefix, length int, low, high netip.Addr) (pool, error) {
	width := network.Addr().BitLen()
	// flannel: at most /30 and /126, and room for four subnets.
	if length < network.Bits()+1 || length > width-2 {
		return pool{}, fmt.Errorf("subnet length %d does not fit %s; want %d to %d", length, network, network.Bits()+1, width-2)
	}
	p := pool{network: network, length: length, min: 1}
	p.max = uint64(1)<<min(length-network.Bits(), 32) - 1
	for _, b := range []struct {
		name  string
		first netip.Addr
		at    *uint64
	}{{"lowest", low, &p.min}, {"highest", high, &p.max}} {
		if !b.first.IsValid() {
			continue
		}
		if s := netip.PrefixFrom(b.first, length); !network.Contains(b.first) || s.Masked() != s {
			return pool{}, fmt.Errorf("the %s subnet %s does not begin a /%d of %s", b.name, b.first, length, network)
		}
		*b.at, p.limited = p.number(b.first), true
	}
	if p.min > p.max {
		return pool{}, fmt.Errorf("the lowest subnet of %s is above the highest", network)
	}
	return p, nil
}

// bounds are the bounds as text, empty when they are none.
func (p pool) bounds() (low, high string) {
	if !p.limited {
		return "", ""
	}
	return p.subnet(p.min).Addr().String(), p.subnet(p.max).Addr().String()
}

// words are an address as a number of 128 bits.
func words(a netip.Addr) (hi, lo uint64) {
	if a.Is4() {
		b := a.As4()
		return 0, uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// number is the number of the subnet an address of the network is in, or
// 2^32 when that is out of the pool.
func (p pool) number(a netip.Addr) uint64 {
	hi, lo := words(a)
	baseHi, baseLo := words(p.network.Addr())
	lo, borrow := bits.Sub64(lo, baseLo, 0)
	hi, _ = bits.Sub64(hi, baseHi, borrow)
	shift := a.BitLen() - p.length
	n, over := hi>>max(shift-64, 0), uint64(0)
	if shift < 64 {
		n, over = hi<<(64-shift)|lo>>shift, hi>>shift
	}
	if over != 0 || n >= 1<<32 {
		return 1 << 32
	}
	return n
}

// subnet is the subnet of a number, which is below 2^32.
func (p pool) subnet(n uint64) netip.Prefix {
	first := p.network.Addr()
	shift := first.BitLen() - p.length
	addHi, addLo := uint64(0), n<<shift
	if shift >= 64 {
		addHi, addLo = n<<(shift-64), 0
	} else {
		addHi = n >> (64 - shift)
	}
	hi, lo := words(first)
	lo, carry := bits.Add64(lo, addLo, 0)
	hi, _ = bits.Add64(hi, addHi, carry)
	if first.Is4() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(lo))
		return netip.PrefixFrom(netip.AddrFrom4(b), p.length)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.PrefixFrom(netip.AddrFrom16(b), p.length)
}

// span is a run of numbers, both ends in it.
type span struct{ first, last uint64 }

// free are the numbers that overlap nothing of taken, in order.
func (p pool) free(taken []netip.Prefix) []span {
	var used []span
	for _, t := range taken {
		switch {
		case !t.IsValid() || !t.Overlaps(p.network):
		case t.Bits() <= p.network.Bits():
			return nil
		default:
			first := p.number(t.Addr())
			last := first
			if t.Bits() < p.length {
				last = first + uint64(1)<<min(p.length-t.Bits(), 32) - 1
			}
			used = append(used, span{first, last})
		}
	}
	slices.SortFunc(used, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	var gaps []span
	next := p.min
	for _, u := range used {
		if u.first > p.max {
			break
		}
		if u.first > next {
			gaps = append(gaps, span{next, u.first - 1})
		}
		next = max(next, u.last+1)
	}
	if next <= p.max {
		gaps = append(gaps, span{next, p.max})
	}
	return gaps
}

// pick is the subnet that seed falls on among the free ones.
func (p pool) pick(gaps []span, seed uint64) (subnet netip.Prefix, number uint64, found bool) {
	var count uint64
	for _, g := range gaps {
		count += g.last - g.first + 1
	}
	if count == 0 {
		return netip.Prefix{}, 0, false
	}
	k := seed % count
	for _, g := range gaps {
		if size := g.last - g.first + 1; k >= size {
			k -= size
			continue
		}
		return p.subnet(g.first + k), g.first + k, true
	}
	return netip.Prefix{}, 0, false // never: k is below the sum
}

// isFree reports whether a number is among the free ones.
func isFree(gaps []span, n uint64) bool {
	return slices.ContainsFunc(gaps, func(g span) bool { return g.first <= n && n <= g.last })
}
