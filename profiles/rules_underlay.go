package profiles

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"weft/document"
)

// underlayRules are what the choice of the underlay and of the packet filter
// must keep.
var underlayRules = []document.Rule[Network]{
	{ID: "N40", Source: "include/uapi/linux/if.h: IFNAMSIZ is 16 with the zero at the end", Check: eachChoice(checkInterfaces)},
	{ID: "N41", Source: "regexp.Compile: RE2", Check: eachChoice(checkExpressions)},
	{ID: "N42", Source: "one route is looked up for each family", Check: eachChoice(checkCanReach)},
	{ID: "N43", Source: "one subnet holds the address of each family", Check: eachChoice(checkUnderlaySubnet)},
	{ID: "N44", Source: "packet filters of netd", Check: checkFirewallMode},
	{ID: "N45", Source: "an address of a family is on a device for the family", Check: checkChoiceFamilies},
}

// Firewalls lists the packet filters netd has.
var Firewalls = []string{FirewallNFTables, FirewallIPTables}

// placedChoice is ways to choose a device, with where they stand.
type placedChoice struct {
	UnderlayChoice
	path string
}

// choices are the ways to choose for both families, and for each.
func choices(n Network) []placedChoice {
	all := []placedChoice{{n.Underlay.UnderlayChoice, "network.underlay"}}
	if n.Underlay.IPv4 != nil {
		all = append(all, placedChoice{*n.Underlay.IPv4, "network.underlay.ipv4"})
	}
	if n.Underlay.IPv6 != nil {
		all = append(all, placedChoice{*n.Underlay.IPv6, "network.underlay.ipv6"})
	}
	return all
}

// eachChoice lets a check of one choice check them all.
func eachChoice(check func(placedChoice, *document.Document) document.Problems) func(Network, *document.Document) document.Problems {
	return func(n Network, d *document.Document) document.Problems {
		var found document.Problems
		for _, c := range choices(n) {
			found = append(found, check(c, d)...)
		}
		return found
	}
}

// interfaceName is what a network device may be called, less what no udev rule
// makes (net/core/dev.c, dev_valid_name, takes more).
var interfaceName = lazily(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$`)

// checkInterfaces wants names that devices can have, or addresses.
func checkInterfaces(c placedChoice, d *document.Document) document.Problems {
	var found document.Problems
	for i, name := range c.Interfaces {
		at := document.Index(c.path+".interfaces", i)
		address, err := netip.ParseAddr(name)
		switch {
		case err == nil:
			found = append(found, hostAddress(d, at, address)...)
		case !interfaceName().MatchString(name):
			found = append(found, d.Problem(at, fmt.Sprintf("%q is neither the name of a device nor an address", name)).
				WithNote("names have at most 15 characters").
				WithFix("write a name such as eth0, or use interfacesRegex for a pattern"))
		}
	}
	return found
}

// checkExpressions wants expressions that compile and can match.
func checkExpressions(c placedChoice, d *document.Document) document.Problems {
	var found document.Problems
	for i, text := range c.InterfacesRegex {
		at := document.Index(c.path+".interfacesRegex", i)
		if _, err := regexp.Compile(text); err != nil {
			found = append(found, d.Problem(at, fmt.Sprintf("%q is no expression: %v", text, err)).
				WithNote("this is no shell pattern: eth* is written ^eth").
				WithFix("write an expression such as ^eth or ^192\\.168\\."))
		} else if text == "" {
			found = append(found, d.Problem(at, "an empty expression matches every address").
				WithFix("remove it, or write an expression such as ^eth"))
		}
	}
	return found
}

// checkCanReach wants one address of each family that a route can lead to.
func checkCanReach(c placedChoice, d *document.Document) document.Problems {
	path := c.path + ".canReach"
	found := onePerFamily(d, path, c.CanReach)
	for i, a := range c.CanReach {
		found = append(found, hostAddress(d, document.Index(path, i), a)...)
	}
	return found
}

// checkUnderlaySubnet wants one prefix of each family.
func checkUnderlaySubnet(c placedChoice, d *document.Document) document.Problems {
	path := c.path + ".subnet"
	return append(onePerFamily(d, path, bases(c.Subnet)), canonical(d, path, c.Subnet)...)
}

// hostAddress wants an address that a host can have.
func hostAddress(d *document.Document, at string, a netip.Addr) document.Problems {
	if !a.IsValid() || a.Zone() == "" && a.IsGlobalUnicast() && !a.Is4In6() {
		return nil
	}
	return document.Problems{d.Problem(at, fmt.Sprintf("%s is no address of a host on the underlay", a)).
		WithFix("write a global address, such as 192.168.1.1")}
}

// checkChoiceFamilies wants what is said for one family to be of the family.
func checkChoiceFamilies(n Network, d *document.Document) document.Problems {
	var found document.Problems
	for _, c := range choices(n)[1:] {
		ipv6 := c.path == "network.underlay.ipv6"
		for _, list := range []struct {
			path      string
			addresses []netip.Addr
		}{{c.path + ".canReach", c.CanReach}, {c.path + ".subnet", bases(c.Subnet)}} {
			for i, a := range list.addresses {
				if a.IsValid() && a.Is6() != ipv6 {
					found = append(found, d.Problem(document.Index(list.path, i), fmt.Sprintf("%s is of the other family", a)).
						WithFix("move it to network.underlay or to the other family"))
				}
			}
		}
	}
	return found
}

func checkFirewallMode(n Network, d *document.Document) document.Problems {
	if n.Firewall.Mode == "" || slices.Contains(Firewalls, n.Firewall.Mode) {
		return nil
	}
	return document.Problems{d.Problem("network.firewall.mode", fmt.Sprintf("there is no packet filter %q", n.Firewall.Mode)).
		WithFix(document.DidYouMean(n.Firewall.Mode, Firewalls))}
}
