package link

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/profiles"
)

// subscribeRoutes asks for messages about routes, those that are there first,
// if any link waits for a default route. Otherwise it asks for none: a node
// of a large network has thousands of routes that are not init's business.
func (m *manager) subscribeRoutes(failed func(error)) (chan netlink.RouteUpdate, error) {
	waits := slices.ContainsFunc(m.Links, func(l profiles.Link) bool {
		return slices.Contains(l.Wait, profiles.WaitRoute4) || slices.Contains(l.Wait, profiles.WaitRoute6)
	})
	if !waits {
		return nil, nil
	}
	routes := make(chan netlink.RouteUpdate)
	err := netlink.RouteSubscribeWithOptions(routes, m.ctx.Done(), netlink.RouteSubscribeOptions{
		ListExisting: true, ErrorCallback: failed, ReceiveBufferSize: receiveBuffer,
	})
	if err != nil {
		return nil, fmt.Errorf("routes: subscribe: %w", err)
	}
	return routes, nil
}

// route takes a message about a route. Only default routes of the main table
// matter.
func (m *manager) route(u netlink.RouteUpdate) {
	if u.Route.Table != unix.RT_TABLE_MAIN || u.Route.Dst != nil && !isDefault(u.Route) {
		return
	}
	for _, index := range hops(u.Route) {
		key := defaultRoute{index: index, ipv6: u.Route.Family == unix.AF_INET6, metric: u.Route.Priority}
		if key.ipv6 {
			key.gateway = u.Route.Gw.String()
		}
		if u.Type == unix.RTM_NEWROUTE {
			m.defaults[key] = true
		} else {
			delete(m.defaults, key)
		}
	}
	changed := false
	for _, up := range m.ups {
		had4, had6 := up.Route4, up.Route6
		m.lookForDefaults(up)
		changed = changed || had4 != up.Route4 || had6 != up.Route6
	}
	if changed {
		m.changed()
	}
}

// lookForDefaults notes which default routes lead to an uplink.
func (m *manager) lookForDefaults(up *uplink) {
	up.Route4, up.Route6 = false, false
	for key := range m.defaults {
		if key.index == up.Device.Index {
			up.Route4, up.Route6 = up.Route4 || !key.ipv6, up.Route6 || key.ipv6
		}
	}
}

// defaultRoute is what tells default routes apart. An IPv4 route takes the
// place of one with its metric, so its gateway does not count; IPv6 routes
// stand side by side.
type defaultRoute struct {
	index   int
	ipv6    bool
	metric  int
	gateway string
}

// isDefault reports whether a route's destination is everything.
func isDefault(r netlink.Route) bool {
	bits, _ := r.Dst.Mask.Size()
	return bits == 0
}

// hops are the devices a route leads to.
func hops(r netlink.Route) []int {
	list := []int{r.LinkIndex}
	for _, h := range r.MultiPath {
		list = append(list, h.LinkIndex)
	}
	return list
}
