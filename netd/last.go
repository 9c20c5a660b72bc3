package main

import (
	"net/netip"
	"os"
	"strings"
)

// lastSubnets are the subnets of a subnet.env; none when there is no file.
func lastSubnets(file string) []netip.Prefix {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return readSubnetEnv(string(data))
}

// readSubnetEnv reads the subnets of a subnet.env, flanneld's or netd's; what
// is not understood is skipped. There they are written with the address of
// their gateway.
func readSubnetEnv(text string) []netip.Prefix {
	var v4, v6 netip.Prefix
	for _, line := range strings.Split(text, "\n") {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		p, err := netip.ParsePrefix(value)
		switch {
		case err != nil || p.Addr().Is4In6():
		case name == "FLANNEL_SUBNET" && p.Addr().Is4():
			v4 = p.Masked()
		case name == "FLANNEL_IPV6_SUBNET" && p.Addr().Is6():
			v6 = p.Masked()
		}
	}
	var all []netip.Prefix
	for _, p := range []netip.Prefix{v4, v6} {
		if p.IsValid() {
			all = append(all, p)
		}
	}
	return all
}
