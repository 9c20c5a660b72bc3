package rancher

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"weft/profiles"
)

// A NoAddressError says that no device has an address of a family that the
// cluster has.
type NoAddressError struct {
	// IPv6 is the family, Rule what was looked for.
	IPv6 bool
	Rule string
}

func (e *NoAddressError) Error() string {
	family := "IPv4"
	if e.IPv6 {
		family = "IPv6"
	}
	return fmt.Sprintf("the cluster has %s and no device of this node has an %s address %s; fix: check its links, or change network.underlay", family, family, e.Rule)
}

// NodeAddresses chooses the addresses at which a node is known: one of each
// family of the network, in the network's order, by the rule in
// network.underlay; the device of the default route when there is none. It
// also returns the device of the first of them.
func NodeAddresses(n profiles.Network, have []Address) (chosen []netip.Addr, device string, err error) {
	for _, pods := range n.Pods {
		ipv6 := pods.Addr().Is6()
		choice, family := n.Underlay.UnderlayChoice, n.Underlay.IPv4
		if ipv6 {
			family = n.Underlay.IPv6
		}
		if family != nil {
			choice = *family
		}
		a, rule, ok := choose(choice, have, ipv6)
		if !ok {
			return nil, "", &NoAddressError{IPv6: ipv6, Rule: rule}
		}
		if device == "" {
			device = a.Interface
		}
		chosen = append(chosen, a.Prefix.Addr())
	}
	return chosen, device, nil
}

// choose finds the address of a family. The ways are tried in the order of
// [profiles.Underlay], and the first that finds a device counts.
func choose(c profiles.UnderlayChoice, have []Address, ipv6 bool) (found Address, rule string, ok bool) {
	ways := []struct {
		rule    string
		wanted  bool
		matches func(Address) bool
	}{
		{fmt.Sprintf("on one of the devices %v", c.Interfaces), len(c.Interfaces) > 0, func(a Address) bool {
			return slices.Contains(c.Interfaces, a.Interface) || slices.Contains(c.Interfaces, a.Prefix.Addr().String())
		}},
		{fmt.Sprintf("on a device that matches %v", c.InterfacesRegex), len(c.InterfacesRegex) > 0, func(a Address) bool {
			return slices.ContainsFunc(c.InterfacesRegex, func(text string) bool {
				re, err := regexp.Compile(text)
				return err == nil && (re.MatchString(a.Interface) || re.MatchString(a.Prefix.Addr().String()))
			})
		}},
		{fmt.Sprintf("on the device that leads to %v", c.CanReach), len(c.CanReach) > 0, func(a Address) bool {
			return slices.ContainsFunc(c.CanReach, func(to netip.Addr) bool { return leads(a, to, have) })
		}},
		{fmt.Sprintf("in %v", c.Subnet), len(c.Subnet) > 0, func(a Address) bool {
			return slices.ContainsFunc(c.Subnet, func(s netip.Prefix) bool { return s.Contains(a.Prefix.Addr()) })
		}},
	}
	for _, way := range ways {
		if !way.wanted {
			continue
		}
		rule = way.rule
		if i := slices.IndexFunc(have, way.matches); i >= 0 {
			// What matches may be of the other family: it says which device.
			if j := slices.IndexFunc(have, func(a Address) bool { return usable(a, ipv6) && way.matches(a) }); j >= 0 {
				return have[j], rule, true
			}
			device := have[i].Interface
			j := slices.IndexFunc(have, func(a Address) bool { return usable(a, ipv6) && a.Interface == device })
			if j < 0 {
				return Address{}, "on device " + device, false
			}
			return have[j], rule, true
		}
	}
	if rule != "" {
		return Address{}, rule, false
	}
	i := slices.IndexFunc(have, func(a Address) bool { return usable(a, ipv6) && a.Default })
	if i < 0 {
		return Address{}, "on the device of the default route", false
	}
	return have[i], "", true
}

// usable tells whether an address is of a family, and one that others reach.
func usable(a Address, ipv6 bool) bool {
	ip := a.Prefix.Addr()
	return ip.IsValid() && ip.Is6() == ipv6 && ip.IsGlobalUnicast()
}

// leads tells whether packets to an address leave by the device that has a:
// it is in its network, or in none and the default route leaves there.
func leads(a Address, to netip.Addr, have []Address) bool {
	if to.Is6() != a.Prefix.Addr().Is6() {
		return false
	}
	if a.Prefix.Contains(to) {
		return true
	}
	onLink := slices.ContainsFunc(have, func(o Address) bool { return o.Prefix.Contains(to) })
	return a.Default && !onLink
}
