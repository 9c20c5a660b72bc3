package status

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Bounds of what is shown. A node of a large network has thousands of routes
// and a device for each pod; a person looks for the few of its own.
const (
	maxLinks  = 64
	maxRoutes = 128
)

// userHz is the unit of times in routes, ticks a second: USER_HZ, 100 on every
// architecture weft knows (include/asm-generic/param.h).
const userHz = 100

// Network reads the links, their addresses and the routes of the main table
// from the kernel. The ends of pods (kind veth) are left out, and routes that
// lead nowhere but into netd's devices are shown up to a bound.
func Network() ([]Link, []Route, error) {
	links, err := dump(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return nil, nil, err
	}
	addresses, err := dump(unix.RTM_GETADDR, unix.AF_UNSPEC)
	if err != nil {
		return nil, nil, err
	}
	routes, err := dump(unix.RTM_GETROUTE, unix.AF_UNSPEC)
	if err != nil {
		return nil, nil, err
	}
	names := make(map[int]string)
	var all []Link
	for _, m := range links {
		l, ok := parseLink(m)
		if !ok {
			continue
		}
		names[l.index] = l.Name
		if l.Kind != "veth" && len(all) < maxLinks {
			all = append(all, l)
		}
	}
	for _, m := range addresses {
		index, a, ok := parseAddress(m)
		if i := slices.IndexFunc(all, func(l Link) bool { return l.index == index }); ok && i >= 0 {
			all[i].Addresses = append(all[i].Addresses, a)
		}
	}
	return all, keepRoutes(routes, names), nil
}

// dump asks the kernel for everything of one kind.
func dump(what, family int) ([]syscall.NetlinkMessage, error) {
	raw, err := syscall.NetlinkRIB(what, family)
	if err != nil {
		return nil, fmt.Errorf("netlink dump %d: %w", what, err)
	}
	messages, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return nil, fmt.Errorf("netlink dump %d: %w", what, err)
	}
	return messages, nil
}

// keepRoutes lists the routes of the main table, default routes first, as far
// as they fit.
func keepRoutes(messages []syscall.NetlinkMessage, names map[int]string) []Route {
	var first, rest []Route
	for _, m := range messages {
		for _, r := range parseRoute(m, names) {
			if r.To == "default" {
				first = append(first, r)
			} else if len(rest) < maxRoutes {
				rest = append(rest, r)
			}
		}
	}
	all := append(first, rest...)
	return all[:min(len(all), maxRoutes)]
}

// attributes lists the attributes of a message after its fixed part, size
// bytes long. Nothing that says more than there is gets through.
func attributes(data []byte, size int) map[uint16][]byte {
	found := make(map[uint16][]byte)
	if len(data) < size {
		return found
	}
	for b := data[size:]; len(b) >= unix.SizeofRtAttr; {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			break
		}
		// The two highest bits are flags (include/uapi/linux/netlink.h).
		found[binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)] = b[unix.SizeofRtAttr:length]
		b = b[min((length+3)&^3, len(b)):]
	}
	return found
}

// number is a 32-bit number of an attribute; 0 when it is none.
func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// text is a string of an attribute.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// parseLink reads a link's message [rtnetlink(7), struct ifinfomsg].
func parseLink(m syscall.NetlinkMessage) (Link, bool) {
	if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
		return Link{}, false
	}
	a := attributes(m.Data, unix.SizeofIfInfomsg)
	flags := number(m.Data[8:])
	l := Link{
		index: int(int32(number(m.Data[4:]))), Name: text(a[unix.IFLA_IFNAME]), MTU: int(number(a[unix.IFLA_MTU])),
		Up: flags&unix.IFF_UP != 0, Carrier: flags&unix.IFF_LOWER_UP != 0,
	}
	if mac := net.HardwareAddr(a[unix.IFLA_ADDRESS]); len(mac) == 6 && !slices.Equal(mac, make(net.HardwareAddr, 6)) {
		l.MAC = mac.String()
	}
	if info := attributes(a[unix.IFLA_LINKINFO], 0); info != nil {
		l.Kind = text(info[unix.IFLA_INFO_KIND])
	}
	return l, l.Name != ""
}

// forever is a lifetime without end (include/net/addrconf.h,
// INFINITY_LIFE_TIME).
const forever = 0xffffffff

// parseAddress reads an address's message [struct ifaddrmsg].
func parseAddress(m syscall.NetlinkMessage) (index int, a Address, ok bool) {
	if m.Header.Type != unix.RTM_NEWADDR || len(m.Data) < unix.SizeofIfAddrmsg {
		return 0, Address{}, false
	}
	attrs := attributes(m.Data, unix.SizeofIfAddrmsg)
	raw := attrs[unix.IFA_LOCAL] // on point-to-point links the other is the peer's
	if raw == nil {
		raw = attrs[unix.IFA_ADDRESS]
	}
	addr, valid := netip.AddrFromSlice(raw)
	if !valid {
		return 0, Address{}, false
	}
	a.Prefix = netip.PrefixFrom(addr, min(int(m.Data[1]), addr.BitLen())).String()
	flags := uint32(m.Data[2])
	if wide := attrs[unix.IFA_FLAGS]; len(wide) >= 4 {
		flags = number(wide)
	}
	switch {
	case flags&unix.IFA_F_DADFAILED != 0:
		a.Note = "duplicate"
	case flags&unix.IFA_F_TENTATIVE != 0:
		a.Note = "tentative"
	case flags&unix.IFA_F_DEPRECATED != 0:
		a.Note = "deprecated"
	}
	// struct ifa_cacheinfo: preferred, valid, made, changed.
	if life := attrs[unix.IFA_CACHEINFO]; len(life) >= 8 {
		a.Preferred, a.Valid = left(number(life)), left(number(life[4:]))
	}
	return int(number(m.Data[4:])), a, true
}

// left is a lifetime in seconds; nil when it has no end.
func left(seconds uint32) *int64 {
	if seconds == forever {
		return nil
	}
	n := int64(seconds)
	return &n
}

// parseRoute reads a route's message [struct rtmsg]: one route for each of
// its next hops. Only unicast routes of the main table are shown, and not
// those that every link has to its own network.
func parseRoute(m syscall.NetlinkMessage, names map[int]string) []Route {
	if m.Header.Type != unix.RTM_NEWROUTE || len(m.Data) < unix.SizeofRtMsg {
		return nil
	}
	family, bits, protocol := m.Data[0], int(m.Data[1]), m.Data[5]
	a := attributes(m.Data, unix.SizeofRtMsg)
	table := uint32(m.Data[4])
	if wide := a[unix.RTA_TABLE]; len(wide) >= 4 {
		table = number(wide)
	}
	flags := number(m.Data[8:])
	if table != unix.RT_TABLE_MAIN || m.Data[7] != unix.RTN_UNICAST || flags&unix.RTM_F_CLONED != 0 ||
		family != unix.AF_INET && family != unix.AF_INET6 {
		return nil
	}
	r := Route{To: "default", Metric: number(a[unix.RTA_PRIORITY]), Origin: origin(protocol)}
	if bits > 0 {
		dst, ok := netip.AddrFromSlice(a[unix.RTA_DST])
		if !ok || bits > dst.BitLen() || dst.IsLinkLocalUnicast() || dst.IsMulticast() {
			return nil
		}
		r.To = netip.PrefixFrom(dst, bits).String()
	}
	// struct rta_cacheinfo: users, last use, what is left in ticks. Routes
	// that stay have 0 there.
	if life := a[unix.RTA_CACHEINFO]; len(life) >= 12 {
		if ticks := int32(number(life[8:])); ticks != 0 {
			seconds := max(int64(ticks), 0) / userHz
			r.Expires = &seconds
		}
	}
	if hops := a[unix.RTA_MULTIPATH]; hops != nil {
		return parseHops(r, hops, names)
	}
	return []Route{r.through(a, int(number(a[unix.RTA_OIF])), names)}
}

// parseHops makes a route of each next hop [struct rtnexthop].
func parseHops(r Route, b []byte, names map[int]string) []Route {
	var all []Route
	for len(b) >= unix.SizeofRtNexthop && len(all) < maxRoutes {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtNexthop || length > len(b) {
			break
		}
		all = append(all, r.through(attributes(b[:length], unix.SizeofRtNexthop), int(number(b[4:])), names))
		b = b[min((length+3)&^3, len(b)):]
	}
	return all
}

// through is the route with its next hop and device.
func (r Route) through(a map[uint16][]byte, index int, names map[int]string) Route {
	if via, ok := netip.AddrFromSlice(a[unix.RTA_GATEWAY]); ok {
		r.Via = via.String()
	} else if via := a[unix.RTA_VIA]; len(via) > 2 { // family, then the address
		if addr, ok := netip.AddrFromSlice(via[2:]); ok {
			r.Via = addr.String()
		}
	}
	if r.Device = names[index]; r.Device == "" {
		r.Device = strconv.Itoa(index)
	}
	return r
}

// origin names who made a route (include/uapi/linux/rtnetlink.h, RTPROT_*).
func origin(protocol byte) string {
	switch protocol {
	case unix.RTPROT_KERNEL:
		return "kernel"
	case unix.RTPROT_BOOT:
		return "boot"
	case unix.RTPROT_STATIC:
		return "static"
	case unix.RTPROT_RA:
		return "ra"
	case unix.RTPROT_DHCP:
		return "dhcp"
	}
	return strconv.Itoa(int(protocol))
}
