package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// A Lease is what a server lends: an address and what goes with it.
type Lease struct {
	// Address is the address with its prefix length.
	Address netip.Prefix
	// Server identifies the server; renewals go to it.
	Server netip.Addr
	// Routes are the routes the server gives, the default route among them.
	Routes []Route
	// DNS are name servers.
	DNS []netip.Addr
	// NTP are time servers.
	NTP []netip.Addr
	// Hostname is the name the server gives the node; it is not checked.
	Hostname string
	// Domain is the domain it is in.
	Domain string
	// MTU is the link's MTU; 0 when the server says none.
	MTU int
	// Renew, Rebind and Expire are counted from the moment of the request.
	// Forever, all three, means that the lease never ends.
	Renew, Rebind, Expire time.Duration
}

// Route is a route of a lease.
type Route struct {
	Destination netip.Prefix
	// Gateway is unspecified (0.0.0.0) for what is on the link itself.
	Gateway netip.Addr
}

// Forever is a lease time without end (RFC 2131 section 3.3, 0xffffffff).
const Forever = time.Duration(0xffffffff) * time.Second

// Bounds of what a server may ask for.
const (
	// minLease keeps a server from making the node ask all the time.
	minLease = 30 * time.Second
	// noLease is taken when a server gives no time; RFC 2131 asks it to.
	noLease = time.Hour
	// minMTU is what every IPv4 link must carry (RFC 791 section 3.2 says 68;
	// no network that carries 576 is told less, RFC 1122 section 3.3.3).
	minMTU = 576
	maxMTU = 65535
	// maxRoutes and maxDNS (time servers too) bound lists from outside.
	maxRoutes = 64
	maxDNS    = 8
)

// ErrLease says that a server's answer is no usable lease.
var ErrLease = errors.New("unusable lease")

// Read takes the lease out of an offer or acknowledgement.
func Read(m *dhcpv4.DHCPv4) (Lease, error) {
	address, ok := v4(m.YourIPAddr)
	if !ok || !usable(address) {
		return Lease{}, fmt.Errorf("%w: address %s", ErrLease, m.YourIPAddr)
	}
	server, ok := v4(m.ServerIdentifier())
	if !ok || server.IsUnspecified() {
		return Lease{}, fmt.Errorf("%w: no server identifier", ErrLease)
	}
	bits, err := prefixLength(m.SubnetMask(), address)
	if err != nil {
		return Lease{}, err
	}
	l := Lease{
		Address:  netip.PrefixFrom(address, bits),
		Server:   server,
		Hostname: cString(m.HostName()),
		Domain:   cString(m.DomainName()),
	}
	for _, ip := range m.DNS() {
		if a, ok := v4(ip); ok && usable(a) && len(l.DNS) < maxDNS {
			l.DNS = append(l.DNS, a)
		}
	}
	for _, ip := range m.NTPServers() {
		if a, ok := v4(ip); ok && usable(a) && len(l.NTP) < maxDNS {
			l.NTP = append(l.NTP, a)
		}
	}
	l.Routes = routes(m)
	if raw := m.GetOneOption(dhcpv4.OptionInterfaceMTU); len(raw) == 2 {
		if mtu := int(raw[0])<<8 | int(raw[1]); mtu >= minMTU && mtu <= maxMTU {
			l.MTU = mtu
		}
	}
	l.times(m)
	return l, nil
}

// prefixLength is the length of a mask; without one that of the address's
// class would be meant (RFC 950), and 24 is what people mean today.
func prefixLength(mask net.IPMask, address netip.Addr) (int, error) {
	if mask == nil {
		return 24, nil
	}
	ones, size := mask.Size()
	if size != 32 || ones == 0 {
		return 0, fmt.Errorf("%w: subnet mask %s of %s", ErrLease, mask, address)
	}
	return ones, nil
}

// routes are the classless routes (option 121), and only without any of them
// the routers (option 3): RFC 3442 asks to pass over option 3 then.
func routes(m *dhcpv4.DHCPv4) []Route {
	var list []Route
	for _, r := range m.ClasslessStaticRoute() {
		if r == nil || r.Dest == nil || len(list) == maxRoutes {
			continue
		}
		gateway, ok := v4(r.Router)
		dest, okDest := v4(r.Dest.IP)
		ones, size := r.Dest.Mask.Size()
		if !ok || !okDest || size != 32 {
			continue
		}
		list = append(list, Route{netip.PrefixFrom(dest, ones).Masked(), gateway})
	}
	if len(list) > 0 {
		return list
	}
	for _, ip := range m.Router() {
		if a, ok := v4(ip); ok && usable(a) {
			return []Route{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), a}}
		}
	}
	return nil
}

// times fills in the lease's times. Those that make no sense take the defaults
// of RFC 2131 section 4.4.5: half and seven eighths of the lease.
func (l *Lease) times(m *dhcpv4.DHCPv4) {
	l.Expire = m.IPAddressLeaseTime(noLease)
	if l.Expire == Forever {
		l.Renew, l.Rebind = Forever, Forever
		return
	}
	l.Expire = max(l.Expire, minLease)
	l.Renew = m.IPAddressRenewalTime(l.Expire / 2)
	l.Rebind = m.IPAddressRebindingTime(l.Expire / 8 * 7)
	if l.Renew <= 0 || l.Rebind <= l.Renew || l.Rebind >= l.Expire {
		l.Renew, l.Rebind = l.Expire/2, l.Expire/8*7
	}
}

// Same reports whether two leases configure the node alike, their times left
// aside.
func (l Lease) Same(o Lease) bool {
	return l.Address == o.Address && l.MTU == o.MTU && l.Domain == o.Domain && l.Hostname == o.Hostname &&
		slices.Equal(l.Routes, o.Routes) && slices.Equal(l.DNS, o.DNS) && slices.Equal(l.NTP, o.NTP)
}

// v4 turns an address of package net into an IPv4 address.
func v4(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Addr{}, false
	}
	a = a.Unmap()
	return a, a.Is4()
}

// usable reports whether an address may be a host's.
func usable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// cString ends a string at its first zero byte, which some servers count in.
func cString(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}
