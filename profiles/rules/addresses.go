package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"weft/document"
	"weft/profiles/kube"
)

// addressRules are the rules about ranges and addresses.
func addressRules() []Rule {
	return []Rule{
		{
			ID: "B1", Title: "ranges are written without bits beyond their length",
			Why:    "Programs mask such a range silently, each in its own way; often the length is the mistake.",
			Source: "net.ParseCIDR masks silently",
			Bad:    Example{Profile: "network:\n  pods: [10.42.1.0/16]\n"},
			Good:   Example{Profile: "network:\n  pods: [10.42.0.0/16]\n"},
			whole:  clusterPrefixes,
		},
		{
			ID: "B2", Title: "there is at most one range of each family",
			Why:    "Kubernetes stops some seconds after a start that looks well: \"not configured as dual stack\", \"must be of different IP family\".",
			Source: "measured on K3s 1.33.1 and kube-apiserver 1.36.3",
			Bad:    Example{Profile: "network:\n  pods: [10.42.0.0/16, 10.44.0.0/16]\n  services: [10.43.0.0/16, 10.45.0.0/16]\n"},
			Good:   Example{Profile: "network:\n  pods: [10.42.0.0/16, \"fd42:42::/56\"]\n  services: [10.43.0.0/16, \"fd42:43::/112\"]\n  masquerade: {ipv6: true}\n"},
		},
		{
			ID: "B7", Title: "the service range has at most 20 bits of addresses", Severity: "error before Kubernetes 1.34, warning from then on",
			Why:    "The API server exits: \"the mask must be >= 12\", or 108 for IPv6. The documentation says /112, which is on the safe side.",
			Source: "measured on K3s 1.33.1 (refused) and kube-apiserver 1.36.3 (taken); kubernetes pkg/controlplane validation.go",
			Bad:    Example{Profile: "kubernetes: {version: v1.33.1+k3s1}\nnetwork:\n  pods: [10.42.0.0/16, \"fd42:42::/56\"]\n  services: [10.43.0.0/16, \"fd42:43::/64\"]\n  masquerade: {ipv6: true}\n"},
			Good:   Example{Profile: "kubernetes: {version: v1.33.1+k3s1}\nnetwork:\n  pods: [10.42.0.0/16, \"fd42:42::/56\"]\n  services: [10.43.0.0/16, \"fd42:43::/108\"]\n  masquerade: {ipv6: true}\n"},
		},
		{
			ID: "B8", Title: "the service range has room for the name server",
			Why:    "The API server wants at least 8 addresses, and K3s and RKE2 give the tenth to the name server.",
			Source: "measured on K3s 1.33.1: \"must be at least 8 IP addresses\"; k3s pkg/cli/server/server.go (cluster-dns is index 10)",
			Bad:    Example{Profile: "network:\n  pods: [10.42.0.0/16]\n  services: [10.43.0.0/30]\n"},
			Good:   Example{Profile: "network:\n  pods: [10.42.0.0/16]\n  services: [10.43.0.0/28]\n"},
			node:   servicesForDNS,
		},
		{
			ID: "B9", Title: "the API server's address has the family of the first service range",
			Why:    "The API server exits: \"service IP family must match public address family\".",
			Source: "measured on K3s 1.33.1",
			Bad:    Example{Profile: "network:\n  pods: [\"fd42:42::/56\"]\n  services: [\"fd42:43::/112\"]\n  masquerade: {ipv6: true}\nkubernetes:\n  server:\n    advertise-address: 203.0.113.7\n"},
			Good:   Example{Profile: "network:\n  pods: [\"fd42:42::/56\"]\n  services: [\"fd42:43::/112\"]\n  masquerade: {ipv6: true}\nkubernetes:\n  server:\n    advertise-address: \"2001:db8::7\"\n"},
			node:   publicFamily,
		},
		{
			ID: "B10", Title: "the name server's address is inside the service range",
			Why:    "It is a service like others; the first address is the API server's.",
			Source: "k3s pkg/cli/server/server.go: cluster-dns is checked against the service CIDRs; an address that is none is fatal (measured)",
			Bad:    Example{Profile: "network:\n  pods: [10.42.0.0/16]\n  services: [10.43.0.0/16]\nkubernetes:\n  server:\n    cluster-dns: 10.42.0.10\n"},
			Good:   Example{Profile: "network:\n  pods: [10.42.0.0/16]\n  services: [10.43.0.0/16]\nkubernetes:\n  server:\n    cluster-dns: 10.43.0.10\n"},
			node:   nameServer,
		},
		{
			ID: "B11", Title: "pods, services and the networks around the nodes share no address",
			Severity: "error; warning for services inside the pods of a Kubernetes",
			Why:      "A packet has one way to go: what pods have cannot be reached outside, and the node loses its own network.",
			Source:   "k3s contrib/util/check-config.sh warns when 10.42 or 10.43 is routed already; reports of lost networks",
			Bad:      Example{Cluster: "networks:\n  - {name: office, prefixes: [10.42.5.0/24]}\n"},
			Good:     Example{Cluster: "networks:\n  - {name: office, prefixes: [10.41.5.0/24]}\n"},
			whole:    networksAround,
		},
		{
			ID: "B12", Title: "families and ranges of a running cluster stay", Severity: "error while the cluster's id is the same",
			Why:    "Dual stack cannot be turned on later, and the controller manager stops for ever when a node's pod range lies outside the new range.",
			Source: "K3s documentation, Basic Network Options; kubernetes pkg/controller/nodeipam",
			Bad:    Example{Cluster: "name: home\n", Lock: "pods: [10.50.0.0/16]\nservices: [10.43.0.0/16]\n"},
			Good:   Example{Cluster: "name: home\n", Lock: "pods: [10.42.0.0/16]\nservices: [10.43.0.0/16]\n"},
			whole:  unchanged,
		},
		{
			ID: "B13", Level: document.Warning, Title: "IPv6 pods have unique local addresses, or ones that are yours",
			Why:    "Examples with 2001:cafe:: have gone round; that is public space that belongs to somebody one day, and nothing routes it to you.",
			Source: "RFC 4193; IANA IPv6 global unicast assignments; K3s documentation's examples",
			Bad:    Example{Profile: "network:\n  pods: [10.42.0.0/16, \"2001:cafe:42::/56\"]\n  services: [10.43.0.0/16, \"fd42:43::/112\"]\n  masquerade: {ipv6: true}\n"},
			Good:   Example{Profile: "network:\n  pods: [10.42.0.0/16, \"fd42:42::/56\"]\n  services: [10.43.0.0/16, \"fd42:43::/112\"]\n  masquerade: {ipv6: true}\n"},
			node:   unroutedPods,
		},
		{
			ID: "B14", Level: document.Warning, Title: "unique local pods say whether they are masqueraded",
			Why:    "Unique local addresses are not routed in the Internet: without masquerading such pods reach nothing there over IPv6.",
			Source: "RFC 4193; K3s documentation (flannel-ipv6-masq)",
			Bad:    Example{Profile: "network:\n  pods: [10.42.0.0/16, \"fd42:42::/56\"]\n  services: [10.43.0.0/16, \"fd42:43::/112\"]\n"},
			Good:   Example{Profile: "network:\n  pods: [10.42.0.0/16, \"fd42:42::/56\"]\n  services: [10.43.0.0/16, \"fd42:43::/112\"]\n  masquerade: {ipv6: true}\n"},
		},
	}
}

// clusterPrefixes checks the prefixes of a cluster file itself.
func clusterPrefixes(s *Subject) document.Problems {
	if s.Cluster == nil {
		return nil
	}
	var found document.Problems
	for _, n := range s.Nodes {
		found = append(found, checkSubnets(n)...)
	}
	for i, net := range s.Cluster.Networks {
		for j, p := range net.Prefixes {
			if p.IsValid() && p != p.Masked() {
				path := document.Index(document.Index("networks", i)+".prefixes", j)
				found = append(found, s.Doc.Problem(path, fmt.Sprintf("%s has bits set beyond its length", p)).
					WithFix("write "+p.Masked().String()))
			}
		}
	}
	return found
}

func servicesForDNS(n *Node) document.Problems {
	if !n.on() || n.Config.Has("cluster-dns") {
		return nil
	}
	var found document.Problems
	for i, p := range n.Network.Services {
		// Fewer than 8 are reported in reading.
		if spare := p.Addr().BitLen() - p.Bits(); p.IsValid() && spare == 3 {
			found = append(found, n.Doc.Problem(document.Index("network.services", i), fmt.Sprintf("%s has no tenth address, which is the name server's", p)).
				WithFix("use a /28 or shorter (/124 for IPv6), or set kubernetes.coreDNS.addresses"))
		}
	}
	return found
}

func publicFamily(n *Node) document.Problems {
	if !n.server() || len(n.Network.Services) == 0 || !n.Network.Services[0].IsValid() {
		return nil
	}
	for _, key := range []string{"advertise-address", "node-external-ip", "node-ip"} {
		list := n.addresses(key)
		if len(list) == 0 {
			continue
		}
		want := n.Network.Services[0].Addr()
		// K3s brings a list of both families into the cluster's order.
		same := slices.ContainsFunc(list, func(a netip.Addr) bool { return a.Is4() == want.Is4() })
		if same || key == "node-ip" {
			// For node-ip this is rule B4.
			return nil
		}
		return one(n.Config[key].Problem(fmt.Sprintf("%s is %s, but the first services are %s", key, family(list[0]), family(want))).
			WithNote("the API server would exit").
			WithFix(fmt.Sprintf("give an %s address, or put that family first in network.pods and network.services", family(want))))
	}
	return nil
}

// family names the family of an address.
func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func nameServer(n *Node) document.Problems {
	s, said := n.Config["cluster-dns"]
	if !n.server() || !said {
		return nil
	}
	var found document.Problems
	for i, word := range kube.Words(s.Value) {
		at := s.Element(i)
		a, err := netip.ParseAddr(word)
		if err != nil {
			found = append(found, at.Problem(fmt.Sprintf("%q is no address", word)).
				WithFix("write the address of the name server, such as 10.43.0.10"))
			continue
		}
		k := slices.IndexFunc(n.Network.Services, func(p netip.Prefix) bool { return p.Contains(a) })
		switch {
		case k < 0 && len(n.Network.Services) > 0:
			found = append(found, at.Problem(fmt.Sprintf("%s is in no service range", a)).
				WithNote(fmt.Sprintf("services are %s", n.Network.Services[0])).
				WithFix("use "+tenth(n.Network.Services[0]).String()))
		case k >= 0 && a == n.Network.Services[k].Masked().Addr().Next():
			found = append(found, at.Problem(fmt.Sprintf("%s is the API server's own service", a)).
				WithFix("use "+tenth(n.Network.Services[k]).String()))
		}
	}
	return found
}

// tenth is the address that K3s gives to the name server.
func tenth(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr()
	for range 10 {
		a = a.Next()
	}
	return a
}

func networksAround(s *Subject) document.Problems {
	if s.Cluster == nil || len(s.Nodes) == 0 {
		return nil
	}
	var found document.Problems
	own := s.Nodes[0].Network
	for i, net := range s.Cluster.Networks {
		for j, p := range net.Prefixes {
			for _, r := range slices.Concat(own.Pods, own.Services) {
				if p.IsValid() && r.IsValid() && p.Overlaps(r) {
					path := document.Index(document.Index("networks", i)+".prefixes", j)
					found = append(found, s.Doc.Problem(path, fmt.Sprintf("network %s overlaps %s", net.Name, r)).
						WithNote("which pods or services have").
						WithFix("choose ranges for pods and services that the networks around do not use"))
					break
				}
			}
		}
	}
	return found
}

func unchanged(s *Subject) document.Problems {
	if s.Cluster == nil || s.Lock == nil || len(s.Nodes) == 0 || s.Lock.ID != s.Cluster.ID {
		return nil
	}
	n := s.Nodes[0]
	var found document.Problems
	for _, r := range []struct {
		path, what string
		old, now   []netip.Prefix
	}{
		{"network.pods", "pods", s.Lock.Pods, n.Network.Pods},
		{"network.services", "services", s.Lock.Services, n.Network.Services},
	} {
		if len(r.old) != len(r.now) {
			found = append(found, n.inProfile(fmt.Sprintf("the cluster was begun with %s for %s", list(r.old), r.what), r.path).
				WithNote("families cannot be added or removed").
				WithFix("keep the families, or build the cluster anew with another id"))
			continue
		}
		for i, old := range r.old {
			now := r.now[i]
			if old == now || r.what == "pods" && now.Bits() <= old.Bits() && now.Contains(old.Addr()) {
				continue
			}
			found = append(found, n.inProfile(fmt.Sprintf("the cluster was begun with %s for %s, not %s", old, r.what, now), document.Index(r.path, i), r.path).
				WithFix("keep the range, or build the cluster anew with another id"))
		}
	}
	return found
}

// list writes prefixes with commas.
func list(all []netip.Prefix) string {
	text := ""
	for i, p := range all {
		if i > 0 {
			text += ", "
		}
		text += p.String()
	}
	if text == "" {
		return "nothing"
	}
	return text
}

// global is the space that IANA gives out; of 2000::/3 what is marked here is
// for documentation or not given out, and belongs to nobody yet.
var cafe = netip.MustParsePrefix("2001:cafe::/32")

func unroutedPods(n *Node) document.Problems {
	var found document.Problems
	for i, p := range n.Network.Pods {
		if !p.IsValid() || !p.Addr().Is6() {
			continue
		}
		what := ""
		switch {
		case cafe.Overlaps(p):
			what = "public space that is nobody's yet"
		case netip.MustParsePrefix("2001:db8::/32").Overlaps(p), netip.MustParsePrefix("3fff::/20").Overlaps(p):
			what = "space for documentation"
		case netip.MustParsePrefix("fec0::/10").Overlaps(p):
			what = "site-local space, which is abolished (RFC 3879)"
		default:
			continue
		}
		found = append(found, n.Doc.Problem(document.Index("network.pods", i), fmt.Sprintf("%s is %s", p, what)).
			WithFix("use a unique local range such as fd42:42::/56 with network.masquerade.ipv6: true, or a range of yours"))
	}
	return found
}
