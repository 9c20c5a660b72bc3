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
	// DNS and Domains are what is known of name servers and search domains
	// there, NTP of time servers, best first.
	DNS     []netip.Addr
	Domains []string
	NTP     []netip.Addr
	// Route4 and Route6 say that a default route of the family leads there.
	Route4, Route6 bool
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
		if l.Optional {
			continue
		}
		n := slices.IndexFunc(ups, func(u Uplink) bool { return u.Place == i })
		if n < 0 {
			missing = append(missing, fmt.Sprintf("no device matches links[%d] (%s)", i, describe(l)))
		} else if text := lacksOf(l, ups[n]); text != "" {
			missing = append(missing, ups[n].Device.Name+" "+text)
		}
	}
	return len(missing) == 0, strings.Join(missing, ", ")
}

// lacksOf says what a device lacks of what its configuration waits for, empty
// for nothing: what Wait names, or else an address and all static ones.
func lacksOf(l profiles.Link, u Uplink) string {
	for _, need := range l.Wait {
		if !holds(u, need) {
			return needs[need]
		}
	}
	if len(l.Wait) > 0 {
		return ""
	}
	for _, a := range l.Addresses {
		if !slices.Contains(u.Addresses, a.Addr()) {
			return lacks(u)
		}
	}
	if len(u.Addresses) == 0 {
		return lacks(u)
	}
	return ""
}

// needs say what is lacking, by the names of profiles.Link's Wait.
var needs = map[string]string{
	profiles.WaitCarrier: "has no carrier",
	profiles.WaitAddress: "has no address",
	profiles.WaitIPv4:    "has no IPv4 address",
	profiles.WaitIPv6:    "has no IPv6 address",
	profiles.WaitRoute4:  "has no IPv4 default route",
	profiles.WaitRoute6:  "has no IPv6 default route",
}

// holds reports whether an uplink has what can be waited for.
func holds(u Uplink, need string) bool {
	switch need {
	case profiles.WaitCarrier:
		return u.Carrier
	case profiles.WaitAddress:
		return len(u.Addresses) > 0
	case profiles.WaitIPv4:
		return slices.ContainsFunc(u.Addresses, netip.Addr.Is4)
	case profiles.WaitIPv6:
		return slices.ContainsFunc(u.Addresses, netip.Addr.Is6)
	case profiles.WaitRoute4:
		return u.Route4
	case profiles.WaitRoute6:
		return u.Route6
	}
	return true // refused when the profile was read
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

// describe says for people which device a link is.
func describe(l profiles.Link) string {
	if name, _ := l.Virtual(); name != "" {
		return "name " + name
	}
	m := l.Match
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

// maxDomains is how many search domains a resolver takes (MAXDNSRCH,
// resolv.conf(5)).
const maxDomains = 6

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
		for _, d := range u.Domains {
			if soundDomain(d) && !slices.Contains(domains, d) && len(domains) < maxDomains {
				domains = append(domains, d)
			}
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
	return s != "" && len(s) <= 253 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}
