package underlay

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"weft/profiles"
)

// Choose finds the underlay of one family of network on host.
//
// When given holds an address of the family, the device that carries it is
// the underlay. Otherwise the ways of network.Underlay are tried in their
// order, as flannel does; only without any it is the device of the best
// default route, with its best address. Addresses of pods are never chosen.
//
// The error says what was looked for and what there is.
func Choose(host Host, ipv6 bool, given []netip.Addr, network profiles.Network) (Device, error) {
	s := search{host: host, ipv6: ipv6, pods: network.Pods}
	for _, address := range given {
		if address.Is6() != ipv6 {
			continue
		}
		for _, a := range host.Addresses {
			if a.IP == address && !a.Unusable {
				return s.device(a)
			}
		}
		return Device{}, s.missing(fmt.Errorf("no device carries %s, this node's %s address", address, s.family()))
	}
	ways := waysOf(network.Underlay, ipv6)
	steps := slices.Concat(
		tries(ways.Interfaces, s.byNameOrAddress),
		tries(ways.InterfacesRegex, s.byExpression),
		tries(s.ownFirst(ways.CanReach), s.byRoute),
		tries(ways.Subnet, s.bySubnet),
	)
	if len(steps) == 0 {
		device, err := s.byDefaultRoute()
		return device, s.missing(err)
	}
	var failed []error
	for _, step := range steps {
		device, err := step()
		if err == nil {
			return device, nil
		}
		failed = append(failed, err)
	}
	return Device{}, s.missing(errors.Join(failed...))
}

// tries are the attempts of one way, one for each of what it is to look for.
func tries[T any](all []T, by func(T) (Device, error)) []func() (Device, error) {
	steps := make([]func() (Device, error), len(all))
	for i, one := range all {
		steps[i] = func() (Device, error) { return by(one) }
	}
	return steps
}

// A search is a look at a host for one family.
type search struct {
	host Host
	ipv6 bool
	pods []netip.Prefix
}

func (s search) family() string {
	if s.ipv6 {
		return "IPv6"
	}
	return "IPv4"
}

// byNameOrAddress finds a device by its name or by an address it has. One of
// the other family finds the device too.
func (s search) byNameOrAddress(text string) (Device, error) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		for _, l := range s.host.Links {
			if l.Name == text {
				return s.on(l.Index)
			}
		}
		return Device{}, fmt.Errorf("there is no device %s", text)
	}
	for _, a := range s.host.Addresses {
		switch {
		case a.IP != address.Unmap():
		case a.IP.Is6() != s.ipv6:
			return s.on(a.Index)
		case !a.Unusable:
			return s.device(a)
		}
	}
	return Device{}, fmt.Errorf("no device has the address %s", address)
}

// byExpression finds the first address of the family that matches, else the
// first name of a device that has one, else a device by an address of the
// other family.
func (s search) byExpression(text string) (Device, error) {
	expression, err := regexp.Compile(text)
	if err != nil {
		return Device{}, fmt.Errorf("underlay.interfacesRegex: %w", err)
	}
	for _, a := range s.host.Addresses {
		if s.fits(a) && expression.MatchString(a.IP.String()) {
			return s.device(a)
		}
	}
	matched := false
	for _, l := range s.host.Links {
		if expression.MatchString(l.Name) {
			matched = true
			if d, err := s.on(l.Index); err == nil {
				return d, nil
			}
		}
	}
	for _, a := range s.host.Addresses {
		if a.IP.Is6() != s.ipv6 && a.usable() && !s.isPod(a.IP) && expression.MatchString(a.IP.String()) {
			matched = true
			if d, err := s.on(a.Index); err == nil {
				return d, nil
			}
		}
	}
	if matched {
		return Device{}, fmt.Errorf("no device that matches %s has a usable %s address", text, s.family())
	}
	return Device{}, fmt.Errorf("no device matches %s", text)
}

// ownFirst puts addresses of the family before those of the other.
func (s search) ownFirst(all []netip.Addr) []netip.Addr {
	return slices.SortedStableFunc(slices.Values(all), func(a, b netip.Addr) int {
		return compareBool(a.Unmap().Is6() != s.ipv6, b.Unmap().Is6() != s.ipv6)
	})
}

// byRoute finds the device by which the kernel would send to an address.
func (s search) byRoute(to netip.Addr) (Device, error) {
	route, found := s.host.Routes[to.Unmap()]
	if !found {
		return Device{}, fmt.Errorf("there is no route to %s", to)
	}
	for _, a := range s.host.Addresses {
		if a.Index == route.Index && a.IP == route.Source && s.fits(a) {
			return s.device(a)
		}
	}
	d, err := s.on(route.Index)
	if err != nil {
		return Device{}, fmt.Errorf("the route to %s does not help: %w", to, err)
	}
	return d, nil
}

// bySubnet finds the first address in a prefix; one of the other family finds
// the device too.
func (s search) bySubnet(subnet netip.Prefix) (Device, error) {
	var other error
	for _, a := range s.host.Addresses {
		switch {
		case !subnet.Contains(a.IP) || !a.usable() || s.isPod(a.IP):
		case s.fits(a):
			return s.device(a)
		default:
			d, err := s.on(a.Index)
			if err == nil {
				return d, nil
			}
			other = err
		}
	}
	if other != nil {
		return Device{}, other
	}
	return Device{}, fmt.Errorf("no device has an address in %s", subnet)
}

// byDefaultRoute finds the device of the default route that the kernel
// prefers: the one of the lowest metric. Of several next hops it is the first
// whose device has an address.
func (s search) byDefaultRoute() (Device, error) {
	var hops []Default
	for _, r := range s.host.Defaults {
		if r.IPv6 == s.ipv6 {
			hops = append(hops, r)
		}
	}
	if len(hops) == 0 {
		return Device{}, fmt.Errorf("there is no %s default route, and neither the node nor network.underlay names a device", s.family())
	}
	slices.SortStableFunc(hops, func(a, b Default) int {
		return cmp.Or(cmp.Compare(a.Metric, b.Metric), compareBool(a.Dead, b.Dead))
	})
	var failed error
	for _, hop := range hops {
		if hop.Metric != hops[0].Metric {
			break
		}
		device, err := s.on(hop.Index)
		if err == nil {
			return device, nil
		}
		failed = cmp.Or(failed, fmt.Errorf("the %s default route: %w", s.family(), err))
	}
	return Device{}, failed
}

// on is a device with its best address.
func (s search) on(index int) (Device, error) {
	var best *Address
	for i, a := range s.host.Addresses {
		if a.Index == index && s.fits(a) && (best == nil || better(a, *best) < 0) {
			best = &s.host.Addresses[i]
		}
	}
	if best == nil {
		name := "its device"
		for _, l := range s.host.Links {
			if l.Index == index {
				name = "device " + l.Name
			}
		}
		return Device{}, fmt.Errorf("%s has no usable %s address", name, s.family())
	}
	return s.device(*best)
}

// fits reports whether an address may be the underlay's.
func (s search) fits(a Address) bool {
	return a.IP.Is6() == s.ipv6 && a.usable() && !s.isPod(a.IP)
}

// isPod reports whether an address is from the range of pods, such as those
// of bridges that lead to them.
func (s search) isPod(ip netip.Addr) bool {
	return slices.ContainsFunc(s.pods, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// device is the device that has an address.
func (s search) device(a Address) (Device, error) {
	for _, l := range s.host.Links {
		if l.Index == a.Index {
			return Device{Index: l.Index, Name: l.Name, MTU: l.MTU, Address: a.IP, Net: a.Net}, nil
		}
	}
	return Device{}, fmt.Errorf("the device with %s has just gone", a.IP)
}

// missing completes an error with what there is.
func (s search) missing(err error) error {
	if err == nil {
		return nil
	}
	var there []string
	for _, l := range s.host.Links {
		var addresses []string
		for _, a := range s.host.Addresses {
			if a.Index == l.Index && s.fits(a) {
				addresses = append(addresses, a.IP.String())
			}
		}
		if len(addresses) > 0 {
			there = append(there, fmt.Sprintf("%s (%s)", l.Name, strings.Join(addresses, ", ")))
		}
	}
	const most = 8 // a node with many bridges would fill the screen
	if len(there) > most {
		there = append(there[:most], fmt.Sprintf("%d more", len(there)-most))
	}
	if len(there) == 0 {
		return fmt.Errorf("%w; no device has a usable %s address", flat{err}, s.family())
	}
	return fmt.Errorf("%w; there are: %s", flat{err}, strings.Join(there, ", "))
}

// flat is an error of several lines written in one.
type flat struct{ error }

func (f flat) Error() string { return strings.ReplaceAll(f.error.Error(), "\n", "; ") }
func (f flat) Unwrap() error { return f.error }
