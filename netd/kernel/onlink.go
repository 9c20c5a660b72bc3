package kernel

import (
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/diff"
	"weft/netd/wanted"
)

// An IPv6 route through a gateway on the link (onlink) is refused as long as
// the routing table sends to the gateway by another device (net/ipv6/route.c,
// ip6_route_check_nh_onlink): the route to a tunnel's gateway, which is inside
// the route's own destination, cannot take the place of a plain route. A
// route to the gateway alone, which is there for a moment, makes it possible
// in one step, so that no packet finds no route.

// mismatched reports whether a change failed for this reason.
func mismatched(c diff.Change, err error) bool {
	r, is := c.Object.(wanted.Route)
	return is && c.Verb == diff.Create && r.OnLink && r.Via.Is6() && errors.Is(err, unix.EINVAL)
}

// createOnLink makes a route whose gateway is reached by another device.
func (c *Conn) createOnLink(r wanted.Route, index int) error {
	helper := wanted.Route{Dst: netip.PrefixFrom(r.Via, r.Via.BitLen()), Link: r.Link, Metric: r.Metric, Protocol: r.Protocol}
	answers, err := c.rt.Batch([]*nl.NetlinkRequest{
		changeRoute(unix.RTM_NEWROUTE, createFlags, index, helper),
		changeRoute(unix.RTM_NEWROUTE, createFlags, index, r),
		changeRoute(unix.RTM_DELROUTE, 0, index, helper),
	})
	return errors.Join(err, answers[1])
}
