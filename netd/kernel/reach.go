package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/kernel/socket"
	"weft/netd/underlay"
)

// nextHops are the next hops of the default route in an RTM_NEWROUTE message:
// one, or those of a multipath route in their order. The route itself is
// decoded already, in r.
func nextHops(b []byte, r rawRoute) []underlay.Default {
	hop := underlay.Default{IPv6: r.route.Dst.Addr().Is6(), Index: r.index, Metric: r.route.Metric}
	hop.Dead = binary.NativeEndian.Uint32(b[8:])&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN) != 0
	hops := []underlay.Default{hop}
	socket.Attributes(b[unix.SizeofRtMsg:], func(kind uint16, v []byte) {
		if kind != unix.RTA_MULTIPATH {
			return
		}
		hops = nil
		for len(v) >= unix.SizeofRtNexthop { // struct rtnexthop
			n := int(binary.NativeEndian.Uint16(v))
			if n < unix.SizeofRtNexthop || n > len(v) {
				return
			}
			hop.Index = int(int32(binary.NativeEndian.Uint32(v[4:])))
			hop.Dead = v[2]&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN) != 0
			hops = append(hops, hop)
			v = v[min(socket.Align(n), len(v)):]
		}
	})
	return hops
}

// routesTo looks up how the kernel would send to each of the addresses. Those
// without a route, and those that are the node's own, are left out.
func (c *Conn) routesTo(addresses []netip.Addr) (map[netip.Addr]underlay.Route, error) {
	if len(addresses) == 0 {
		return nil, nil
	}
	requests := make([]*nl.NetlinkRequest, len(addresses))
	for i, a := range addresses {
		requests[i] = routeLookup(a)
	}
	routes := make(map[netip.Addr]underlay.Route, len(addresses))
	err := c.rt.Ask(requests, func(n int, data []byte) {
		if len(data) < unix.SizeofRtMsg || data[7] != unix.RTN_UNICAST {
			return
		}
		var route underlay.Route
		socket.Attributes(data[unix.SizeofRtMsg:], func(kind uint16, v []byte) {
			switch kind {
			case unix.RTA_OIF:
				route.Index = int(u32(v))
			case unix.RTA_PREFSRC:
				route.Source = address(v)
			}
		})
		routes[addresses[n]] = route
	})
	if err != nil {
		return nil, fmt.Errorf("look up routes: %w", err)
	}
	return routes, nil
}
