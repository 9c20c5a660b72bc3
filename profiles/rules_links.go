package profiles

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"weft/document"
)

// maxDevice is the longest name of a network device, in bytes (IFNAMSIZ less
// the final zero, include/uapi/linux/if.h).
const maxDevice = 15

// A linkList is a list of links with its place in a file.
type linkList struct {
	path  string
	links []Link
	// network is nil when it is not known, as in a node file.
	network *Network
}

// linkRules are what a list of links must keep.
var linkRules = []document.Rule[linkList]{
	{ID: "B11", Source: "a packet has one way to go", Check: checkLinksOutsidePods},
	{ID: "I2", Source: "K3s replaces a resolv.conf of loopback addresses by 8.8.8.8", Check: checkDNS},
	{ID: "N15", Source: "netdevice(7); path.Match", Check: checkMatches},
	{ID: "N16", Source: "RFC 6890; RFC 4291, section 2.6.1", Check: checkLinkAddresses},
	{ID: "N17", Source: "a default gateway is one of each family", Check: checkGateways},
	{ID: "N18", Source: "RFC 791, section 3.1; RFC 8200, section 5", Check: func(l linkList, d *document.Document) document.Problems {
		return eachLink(l, func(at string, k Link) document.Problems {
			low, note := MinMTU4, ""
			for _, a := range k.Addresses {
				if a.Addr().Is6() {
					low, note = MinMTU6, "IPv6 needs 1280"
				}
			}
			return inRange(d, at+".mtu", k.MTU, low, MaxMTU, note)
		})
	}},
	{ID: "N50", Source: "ip-link(8): vlan, bond, bridge", Check: checkVirtual},
	{ID: "N51", Source: "what a node can wait for", Check: checkWaits},
	{ID: "N52", Source: "ip-route(8)", Check: checkRoutes},
	{ID: "N25", Level: document.Warning, Source: "a gateway is a neighbour", Check: checkGatewayReachable},
}

// eachLink collects what a check finds in each link.
func eachLink(l linkList, check func(at string, k Link) document.Problems) document.Problems {
	var found document.Problems
	for i, k := range l.links {
		found = append(found, check(document.Index(l.path, i), k)...)
	}
	return found
}

// checkMatches wants each link to choose a device, and no two the same way.
func checkMatches(l linkList, d *document.Document) document.Problems {
	first := make(map[Match]string, len(l.links))
	return eachLink(l, func(at string, k Link) document.Problems {
		if name, _ := k.Virtual(); name != "" || k.VLAN != nil || k.Bond != nil || k.Bridge != nil {
			return nil // checked by checkVirtual
		}
		if k.Match == (Match{}) {
			return document.Problems{d.Problem(at+".match", "the link matches no device").
				WithFix("give match a name, a mac or a driver")}
		}
		found := macProblem(d, at+".match.mac", k.Match.MAC)
		found = append(found, deviceName(d, at+".match.name", k.Match.Name)...)
		if !moduleName(k.Match.Driver) && k.Match.Driver != "" {
			found = append(found, d.Problem(at+".match.driver", fmt.Sprintf("%q is no name of a driver", k.Match.Driver)).
				WithFix("write the name that ethtool -i prints, such as virtio_net"))
		}
		if before, twice := first[k.Match]; twice {
			found = append(found, d.KeyProblem(at+".match", "two links match the same devices").
				WithNote(inLine(d, before+".match", "the first is")).WithFix("make one of them"))
		}
		first[k.Match] = at
		return found
	})
}

// deviceName wants "" or the name of a network device, or a pattern for it.
func deviceName(d *document.Document, at, name string) document.Problems {
	if name == "" {
		return nil
	}
	p := d.Problem(at, fmt.Sprintf("%q is no name of a network device", name))
	if _, err := path.Match(name, ""); err != nil {
		return document.Problems{p.WithNote("a bracket or backslash is not closed").WithFix("write a pattern such as en* or eth[01]")}
	}
	if strings.ContainsAny(name, "/: \t\n") || name == "." || name == ".." {
		return document.Problems{p.WithNote("slash, colon and space are not allowed").WithFix("write a name such as eth0, or a pattern such as en*")}
	}
	if !strings.ContainsAny(name, `*?[\`) && len(name) > maxDevice {
		return document.Problems{p.WithNote(fmt.Sprintf("it is longer than %d characters", maxDevice)).
			WithFix("write the name that ip link prints, or a pattern such as en*")}
	}
	return nil
}

// checkLinkAddresses wants addresses that a device can have, each once.
func checkLinkAddresses(l linkList, d *document.Document) document.Problems {
	first := map[netip.Addr]string{}
	return eachLink(l, func(at string, k Link) document.Problems {
		var found document.Problems
		for i, a := range k.Addresses {
			if !a.IsValid() {
				continue
			}
			here := document.Index(at+".addresses", i)
			if p, bad := linkAddress(d, here, a); bad {
				found = append(found, p)
			}
			if before, twice := first[a.Addr()]; twice {
				found = append(found, d.Problem(here, fmt.Sprintf("%s is here twice", a.Addr())).
					WithNote(inLine(d, before, "the first is")).WithFix("remove one"))
			}
			first[a.Addr()] = here
		}
		return found
	})
}

// linkAddress checks one static address. fe80::/10 is allowed: some networks
// route by link-local addresses only.
func linkAddress(d *document.Document, at string, a netip.Prefix) (document.Problem, bool) {
	p := d.Problem(at, fmt.Sprintf("%s cannot be a node's address", a))
	host := netip.PrefixFrom(a.Addr(), a.Addr().BitLen())
	use := specialUse(host)
	if a.Addr().Is6() && a.Addr().IsLinkLocalUnicast() {
		use = ""
	}
	switch {
	case use != "":
		return p.WithNote("it is one of the " + use).WithFix("write an address of the network that the device is on"), true
	case a.Bits() == 0:
		return p.WithNote("/0 would be the whole Internet").WithFix("give the length of your network, such as /24"), true
	case a.Addr().Is4() && a.Bits() < 31 && a == a.Masked():
		return p.WithNote("it is the network itself").
			WithFix("write the node's own address, such as " + netip.PrefixFrom(a.Addr().Next(), a.Bits()).String()), true
	case a.Addr().Is4() && a.Bits() < 31 && !a.Contains(a.Addr().Next()):
		return p.WithNote("it is the network's broadcast address").
			WithFix("write the node's own address, such as " + netip.PrefixFrom(a.Addr().Prev(), a.Bits()).String()), true
	}
	return document.Problem{}, false
}

// checkLinksOutsidePods wants the node's own networks apart from pods and
// services. A /0 is reported elsewhere.
func checkLinksOutsidePods(l linkList, d *document.Document) document.Problems {
	if l.network == nil {
		return nil
	}
	return eachLink(l, func(at string, k Link) document.Problems {
		var found document.Problems
		for i, a := range k.Addresses {
			if !a.IsValid() || a.Bits() == 0 {
				continue
			}
			for _, r := range slices.Concat(l.network.Pods, l.network.Services) {
				if r.IsValid() && a.Overlaps(r) {
					found = append(found, d.Problem(document.Index(at+".addresses", i), fmt.Sprintf("the link's network %s overlaps %s", a.Masked(), r)).
						WithNote("which pods or services have").
						WithFix("choose ranges that your own network does not use"))
				}
			}
		}
		return found
	})
}

func checkGateways(l linkList, d *document.Document) document.Problems {
	return eachLink(l, func(at string, k Link) document.Problems {
		found := onePerFamily(d, at+".gateways", k.Gateways)
		for i, g := range k.Gateways {
			if !g.IsValid() {
				continue
			}
			p := d.Problem(document.Index(at+".gateways", i), fmt.Sprintf("%s cannot be a gateway", g))
			use := specialUse(netip.PrefixFrom(g.WithZone(""), g.BitLen()))
			if g.Is6() && g.IsLinkLocalUnicast() {
				use = ""
			}
			for _, a := range k.Addresses {
				if a.Addr() == g {
					use = "link's own addresses"
				}
			}
			if use != "" {
				found = append(found, p.WithNote("it is one of the "+use).WithFix("write the router's address"))
			}
			if g.Zone() != "" {
				found = append(found, p.WithNote("it has a zone").WithFix("write "+g.WithZone("").String()+"; the link is known"))
			}
		}
		return found
	})
}

// checkGatewayReachable warns of a gateway outside the link's networks. Some
// clouds hand out a /32 and such a gateway; anywhere else it is a slip.
func checkGatewayReachable(l linkList, d *document.Document) document.Problems {
	return eachLink(l, func(at string, k Link) document.Problems {
		var found document.Problems
		for i, g := range k.Gateways {
			static, reached := false, !g.IsValid() || g.IsLinkLocalUnicast()
			for _, a := range k.Addresses {
				if a.IsValid() && a.Addr().Is4() == g.Is4() {
					static = static || a.Bits() < a.Addr().BitLen()
					reached = reached || a.Contains(g)
				}
			}
			if static && !reached {
				found = append(found, d.Problem(document.Index(at+".gateways", i), fmt.Sprintf("gateway %s is in none of the link's networks", g)).
					WithFix("check the gateway and the length of the address"))
			}
		}
		return found
	})
}

func checkDNS(l linkList, d *document.Document) document.Problems {
	return eachLink(l, func(at string, k Link) document.Problems {
		var found document.Problems
		for i, a := range k.DNS {
			if a.IsValid() && (a.IsLoopback() || a.IsUnspecified() || a.IsMulticast()) {
				found = append(found, d.Problem(document.Index(at+".dns", i), fmt.Sprintf("%s cannot be a name server", a)).
					WithNote("pods have their own loopback").
					WithFix("use an address that pods can reach"))
			}
		}
		return found
	})
}
