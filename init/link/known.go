package link

import (
	"net/netip"
	"slices"
	"time"
)

// known is the uplink as it is told to others. next becomes the time at which
// something of it runs out, if that is earlier.
func (up *uplink) known(now time.Time, next *time.Time) Uplink {
	u := up.Uplink
	u.Addresses = slices.Clone(u.Addresses)
	servers, domains, until := up.routers.At(now)
	if !until.IsZero() && (next.IsZero() || until.Before(*next)) {
		*next = until
	}
	// What a person wrote comes first, then what servers were asked for, then
	// what routers say unasked.
	u.DNS = slices.Concat(up.conf.DNS, up.lease.DNS, up.lease6.DNS, servers)
	u.Domains = slices.Clone(up.conf.Domains)
	if up.lease.Domain != "" {
		u.Domains = append(u.Domains, up.lease.Domain)
	}
	u.Domains = slices.Concat(u.Domains, up.lease6.Domains, domains)
	u.NTP = slices.Concat(up.lease.NTP, up.lease6.NTP)
	return u
}

// TimeServers are the time servers that the networks of the uplinks name, each
// once.
func TimeServers(ups []Uplink) []netip.Addr {
	var all []netip.Addr
	for _, u := range ups {
		for _, a := range u.NTP {
			if a.IsLinkLocalUnicast() && a.Is6() {
				a = a.WithZone(u.Device.Name)
			}
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}
