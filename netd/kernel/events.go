package kernel

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"weft/netd/diff"
	"weft/netd/kernel/socket"
	"weft/netd/wanted"
)

// An Event is news from the kernel.
type Event struct {
	// Event is about an object of netd's; its Object is nil otherwise.
	diff.Event
	// Index is the device the news is about.
	Index int
	// Host says that an address or a default route changed that is not
	// netd's, Device that a device did: the choice of the underlay may have
	// to be made again.
	Host, Device bool
	// Route says that a route changed that is not netd's; it is Other unless
	// it is gone.
	Route bool
	Other wanted.Route
	// Dst is the destination of that route.
	Dst netip.Prefix
	// Down says that a device of netd's is down, which takes its routes and
	// neighbours with it; the kernel does not tell of each.
	Down bool
	// Lost says that the kernel had more to tell than fitted into the buffer:
	// everything has to be read again.
	Lost bool
}

// Events subscribes to what changes in devices, addresses, routes, rules,
// neighbours and FDB entries and delivers it in the order it happened, in the
// groups in which it arrived. Routes, rules and neighbours that this Conn
// changes itself are not among it. The subscription has begun when Events
// returns; it ends with ctx or with the loop. A group is valid until the next.
func (c *Conn) Events(ctx context.Context) (iter.Seq2[[]Event, error], error) {
	listener, err := c.rt.Listen(unix.NETLINK_ROUTE, []int{unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE},
		// News of FDB entries does not say who made them and arrives all the same.
		unix.RTM_NEWROUTE, unix.RTM_DELROUTE, unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH,
		unix.RTM_NEWRULE, unix.RTM_DELRULE)
	if err != nil {
		return nil, fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	return func(yield func([]Event, error) bool) {
		var group []Event
		for datagram, err := range listener.Datagrams(ctx) {
			group = group[:0]
			switch {
			case errors.Is(err, socket.ErrLost):
				group = append(group, Event{Lost: true})
			case err != nil:
				yield(nil, fmt.Errorf("rtnetlink events: %w", err))
				return
			default:
				err = socket.Messages(datagram, func(h unix.NlMsghdr, data []byte) {
					if e, ok := c.event(h.Type, data); ok {
						group = append(group, e)
					}
				})
				if err != nil {
					group = append(group[:0], Event{Lost: true})
				}
			}
			if len(group) > 0 && !yield(group, nil) {
				return
			}
		}
	}, nil
}

// event turns a message into an event; not ok are those that matter to nobody.
func (c *Conn) event(kind uint16, data []byte) (Event, bool) {
	gone := slices.Contains([]uint16{unix.RTM_DELLINK, unix.RTM_DELADDR, unix.RTM_DELROUTE, unix.RTM_DELRULE, unix.RTM_DELNEIGH}, kind)
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return c.linkEvent(gone, data)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		a, ok := decodeAddress(data)
		if !ok {
			return Event{}, false
		}
		name, own := c.owned(a.index)
		if !own {
			return Event{Index: a.index, Host: true}, true
		}
		e := Event{Index: a.index}
		e.Gone, e.Object = gone, wanted.Address{Link: name, Prefix: a.prefix}
		return e, !a.kernelMade()
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return c.routeEvent(gone, data)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		r, ok := decodeRule(data)
		return Event{Event: diff.Event{Gone: gone, Object: r}}, ok
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		n, ok := decodeNeigh(data)
		name, own := c.owned(n.index)
		if !ok || !own {
			return Event{}, false
		}
		e := Event{Index: n.index}
		// An entry that is no longer permanent has lost what netd gave it.
		e.Gone, e.Object = gone || !n.permanent, n.object(name)
		return e, true
	}
	return Event{}, false
}

func (c *Conn) linkEvent(gone bool, data []byte) (Event, bool) {
	l, ok := decodeLink(data)
	if !ok {
		return Event{}, false
	}
	e := Event{Index: l.Index}
	if !c.hear(l, gone) {
		e.Device = true
		return e, true
	}
	if !gone {
		// An error here means that the device is already gone again, of
		// which the next message tells.
		l.ChecksumOffload, _ = c.checksumOffload(l.Name)
		if err := c.completeWireGuard(&l); err != nil {
			e.Lost = true // read everything again
			return e, true
		}
	}
	e.Gone, e.Object, e.Down = gone, l, gone || !l.Up
	return e, true
}

func (c *Conn) routeEvent(gone bool, data []byte) (Event, bool) {
	r, ok := decodeRoute(data)
	if !ok || r.route.Protocol == unix.RTPROT_KERNEL && !r.isDefault() {
		return Event{Index: r.index, Route: true, Dst: r.route.Dst}, ok
	}
	name, own := c.owned(r.index)
	if !own && wanted.Marked(r.route.Protocol) {
		name, own = c.name(r.index), true
	}
	if !own {
		e := Event{Index: r.index, Host: r.isDefault(), Route: true, Dst: r.route.Dst}
		if !gone {
			e.Other = r.route
		}
		return e, true
	}
	e := Event{Index: r.index}
	r.route.Link = name
	e.Gone, e.Object = gone, r.route
	return e, true
}

// owned is the name of a device, and whether it is netd's.
func (c *Conn) owned(index int) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names[index], c.own[index]
}

// hear notes what a link event says of names and owners and reports whether
// the device is netd's.
func (c *Conn) hear(l wanted.Link, gone bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.own[l.Index] || c.scope[l.Name] || l.Alias == wanted.Mark
	if gone {
		delete(c.names, l.Index)
		delete(c.own, l.Index)
		return own
	}
	c.names[l.Index] = l.Name
	if own {
		c.own[l.Index] = true
	}
	return own
}
