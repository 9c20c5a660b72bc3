// Package kernel reads and changes the kernel's devices, addresses, routes,
// rules, FDB entries and neighbours. It is the only place that knows their messages;
// package socket carries them.
//
// It decides nothing: what should be is computed by package wanted, what to
// change by package diff. Firewall rules are the business of package firewall.
package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/kernel/socket"
	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/netd/wireguard"
)

// A Conn is a connection to the kernel's network configuration of one network
// namespace. Its methods may be called from several goroutines.
type Conn struct {
	rt *socket.Conn
	wg wireguard.Conn
	// control is a socket for ioctls in the same namespace.
	control int

	mu sync.Mutex
	// index holds the indexes of devices by name as last read or made. What
	// is heard of does not go in: it may be older.
	index map[string]int
	// names are the names of devices by index as last read or heard of, own
	// those of them that are netd's, scope the names that make them so.
	names map[int]string
	own   map[int]bool
	scope map[string]bool
}

// Open connects to the network namespace of the calling thread.
func Open() (*Conn, error) {
	rt, err := socket.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		rt.Close()
		return nil, fmt.Errorf("open a socket for ioctl: %w", os.NewSyscallError("socket", err))
	}
	return &Conn{rt: rt, control: control,
		index: map[string]int{}, names: map[int]string{}, own: map[int]bool{}}, nil
}

// Close ends the connection.
func (c *Conn) Close() error {
	return errors.Join(c.wg.Close(), c.rt.Close(), unix.Close(c.control))
}

// Scope says what is netd's, beside the devices that carry [wanted.Mark] and
// the routes that are [wanted.Marked].
type Scope struct {
	// Names are the names of devices that are netd's whoever made them.
	Names []string
	// Hold are the names of devices that are left out, even if marked, and
	// HoldIPv4 and HoldIPv6 do the same for all routes and rules of a family: netd does
	// not know for now what they should be.
	Hold               []string
	HoldIPv4, HoldIPv6 bool
	// Keep are kinds of devices of which all are left out that Names does not
	// name: other nodes may still use them.
	Keep []wanted.Kind
	// Networks are the ranges of pods, by which devices are known that
	// flanneld has left behind.
	Networks []netip.Prefix
}

// leaves reports whether a device is left out.
func (s Scope) leaves(l wanted.Link) bool {
	return slices.Contains(s.Hold, l.Name) || slices.Contains(s.Keep, l.Kind) && !slices.Contains(s.Names, l.Name)
}

// holds reports whether a route is left out.
func (s Scope) holds(r wanted.Route) bool { return s.holdsFamily(r.Dst.Addr().Is6()) }

// holdsFamily reports whether the routes and rules of a family are left out.
func (s Scope) holdsFamily(ipv6 bool) bool {
	if ipv6 {
		return s.HoldIPv6
	}
	return s.HoldIPv4
}

// Read reads what the kernel holds of the state that is netd's: the devices
// in scope with all that is on them, and netd's routes on other devices.
func (c *Conn) Read(scope Scope) (wanted.State, error) {
	var state wanted.State
	err := c.readLinks(func() { state.Links = nil }, scope, func(l wanted.Link) { state.Links = append(state.Links, l) })
	if err != nil {
		return wanted.State{}, fmt.Errorf("read devices: %w", err)
	}
	on := make(map[int]string, len(state.Links))
	for i := range state.Links {
		l := &state.Links[i]
		on[l.Index] = l.Name
		if l.ChecksumOffload, err = c.checksumOffload(l.Name); err != nil {
			return wanted.State{}, fmt.Errorf("read the features of device %s: %w", l.Name, err)
		}
	}
	reads := []struct {
		what  string
		reset func()
		read  func() error
	}{
		{"addresses", func() { state.Addresses = nil }, func() error {
			return c.dump(unix.RTM_GETADDR, unix.AF_UNSPEC, func(b []byte) {
				if a, ok := decodeAddress(b); ok && on[a.index] != "" && !a.kernelMade() {
					state.Addresses = append(state.Addresses, wanted.Address{Link: on[a.index], Prefix: a.prefix})
				}
			})
		}},
		{"routes", func() { state.Routes = nil }, func() error {
			each := func(b []byte) {
				if r, ok := c.ownRoute(b, on); ok && !scope.holds(r) {
					state.Routes = append(state.Routes, r)
				}
			}
			return errors.Join(c.dump(unix.RTM_GETROUTE, unix.AF_INET, each), c.dump(unix.RTM_GETROUTE, unix.AF_INET6, each))
		}},
		{"rules", func() { state.Rules = nil }, func() error {
			return c.dumpIfAny(unix.RTM_GETRULE, unix.AF_UNSPEC, func(b []byte) {
				if r, ok := decodeRule(b); ok && !scope.holdsFamily(r.IPv6) {
					state.Rules = append(state.Rules, r)
				}
			})
		}},
		{"neighbours", func() { state.Neighs = nil }, func() error {
			each := func(b []byte) {
				if n, ok := decodeNeigh(b); ok && !n.fdb && n.permanent && on[n.index] != "" {
					state.Neighs = append(state.Neighs, wanted.Neighbour{Link: on[n.index], IP: n.ip, MAC: n.mac})
				}
			}
			return errors.Join(c.dump(unix.RTM_GETNEIGH, unix.AF_INET, each), c.dump(unix.RTM_GETNEIGH, unix.AF_INET6, each))
		}},
		{"FDB entries", func() { state.FDB = nil }, func() error {
			return c.dump(unix.RTM_GETNEIGH, unix.AF_BRIDGE, func(b []byte) {
				if n, ok := decodeNeigh(b); ok && n.fdb && n.permanent && on[n.index] != "" {
					state.FDB = append(state.FDB, wanted.FDBEntry{Link: on[n.index], MAC: n.mac, Dst: n.ip})
				}
			})
		}},
	}
	for _, r := range reads {
		if err := again(func() error { r.reset(); return r.read() }); err != nil {
			return wanted.State{}, fmt.Errorf("read %s: %w", r.what, err)
		}
	}
	if err := c.readWireGuard(&state); err != nil {
		return wanted.State{}, fmt.Errorf("read WireGuard devices: %w", err)
	}
	state.Sort()
	return state, nil
}

// ownRoute decodes a route and reports whether it is netd's: on a device of
// its own any but the kernel's, elsewhere those with its mark.
func (c *Conn) ownRoute(b []byte, on map[int]string) (wanted.Route, bool) {
	r, ok := decodeRoute(b)
	if !ok {
		return wanted.Route{}, false
	}
	name, own := on[r.index]
	if !own && wanted.Marked(r.route.Protocol) {
		name, own = c.name(r.index), true
	}
	r.route.Link = name
	return r.route, own && r.route.Protocol != unix.RTPROT_KERNEL
}

// kernelMade reports whether an address is one the kernel gives itself.
func (a rawAddress) kernelMade() bool { return a.prefix.Addr().IsLinkLocalUnicast() }

// Host reads what the choice of the underlay depends on, with the routes to
// the addresses in reach. netd's own devices are left out.
func (c *Conn) Host(reach ...netip.Addr) (underlay.Host, error) {
	var host underlay.Host
	err := again(func() error {
		host.Links = nil
		return c.dump(unix.RTM_GETLINK, unix.AF_UNSPEC, func(b []byte) {
			if l, ok := decodeLink(b); ok && l.Alias != wanted.Mark {
				host.Links = append(host.Links, underlay.Link{Index: l.Index, Name: l.Name, MTU: l.MTU, Up: l.Up})
			}
		})
	})
	if err != nil {
		return host, fmt.Errorf("read devices: %w", err)
	}
	err = again(func() error {
		host.Addresses = nil
		return c.dump(unix.RTM_GETADDR, unix.AF_UNSPEC, func(b []byte) {
			if a, ok := decodeAddress(b); ok {
				host.Addresses = append(host.Addresses, a.host())
			}
		})
	})
	if err != nil {
		return host, fmt.Errorf("read addresses: %w", err)
	}
	err = again(func() error {
		host.Defaults = nil
		each := func(b []byte) {
			if r, ok := decodeRoute(b); ok && r.isDefault() && r.route.Table == 0 {
				host.Defaults = append(host.Defaults, nextHops(b, r)...)
			}
		}
		return errors.Join(c.dump(unix.RTM_GETROUTE, unix.AF_INET, each), c.dump(unix.RTM_GETROUTE, unix.AF_INET6, each))
	})
	if err != nil {
		return host, fmt.Errorf("read routes: %w", err)
	}
	if host.Routes, err = c.routesTo(reach); err != nil {
		return host, err
	}
	return host, nil
}

// host is a as the choice of an underlay sees it.
func (a rawAddress) host() underlay.Address {
	return underlay.Address{
		Index:      a.index,
		IP:         a.prefix.Addr(),
		Net:        a.net,
		LinkScope:  a.scope == unix.RT_SCOPE_LINK,
		Dynamic:    a.flags&unix.IFA_F_PERMANENT == 0,
		Temporary:  a.prefix.Addr().Is6() && a.flags&unix.IFA_F_TEMPORARY != 0,
		Deprecated: a.flags&unix.IFA_F_DEPRECATED != 0,
		// An optimistic address (RFC 4429) may be used while tentative.
		Unusable: a.flags&unix.IFA_F_DADFAILED != 0 ||
			a.flags&unix.IFA_F_TENTATIVE != 0 && a.flags&unix.IFA_F_OPTIMISTIC == 0,
	}
}

// Direct looks up which of the addresses the routing table reaches without a
// gateway, that is, on a link of this node, and by which device.
func (c *Conn) Direct(addresses []netip.Addr) (map[netip.Addr]int, error) {
	requests := make([]*nl.NetlinkRequest, len(addresses))
	for i, a := range addresses {
		requests[i] = routeLookup(a)
	}
	direct := make(map[netip.Addr]int, len(addresses))
	err := c.rt.Ask(requests, func(n int, data []byte) {
		if len(data) < unix.SizeofRtMsg || data[7] != unix.RTN_UNICAST {
			return
		}
		gateway, index := false, 0
		socket.Attributes(data[unix.SizeofRtMsg:], func(kind uint16, v []byte) {
			gateway = gateway || kind == unix.RTA_GATEWAY || kind == unix.RTA_VIA
			if kind == unix.RTA_OIF {
				index = int(u32(v))
			}
		})
		if !gateway {
			direct[addresses[n]] = index
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look up the routes to peers: %w", err)
	}
	return direct, nil
}

// readLinks reads all devices, remembers their names, and calls each with
// those in scope.
func (c *Conn) readLinks(reset func(), scope Scope, each func(wanted.Link)) error {
	byName := map[string]bool{}
	for _, name := range scope.Names {
		byName[name] = true
	}
	names, own := map[int]string{}, map[int]bool{}
	var candidates []wanted.Link
	err := again(func() error {
		reset()
		clear(names)
		clear(own)
		candidates = nil
		return c.dump(unix.RTM_GETLINK, unix.AF_UNSPEC, func(b []byte) {
			l, ok := decodeLink(b)
			if !ok {
				return
			}
			names[l.Index] = l.Name
			switch {
			case scope.leaves(l):
			case byName[l.Name] || l.Alias == wanted.Mark:
				own[l.Index] = true
				each(l)
			case flanneldName(l):
				candidates = append(candidates, l)
			}
		})
	})
	if err == nil {
		var left []wanted.Link
		left, err = c.leftovers(candidates, scope.Networks)
		for _, l := range left {
			own[l.Index] = true
			each(l)
		}
	}
	if err == nil {
		c.mu.Lock()
		c.names, c.own, c.scope = names, own, byName
		c.index = make(map[string]int, len(names))
		for index, name := range names {
			c.index[name] = index
		}
		c.mu.Unlock()
	}
	return err
}

// name is the name of the device with an index, empty when unknown.
func (c *Conn) name(index int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names[index]
}

// dump asks for all objects of a family.
func (c *Conn) dump(kind, family int, each func(data []byte)) error {
	request := nl.NewNetlinkRequest(kind, 0)
	switch kind {
	case unix.RTM_GETROUTE, unix.RTM_GETRULE:
		request.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family)}})
	case unix.RTM_GETNEIGH:
		request.AddData(&ndMsg{unix.NdMsg{Family: uint8(family)}})
	default:
		request.AddData(nl.NewIfInfomsg(family))
	}
	return c.rt.Dump(request, each)
}

// dumpIfAny is dump for objects that a kernel may be built without (net/core/rtnetlink.c,
// rtnetlink_rcv_msg, for rules without CONFIG_FIB_RULES): it has none of them then.
func (c *Conn) dumpIfAny(kind, family int, each func(data []byte)) error {
	err := c.dump(kind, family, each)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

// again repeats a read that was interrupted by changes. Under a constant
// stream of changes it gives up; the caller tries again later.
func again(read func() error) (err error) {
	for range 20 {
		if err = read(); !errors.Is(err, socket.ErrInterrupted) {
			return err
		}
	}
	return err
}
