package rules

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"weft/document"
)

// systemRules are the rules about the node around Kubernetes.
func systemRules() []Rule {
	return []Rule{
		{
			ID: "I1", Level: document.Warning, Title: "a node without a default route has its address written down",
			Why:    "K3s exits: \"no default routes found\"; init adds a dummy route then, and the node's address must come from the file.",
			Source: "measured on K3s 1.33.1; k3s#1144, rke2#1242; K3s documentation, Air-gap install",
			Bad:    Example{Profile: "links:\n  - match: {name: eth0}\n    addresses: [192.168.1.11/24]\n    routerAdvertisements: false\n"},
			Good:   Example{Profile: "links:\n  - match: {name: eth0}\n    addresses: [192.168.1.11/24]\n    gateways: [192.168.1.1]\n    routerAdvertisements: false\n"},
			node:   noDefaultRoute,
		},
		{
			ID: "I2", Title: "name servers can be reached from pods",
			Why:    "K3s replaces a resolv.conf of loopback addresses by 8.8.8.8, and CoreDNS asks itself for ever.",
			Source: "k3s pkg/agent/config/config.go; coredns#2087",
			Bad:    Example{Profile: "links:\n  - match: {name: eth0}\n    dns: [127.0.0.53]\n"},
			Good:   Example{Profile: "links:\n  - match: {name: eth0}\n    dns: [192.168.1.1]\n"},
		},
		{
			ID: "I3", Level: document.Warning, Title: "an uplink with router advertisements keeps accept_ra at 2",
			Why:    "The kernel drops the default route the moment forwarding starts on a device that does not say 2; init says 2, and a sysctl of the profile's own would undo it.",
			Source: "measured on Linux 6.18; k3s#5019, talos#5632; net/ipv6/addrconf.c (addrconf_fixup_forwarding)",
			Bad:    Example{Profile: dual + "sysctls:\n  net.ipv6.conf.eth0.accept_ra: 1\n"},
			Good:   Example{Profile: dual + "sysctls:\n  net.ipv6.conf.eth0.accept_ra: 2\n"},
			node:   acceptRA,
		},
	}
}

func noDefaultRoute(n *Node) document.Problems {
	links := n.links()
	if !n.on() || len(links) == 0 || n.Config.Has("node-ip") {
		return nil
	}
	for _, l := range links {
		dhcp := l.DHCP4 != nil && *l.DHCP4 || l.DHCP4 == nil && !slices.ContainsFunc(l.Addresses, isIPv4)
		advertised := l.RouterAdvertisements == nil || *l.RouterAdvertisements
		if len(l.Gateways) > 0 || dhcp || advertised && n.Network.HasIPv6() {
			return nil
		}
	}
	const message = "no link has a default route, which K3s looks for"
	fix := "add gateways to a link, or give the node's addresses in the cluster file"
	if n.Entry != nil && len(n.Entry.Links) > 0 {
		return one(n.inCluster("links", message).WithFix(fix))
	}
	return one(n.Doc.KeyProblem("links", message).WithFix(fix))
}

func acceptRA(n *Node) document.Problems {
	if !n.Network.HasIPv6() {
		return nil
	}
	var found document.Problems
	for _, name := range slices.Sorted(maps.Keys(n.Profile.Sysctls)) {
		dev, ok := strings.CutPrefix(name, "net.ipv6.conf.")
		dev, isRA := strings.CutSuffix(dev, ".accept_ra")
		if !ok || !isRA || dev == "all" || dev == "default" || strings.TrimSpace(n.Profile.Sysctls[name]) != "1" {
			continue
		}
		found = append(found, n.Doc.Problem(document.Key("sysctls", name), fmt.Sprintf("%s would lose its default route when forwarding starts", dev)).
			WithFix("remove it; weft sets accept_ra of every uplink to 2"))
	}
	return found
}

// isIPv4 tells whether a prefix is one of IPv4.
func isIPv4(p netip.Prefix) bool { return p.Addr().Is4() }
