package kernel

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/diff"
	"weft/netd/kernel/socket"
	"weft/netd/wanted"
)

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// decodeLink reads an RTM_NEWLINK or RTM_DELLINK message. Checksum offload is
// not in it.
func decodeLink(b []byte) (l wanted.Link, ok bool) {
	if len(b) < unix.SizeofIfInfomsg {
		return l, false
	}
	if b[0] == unix.AF_BRIDGE {
		return l, false // a bridge speaking of its port, not of a device
	}
	l.Index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	l.Up = binary.NativeEndian.Uint32(b[8:])&unix.IFF_UP != 0
	socket.Attributes(b[unix.SizeofIfInfomsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.Name = socket.CString(v)
		case unix.IFLA_MTU:
			l.MTU = int(u32(v))
		case unix.IFLA_ADDRESS:
			if len(v) == len(l.MAC) {
				l.MAC = wanted.MAC(v)
			}
		case unix.IFLA_IFALIAS:
			l.Alias = socket.CString(v)
		case unix.IFLA_LINKINFO:
			decodeLinkInfo(&l, v)
		case unix.IFLA_AF_SPEC:
			l.AcceptRA = decodeAcceptRA(v)
		}
	})
	return l, l.Name != ""
}

func decodeLinkInfo(l *wanted.Link, b []byte) {
	socket.Attributes(b, func(kind uint16, v []byte) {
		switch kind {
		case nl.IFLA_INFO_KIND:
			l.Kind = wanted.Kind(socket.CString(v))
		case nl.IFLA_INFO_DATA:
			if l.Kind == wanted.KindVXLAN {
				decodeVXLAN(&l.VXLAN, v)
			}
		}
	})
}

func decodeVXLAN(x *wanted.VXLAN, b []byte) {
	socket.Attributes(b, func(kind uint16, v []byte) {
		switch kind {
		case nl.IFLA_VXLAN_ID:
			x.VNI = int(u32(v))
		case nl.IFLA_VXLAN_LINK:
			x.Underlay = int(u32(v))
		case nl.IFLA_VXLAN_LOCAL, nl.IFLA_VXLAN_LOCAL6:
			x.Local = address(v)
		case nl.IFLA_VXLAN_LEARNING:
			x.Learning = len(v) > 0 && v[0] != 0
		case nl.IFLA_VXLAN_PORT:
			if len(v) >= 2 {
				x.Port = int(binary.BigEndian.Uint16(v))
			}
		case nl.IFLA_VXLAN_GBP:
			x.GBP = true
		}
	})
}

// Positions in IFLA_AF_SPEC: the settings of IPv6 are an array of numbers in
// the order of include/uapi/linux/ipv6.h.
const (
	iflaInet6Conf   = 2
	devconfAcceptRA = 3
)

func decodeAcceptRA(b []byte) (accept bool) {
	socket.Attributes(b, func(family uint16, spec []byte) {
		if family != unix.AF_INET6 {
			return
		}
		socket.Attributes(spec, func(kind uint16, conf []byte) {
			if kind == iflaInet6Conf && len(conf) >= 4*devconfAcceptRA+4 {
				accept = u32(conf[4*devconfAcceptRA:]) != 0
			}
		})
	})
	return accept
}

// rawAddress is an address as the kernel tells it.
type rawAddress struct {
	index  int
	prefix netip.Prefix
	net    netip.Prefix // the network on the device; of the other end where there is one
	scope  uint8
	flags  uint32
}

// decodeAddress reads an RTM_NEWADDR or RTM_DELADDR message.
func decodeAddress(b []byte) (a rawAddress, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return a, false
	}
	bits := int(b[1])
	a.flags, a.scope = uint32(b[2]), b[3]
	a.index = int(binary.NativeEndian.Uint32(b[4:]))
	var ip, local netip.Addr
	socket.Attributes(b[unix.SizeofIfAddrmsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFA_ADDRESS:
			ip = address(v)
		case unix.IFA_LOCAL:
			local = address(v)
		case unix.IFA_FLAGS:
			a.flags = u32(v)
		}
	})
	if bits <= ip.BitLen() {
		a.net = netip.PrefixFrom(ip, bits).Masked()
	}
	if local.IsValid() {
		ip = local // on a point-to-point device IFA_ADDRESS is the other end
	}
	a.prefix = netip.PrefixFrom(ip, bits)
	return a, a.prefix.IsValid()
}

// rawRoute is a route as the kernel tells it: a unicast route of the main table,
// or one of netd's that leads nowhere or is in another table.
type rawRoute struct {
	// The device; 0 for a route that leads nowhere.
	index int
	// The name of the device is missing from it.
	route wanted.Route
}

// isDefault reports whether r is a default route.
func (r rawRoute) isDefault() bool { return r.route.Dst.Bits() == 0 }

// decodeRoute reads an RTM_NEWROUTE or RTM_DELROUTE message; not ok are
// routes of other tables and kinds, and the kernel's own.
func decodeRoute(b []byte) (r rawRoute, ok bool) {
	if len(b) < unix.SizeofRtMsg {
		return r, false
	}
	family, bits, table, kind := b[0], int(b[1]), uint32(b[4]), b[7]
	flags := binary.NativeEndian.Uint32(b[8:])
	r.route.Protocol = b[5]
	r.route.OnLink = flags&unix.RTNH_F_ONLINK != 0
	var dst netip.Addr
	switch family {
	case unix.AF_INET:
		dst = netip.IPv4Unspecified()
	case unix.AF_INET6:
		dst = netip.IPv6Unspecified()
	default:
		return r, false
	}
	socket.Attributes(b[unix.SizeofRtMsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.RTA_DST:
			dst = address(v)
		case unix.RTA_GATEWAY:
			r.route.Via = address(v)
		case unix.RTA_OIF:
			r.index = int(u32(v))
		case unix.RTA_PRIORITY:
			r.route.Metric = u32(v)
		case unix.RTA_TABLE:
			table = u32(v)
		case unix.RTA_MULTIPATH:
			decodeFirstHop(&r, v)
		}
	})
	r.route.Dst = netip.PrefixFrom(dst, bits)
	if wanted.Marked(r.route.Protocol) {
		r.route.Unreachable, r.route.Throw = kind == unix.RTN_UNREACHABLE, kind == unix.RTN_THROW
		if r.route.Unreachable || r.route.Throw {
			// Of IPv6, the kernel says that it is on lo (fib6_nh_init).
			kind, r.index = unix.RTN_UNICAST, 0
		}
		if table == wanted.LaneTable {
			r.route.Table, table = table, unix.RT_TABLE_MAIN
		}
	}
	return r, table == unix.RT_TABLE_MAIN && kind == unix.RTN_UNICAST && flags&unix.RTM_F_CLONED == 0 &&
		r.route.Dst.IsValid()
}

// decodeFirstHop takes the first of several next hops (struct rtnexthop).
func decodeFirstHop(r *rawRoute, b []byte) {
	if len(b) < unix.SizeofRtNexthop {
		return
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < unix.SizeofRtNexthop || n > len(b) {
		return
	}
	r.route.OnLink = b[2]&unix.RTNH_F_ONLINK != 0
	r.index = int(binary.NativeEndian.Uint32(b[4:]))
	socket.Attributes(b[unix.SizeofRtNexthop:n], func(kind uint16, v []byte) {
		if kind == unix.RTA_GATEWAY {
			r.route.Via = address(v)
		}
	})
}

// rawNeigh is a neighbour or an FDB entry as the kernel tells it.
type rawNeigh struct {
	index     int
	fdb       bool
	permanent bool
	ip        netip.Addr
	mac       wanted.MAC
}

// decodeNeigh reads an RTM_NEWNEIGH or RTM_DELNEIGH message; not ok are
// entries that netd never makes: proxies, those without an address.
func decodeNeigh(b []byte) (n rawNeigh, ok bool) {
	if len(b) < unix.SizeofNdMsg {
		return n, false
	}
	n.fdb = b[0] == unix.AF_BRIDGE
	n.index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	n.permanent = binary.NativeEndian.Uint16(b[8:])&unix.NUD_PERMANENT != 0
	proxy := b[10]&unix.NTF_PROXY != 0
	socket.Attributes(b[unix.SizeofNdMsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.NDA_DST:
			n.ip = address(v)
		case unix.NDA_LLADDR:
			if len(v) == len(n.mac) {
				n.mac = wanted.MAC(v)
			}
		}
	})
	return n, !proxy && n.ip.IsValid()
}

// object is n as an object of the device named.
func (n rawNeigh) object(link string) diff.Object {
	if n.fdb {
		return wanted.FDBEntry{Link: link, MAC: n.mac, Dst: n.ip}
	}
	return wanted.Neighbour{Link: link, IP: n.ip, MAC: n.mac}
}
