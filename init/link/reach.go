package link

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/profiles"
)

// An Uplink is an uplink as it is at the moment.
type Uplink struct {
	// Device is the device, Place the place of its configuration in the
	// profile's list.
	Device Device
	Place  int
	// Carrier says that the cable is in.
	Carrier bool
	// Addresses are its usable global addresses.
	Addresses []netip.Addr
	// DNS and Domain are what is known of name servers there, best first.
	DNS    []netip.Addr
	Domain string
}

// Reached reports whether the uplinks are what the profile asks for: each
// link of the list has a device with an address, or without a list any device
// has. Otherwise it says what is missing.
func Reached(links []profiles.Link, ups []Uplink) (bool, string) {
	if len(links) == 0 {
		var seen []string
		for _, u := range ups {
			if len(u.Addresses) > 0 {
				return true, ""
			}
			seen = append(seen, u.Device.Name+" "+lacks(u))
		}
		if len(seen) == 0 {
			return false, "no network device was found; is its driver among the board's drivers?"
		}
		return false, strings.Join(seen, ", ")
	}
	var missing []string
	for i, l := range links {
		n := slices.IndexFunc(ups, func(u Uplink) bool { return u.Place == i })
		switch {
		case n < 0:
			missing = append(missing, fmt.Sprintf("no device matches links[%d] (%s)", i, describe(l.Match)))
		case !complete(l, ups[n]):
			missing = append(missing, ups[n].Device.Name+" "+lacks(ups[n]))
		}
	}
	return len(missing) == 0, strings.Join(missing, ", ")
}

// complete reports whether a device has what its configuration promises: all
// static addresses, and at least one address at all.
func complete(l profiles.Link, u Uplink) bool {
	for _, a := range l.Addresses {
		if !slices.Contains(u.Addresses, a.Addr()) {
			return false
		}
	}
	return len(u.Addresses) > 0
}

// lacks says what a device without its addresses waits for.
func lacks(u Uplink) string {
	switch {
	case !u.Carrier:
		return "has no carrier"
	case len(u.Addresses) == 0:
		return "has no address; no DHCP server or IPv6 router answers"
	}
	return "has not all of its addresses"
}

// describe says a match for people.
func describe(m profiles.Match) string {
	var parts []string
	for _, p := range []struct{ key, value string }{{"name", m.Name}, {"mac", m.MAC}, {"driver", m.Driver}} {
		if p.value != "" {
			parts = append(parts, p.key+" "+p.value)
		}
	}
	return strings.Join(parts, ", ")
}

// maxServers is how many name servers a resolver takes (MAXNS, resolv.conf(5)).
const maxServers = 3

// Resolv is the text of /etc/resolv.conf for the uplinks. Link-local servers
// are left out: their zone means nothing inside a container, and container
// runtimes refuse a file that has no others.
func Resolv(ups []Uplink) string {
	var servers []netip.Addr
	var domains []string
	for _, u := range ups {
		for _, a := range u.DNS {
			if !a.IsLinkLocalUnicast() && !slices.Contains(servers, a) && len(servers) < maxServers {
				servers = append(servers, a)
			}
		}
		if u.Domain != "" && soundDomain(u.Domain) && !slices.Contains(domains, u.Domain) {
			domains = append(domains, u.Domain)
		}
	}
	var b strings.Builder
	if len(servers) == 0 {
		b.WriteString("# no name server is known\n")
	}
	if len(domains) > 0 {
		b.WriteString("search " + strings.Join(domains, " ") + "\n")
	}
	for _, a := range servers {
		b.WriteString("nameserver " + a.String() + "\n")
	}
	return b.String()
}

// soundDomain keeps what a server sends from writing lines of its own.
func soundDomain(s string) bool {
	return len(s) <= 253 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}
