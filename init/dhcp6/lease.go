package dhcp6

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// A Lease is what a server gives: addresses, and what goes with them. A
// stateless one has no addresses.
type Lease struct {
	// Addresses are the node's, each a single one (a DHCPv6 server says
	// nothing of the link's prefix; router advertisements do).
	Addresses []Address
	// DNS are name servers, Domains the search list, NTP time servers.
	DNS     []netip.Addr
	Domains []string
	NTP     []netip.Addr
	// Renew and Rebind are counted from the moment of the request; Expire is
	// the longest valid lifetime. Forever means that it never ends. Of a
	// stateless lease only Renew counts: when to ask again.
	Renew, Rebind, Expire time.Duration

	server dhcpv6.DUID
}

// Address is one address of a lease.
type Address struct {
	Addr netip.Addr
	// Preferred and Valid are lifetimes from the moment of the request.
	Preferred, Valid time.Duration
}

// Forever is a lifetime without end (RFC 8415 section 7.7, 0xffffffff).
const Forever = time.Duration(0xffffffff) * time.Second

// Bounds of what a server may ask for.
const (
	// minLease keeps a server from making the node ask all the time.
	minLease = 30 * time.Second
	// refreshDefault and refreshMinimum are IRT_DEFAULT and IRT_MINIMUM
	// (RFC 8415 section 7.6).
	refreshDefault = 24 * time.Hour
	refreshMinimum = 10 * time.Minute
	// maxAddresses and maxServers bound lists from outside.
	maxAddresses = 4
	maxServers   = 8
)

// ErrLease says that a server's answer is no usable lease.
var ErrLease = errors.New("unusable lease")

// read takes the lease out of an advertisement or a reply. iaid is the
// identity association asked for; stateless answers have none.
func read(m *dhcpv6.Message, iaid [4]byte, stateless bool) (Lease, error) {
	server := m.Options.ServerID()
	if server == nil {
		return Lease{}, fmt.Errorf("%w: no server identifier", ErrLease)
	}
	if s := m.Options.Status(); s != nil && s.StatusCode != 0 {
		return Lease{}, fmt.Errorf("%w: %s", ErrLease, s.StatusCode)
	}
	l := Lease{server: server, DNS: usable(m.Options.DNS()), NTP: usable(append(m.Options.NTPServers(), m.Options.SNTP()...))}
	if list := m.Options.DomainSearchList(); list != nil {
		l.Domains = slices.Clone(list.Labels[:min(len(list.Labels), maxServers)])
	}
	if stateless {
		l.Renew = max(m.Options.InformationRefreshTime(refreshDefault), refreshMinimum)
		return l, nil
	}
	for _, ia := range m.Options.IANA() {
		if ia.IaId != iaid {
			continue
		}
		if s := ia.Options.Status(); s != nil && s.StatusCode != 0 {
			return Lease{}, fmt.Errorf("%w: %s", ErrLease, s.StatusCode)
		}
		for _, a := range ia.Options.Addresses() {
			addr, ok := netip.AddrFromSlice(a.IPv6Addr)
			if !ok || !addr.IsGlobalUnicast() || a.ValidLifetime <= 0 || a.PreferredLifetime > a.ValidLifetime ||
				len(l.Addresses) == maxAddresses {
				continue
			}
			l.Addresses = append(l.Addresses, Address{addr, a.PreferredLifetime, max(a.ValidLifetime, minLease)})
		}
		l.times(ia.T1, ia.T2)
	}
	if len(l.Addresses) == 0 {
		return Lease{}, fmt.Errorf("%w: no address in it", ErrLease)
	}
	return l, nil
}

// times fills in the lease's times. A server that leaves them open, or says
// what makes no sense, gets half and four fifths of the shortest preferred
// lifetime (RFC 8415 section 14.2 and 21.4).
func (l *Lease) times(t1, t2 time.Duration) {
	shortest := Forever
	for _, a := range l.Addresses {
		l.Expire = max(l.Expire, a.Valid)
		if a.Preferred > 0 {
			shortest = min(shortest, a.Preferred)
		}
	}
	l.Renew, l.Rebind = t1, t2
	if t1 <= 0 || t2 < t1 || t2 > l.Expire {
		l.Renew, l.Rebind = shortest/2, shortest/5*4
		if shortest == Forever {
			l.Renew, l.Rebind = Forever, Forever
		}
	}
	if l.Renew != Forever {
		l.Renew = max(l.Renew, minLease/2)
		l.Rebind = max(l.Rebind, l.Renew+minLease/4)
	}
}

// Same reports whether two leases configure the node alike, their times left
// aside.
func (l Lease) Same(o Lease) bool {
	return slices.EqualFunc(l.Addresses, o.Addresses, func(a, b Address) bool { return a.Addr == b.Addr }) &&
		slices.Equal(l.DNS, o.DNS) && slices.Equal(l.Domains, o.Domains) && slices.Equal(l.NTP, o.NTP)
}

// usable are the addresses among ips that a host may have.
func usable(ips []net.IP) []netip.Addr {
	var list []netip.Addr
	for _, ip := range ips {
		a, ok := netip.AddrFromSlice(ip)
		if ok && a.Is6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() &&
			len(list) < maxServers && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}
