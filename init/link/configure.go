package link

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"weft/init/dhcp"
	"weft/profiles"
)

// Route protocols (include/uapi/linux/rtnetlink.h), by which a reader of
// `ip route` sees whose a route is.
const (
	protoStatic = 4  // RTPROT_STATIC
	protoDHCP   = 16 // RTPROT_DHCP
)

// configure sets what the profile says of the device and brings it up.
func (m *manager) configure(up *uplink) {
	start := time.Now()
	d := up.Device
	fail := func(what string, err error) {
		if err != nil {
			m.Problem(fmt.Errorf("%s: %s: %w", d.Name, what, err))
		}
	}
	dev := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: d.Index, Name: d.Name}}
	if up.conf.MTU != 0 {
		fail(fmt.Sprintf("MTU %d", up.conf.MTU), netlink.LinkSetMTU(dev, up.conf.MTU))
	}
	for _, a := range up.conf.Addresses {
		fail("address "+a.String(), netlink.AddrReplace(dev, &netlink.Addr{IPNet: ipNet(a)}))
	}
	// Up before its routes, which the kernel refuses on a device that is down.
	// The carrier follows in a message of its own.
	fail("bring it up", netlink.LinkSetUp(dev))
	for _, gateway := range up.conf.Gateways {
		fail("gateway "+gateway.String(), netlink.RouteReplace(m.static(up, gateway)))
	}
	for _, r := range up.conf.Routes {
		fail("route "+r.To.String(), netlink.RouteReplace(m.staticRoute(up, r)))
	}
	text := d.MAC.String()
	if d.Driver != "" {
		text += " " + d.Driver
	}
	for _, a := range up.conf.Addresses {
		text += " " + a.String()
	}
	m.Step("link "+d.Name, time.Since(start), text)
}

// metric orders the default routes of several uplinks: by their place in the
// profile, then by device. It stays below 1024, which the kernel gives routes
// learned from IPv6 routers, so that what a person wrote wins.
func metric(u Uplink) int { return 100 + 10*min(u.Place, 50) + min(u.Device.Index, 300) }

// static is the default route through a gateway of the profile.
func (m *manager) static(up *uplink, gateway netip.Addr) *netlink.Route {
	any4, any6 := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
	dest := any4
	if gateway.Is6() {
		dest = any6
	}
	r := &netlink.Route{
		LinkIndex: up.Device.Index, Dst: ipNet(dest), Gw: gateway.AsSlice(),
		Priority: metric(up.Uplink), Protocol: protoStatic,
	}
	if !onLink(gateway, up.conf.Addresses) {
		r.Flags = int(netlink.FLAG_ONLINK)
	}
	return r
}

// staticRoute is a further route of the profile.
func (m *manager) staticRoute(up *uplink, r profiles.Route) *netlink.Route {
	k := &netlink.Route{LinkIndex: up.Device.Index, Dst: ipNet(r.To), Priority: r.Metric, Protocol: protoStatic}
	if k.Priority == 0 {
		k.Priority = metric(up.Uplink)
	}
	if !r.Via.IsValid() {
		k.Scope = netlink.SCOPE_LINK
		return k
	}
	k.Gw = r.Via.AsSlice()
	if !onLink(r.Via, up.conf.Addresses) {
		k.Flags = int(netlink.FLAG_ONLINK)
	}
	return k
}

// setSTP turns a bridge's spanning tree protocol on, which the netlink
// library cannot.
func setSTP(sys, name string) error {
	path := filepath.Join(sys, "class/net", name, "bridge/stp_state")
	if err := os.WriteFile(path, []byte("1\n"), 0); err != nil {
		return fmt.Errorf("spanning tree: %w", err)
	}
	return nil
}

// onLink reports whether a gateway lies in the network of one of addresses.
// One that does not is reached all the same when the kernel is told so, as
// clouds with /32 addresses need it.
func onLink(gateway netip.Addr, addresses []netip.Prefix) bool {
	return gateway.IsLinkLocalUnicast() || slices.ContainsFunc(addresses, func(p netip.Prefix) bool { return p.Contains(gateway) })
}

// apply makes the kernel's state that of the lease.
func (m *manager) apply(up *uplink, since time.Time, before dhcp.Lease, had bool) {
	l, name := up.lease, up.Device.Name
	dev := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: up.Device.Index, Name: name}}
	addr := &netlink.Addr{IPNet: ipNet(l.Address)}
	if l.Expire != dhcp.Forever {
		// The kernel removes the address itself when the lease runs out, even
		// if init should not be there to see it.
		left := time.Until(since.Add(l.Expire))
		addr.ValidLft = max(int(left/time.Second), 1)
		addr.PreferedLft = addr.ValidLft
	}
	if err := netlink.AddrReplace(dev, addr); err != nil {
		m.Problem(fmt.Errorf("%s: address %s: %w", name, l.Address, err))
	}
	if up.conf.MTU == 0 && l.MTU != 0 && l.MTU != before.MTU {
		if err := netlink.LinkSetMTU(dev, l.MTU); err != nil {
			m.Problem(fmt.Errorf("%s: MTU %d from the DHCP server: %w", name, l.MTU, err))
		}
	}
	for _, r := range m.routes(up, before.Routes) {
		if had && !slices.ContainsFunc(l.Routes, func(n dhcp.Route) bool { return ipNet(n.Destination).String() == r.Dst.String() }) {
			_ = netlink.RouteDel(r) // it may have gone with its address
		}
	}
	for _, r := range m.routes(up, l.Routes) {
		if err := netlink.RouteReplace(r); err != nil {
			m.Problem(fmt.Errorf("%s: route %s via %s: %w", name, r.Dst, r.Gw, err))
		}
	}
}

// routes are the kernel's form of a lease's routes, those on the link first,
// since gateways may lie behind them.
func (m *manager) routes(up *uplink, list []dhcp.Route) []*netlink.Route {
	var near, far []*netlink.Route
	for _, r := range list {
		k := &netlink.Route{
			LinkIndex: up.Device.Index, Dst: ipNet(r.Destination), Src: up.lease.Address.Addr().AsSlice(),
			Priority: metric(up.Uplink), Protocol: protoDHCP,
		}
		if r.Gateway.IsUnspecified() {
			k.Scope = netlink.SCOPE_LINK
			near = append(near, k)
			continue
		}
		k.Gw = r.Gateway.AsSlice()
		if !onLink(r.Gateway, []netip.Prefix{up.lease.Address.Masked()}) {
			k.Flags = int(netlink.FLAG_ONLINK)
		}
		far = append(far, k)
	}
	return append(near, far...)
}

// remove takes the lease's routes and address away. What is gone already is
// as it should be.
func (m *manager) remove(up *uplink) {
	for _, r := range m.routes(up, up.lease.Routes) {
		_ = netlink.RouteDel(r)
	}
	dev := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: up.Device.Index, Name: up.Device.Name}}
	_ = netlink.AddrDel(dev, &netlink.Addr{IPNet: ipNet(up.lease.Address)})
}

// ipNet converts for the netlink library.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
