package link

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/init/dhcp6"
	"weft/init/router"
	"weft/profiles"
)

// WantsDHCP6 reports whether a link asks a DHCPv6 server that its routers
// speak of.
func WantsDHCP6(l profiles.Link) bool {
	if l.DHCP6 != nil {
		return *l.DHCP6
	}
	return WantsAdvertisements(l)
}

// hearRouters takes in what IPv6 routers say until ctx ends.
func (m *manager) hearRouters(ctx context.Context) {
	err := router.Listen(ctx, func(n router.News) { m.do(func() { m.routerSays(n) }) })
	if err != nil {
		m.Problem(fmt.Errorf("%w; name servers of IPv6 routers, and DHCPv6, are not used", err))
	}
}

// routerSays takes in what a router said.
func (m *manager) routerSays(n router.News) {
	up := m.ups[n.Index]
	if up == nil || !WantsAdvertisements(up.conf) {
		return
	}
	if n.Flags {
		if up.modes != nil {
			latest(up.modes, mode(n))
		}
		return
	}
	up.routers.Add(time.Now(), n.Advert)
	m.changed()
}

// mode is what routers tell hosts to ask a DHCPv6 server for.
func mode(n router.News) dhcp6.Mode {
	switch {
	case n.Managed:
		return dhcp6.Stateful
	case n.Other:
		return dhcp6.Stateless
	}
	return dhcp6.Off
}

// startDHCP6 makes a link ask by DHCPv6 until ctx ends, once a router says
// that there is whom to ask.
func (m *manager) startDHCP6(ctx context.Context, up *uplink, mac net.HardwareAddr) {
	d := up.Device
	carrier := make(chan bool, 1)
	up.carriers = append(up.carriers, carrier)
	up.modes = make(chan dhcp6.Mode, 1)
	client := dhcp6.Client{
		Device:  d.Name,
		Machine: dhcp6.NewMachine(func() dhcpv6.DUID { return m.duid(mac) }, iaid(mac), m.Hostname, m.Random),
		Carrier: carrier,
		Modes:   up.modes,
		Lease:   func(l dhcp6.Lease, since time.Time) { m.do(func() { m.leased6(d.Index, l, since) }) },
		Lost:    func(_ dhcp6.Lease, why string) { m.do(func() { m.unleased6(d.Index, why) }) },
		Problem: m.Problem,
	}
	m.Go(func() { client.Run(ctx) })
}

// duid names the node for DHCPv6 servers: by its identity (RFC 6355), which a
// new card does not change, and only without one by the device.
func (m *manager) duid(mac net.HardwareAddr) dhcpv6.DUID {
	if id := m.UUID(); id != ([16]byte{}) {
		return &dhcpv6.DUIDUUID{UUID: id}
	}
	return &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: mac}
}

// iaid names a link within the node, the same at every boot: the end of its
// hardware address.
func iaid(mac net.HardwareAddr) (id [4]byte) {
	if len(mac) >= 4 {
		copy(id[:], mac[len(mac)-4:])
	}
	binary.BigEndian.PutUint32(id[:], binary.BigEndian.Uint32(id[:])|1) // never zero
	return id
}

// leased6 configures what a DHCPv6 server lends.
func (m *manager) leased6(index int, l dhcp6.Lease, since time.Time) {
	up := m.ups[index]
	if up == nil {
		return
	}
	before := up.lease6
	up.lease6 = l
	for _, a := range before.Addresses {
		if !slices.ContainsFunc(l.Addresses, func(b dhcp6.Address) bool { return b.Addr == a.Addr }) {
			_ = netlink.AddrDel(up.handle(), single(a.Addr)) // it may have run out
		}
	}
	for _, a := range l.Addresses {
		addr := single(a.Addr)
		addr.ValidLft, addr.PreferedLft = left(since, a.Valid), left(since, a.Preferred)
		// The prefix of the link is the routers' to say, not the server's.
		addr.Flags = unix.IFA_F_NOPREFIXROUTE
		if err := netlink.AddrReplace(up.handle(), addr); err != nil {
			m.Problem(fmt.Errorf("%s: address %s: %w", up.Device.Name, a.Addr, err))
		}
	}
	if !before.Same(l) {
		m.Step("dhcpv6 "+up.Device.Name, time.Since(up.began), l.String())
	}
	m.changed()
}

// unleased6 takes back what a lost DHCPv6 lease configured.
func (m *manager) unleased6(index int, why string) {
	up := m.ups[index]
	if up == nil {
		return
	}
	for _, a := range up.lease6.Addresses {
		_ = netlink.AddrDel(up.handle(), single(a.Addr))
	}
	up.lease6 = dhcp6.Lease{}
	m.Problem(fmt.Errorf("dhcpv6 on %s: %s", up.Device.Name, why))
	m.changed()
}

// handle is the device for the netlink library.
func (up *uplink) handle() netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: up.Device.Index, Name: up.Device.Name}}
}

// single is an address without a network.
func single(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, a.BitLen()))}
}

// left is what remains of a lifetime that began at since, in seconds, as the
// kernel takes it: 0 would stand for ever there.
func left(since time.Time, lifetime time.Duration) int {
	if lifetime == dhcp6.Forever {
		return 0
	}
	return max(int(time.Until(since.Add(lifetime))/time.Second), 1)
}
