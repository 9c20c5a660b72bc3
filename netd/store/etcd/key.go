package etcd

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Where things are below the prefix (flannel, pkg/subnet/etcd/registry.go).
const (
	// DefaultPrefix is flannel's.
	DefaultPrefix = "/coreos.com/network"
	// weftSuffix follows the prefix of networks that flanneld cannot join.
	weftSuffix = "-weft"
	configName = "/config"
	subnetsDir = "/subnets/"
)

// maxKey limits the part of a key after the prefix: the longest two subnets
// take 70 bytes.
const maxKey = 128

// subnets are what a key names: one subnet of each family of the network.
type subnets struct{ v4, v6 netip.Prefix }

// base is where the keys of a network are. One without IPv4 has a place of
// its own, since flanneld's daemons up to v0.28.9 take a key they cannot read
// for an empty network, and cut off all nodes.
func base(prefix string, ipv4 bool) string {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	prefix = "/" + strings.Trim(prefix, "/")
	if !ipv4 {
		prefix += weftSuffix
	}
	return prefix
}

// name is the last part of the key (flannel, pkg/subnet/subnet.go,
// MakeSubnetKey); that of a network without IPv4 is its second half.
func (s subnets) name() string {
	v4, v6 := dashed(s.v4), dashed(s.v6)
	if v4 != "" && v6 != "" {
		return v4 + "&" + v6
	}
	return v4 + v6
}

func dashed(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.Addr().String() + "-" + strconv.Itoa(p.Bits())
}

// parseName reads the last part of a key. With an error the subnets mean
// nothing.
func parseName(name string) (subnets, error) {
	var s subnets
	if len(name) > maxKey {
		return s, fmt.Errorf("the key has %d bytes, the limit is %d", len(name), maxKey)
	}
	first, second, both := strings.Cut(name, "&")
	p, err := undashed(first)
	if err != nil {
		return s, err
	}
	if p.Addr().Is4() {
		s.v4 = p
	} else {
		s.v6 = p
	}
	if !both {
		return s, nil
	}
	if p, err = undashed(second); err != nil {
		return s, err
	}
	if !s.v4.IsValid() || p.Addr().Is4() {
		return s, errors.New("want an IPv4 subnet before the & and an IPv6 subnet after it")
	}
	s.v6 = p
	return s, nil
}

// leading is the address a name that cannot be read begins with, alone: a
// subnet there would have a name that could be taken for it.
func leading(name string) subnets {
	text, _, _ := strings.Cut(name, "-")
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return subnets{}
	}
	p := netip.PrefixFrom(a, a.BitLen())
	if a.Is4() {
		return subnets{v4: p}
	}
	return subnets{v6: p}
}

func undashed(text string) (netip.Prefix, error) {
	address, length, _ := strings.Cut(text, "-")
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is no subnet; want one such as 10.244.1.0-24", text)
	}
	bits, err := strconv.ParseUint(length, 10, 8)
	p := netip.PrefixFrom(a, int(bits))
	if err != nil || !p.IsValid() {
		return netip.Prefix{}, fmt.Errorf("%q has no prefix length", text)
	}
	if p.Masked() != p {
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its length", text)
	}
	return p, nil
}

// overlap reports whether two nodes cannot have both.
func overlap(a, b netip.Prefix) bool { return a.IsValid() && b.IsValid() && a.Overlaps(b) }
