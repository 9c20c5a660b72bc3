package profiles

import (
	"fmt"
	"net/netip"
	"slices"

	"weft/document"
)

// Limits of a network.
const (
	// MaxVNI is the largest VXLAN network identifier: 24 bits (RFC 7348,
	// section 5).
	MaxVNI = 1<<24 - 1
	// MinMTU4 is what every IPv4 host must accept (RFC 791, section 3.1);
	// MinMTU6 is the least MTU of IPv6 (RFC 8200, section 5). Linux turns
	// IPv6 off on devices with less.
	MinMTU4, MinMTU6 = 576, 1280
	// MaxMTU is the largest IP packet (IP_MAX_MTU, include/net/ip.h).
	MaxMTU = 65535
)

// Bounds of pod ranges and subnets, flannel's (pkg/subnet/config.go,
// CheckNetworkConfig): the longest range and subnet, and how many bits lie
// between them at least, so that there are four subnets.
const (
	maxPods4, maxSubnet4 = 28, 30
	maxPods6, maxSubnet6 = 124, 126
	minSpare             = 2
)

// networkRules are what the network of a profile, or of netd, must keep.
var networkRules = []document.Rule[Network]{
	{ID: "N3", Source: "a pod network has pods", Check: checkPods},
	{ID: "B1", Source: "net.ParseCIDR masks silently", Check: func(n Network, d *document.Document) document.Problems {
		return append(canonical(d, "network.pods", n.Pods), canonical(d, "network.services", n.Services)...)
	}},
	{ID: "B2", Source: "kube-apiserver: must be of different IP family", Check: func(n Network, d *document.Document) document.Problems {
		return append(onePerFamily(d, "network.pods", bases(n.Pods)), onePerFamily(d, "network.services", bases(n.Services))...)
	}},
	{ID: "B3", Source: "K3s: must share the same IP version", Check: checkServiceFamilies},
	{ID: "B8", Source: "Kubernetes service allocator: at least 8 addresses", Check: checkServicesTooSmall},
	{ID: "B14", Level: document.Warning, Source: "RFC 4193: unique local addresses are not routed in the Internet", Check: checkUniqueLocal},
	{ID: "C1", Source: "flannel: SubnetLen at least Network+2", Check: checkSubnetTooShort},
	{ID: "D1", Source: "backends of netd", Check: checkBackend},
	{ID: "D8", Source: "masquerading follows the families of pods", Check: checkMasquerade},
	{ID: "N4", Source: "RFC 6890 (special-purpose addresses)", Check: func(n Network, d *document.Document) document.Problems {
		return append(ordinary(d, "network.pods", n.Pods), ordinary(d, "network.services", n.Services)...)
	}},
	{ID: "N5", Source: "flannel: SubnetLen at most 30 and 126, Network at most /28 and /124", Check: checkSubnetTooLong},
	{ID: "N6", Source: "a length needs a range", Check: checkLengthWithoutPods},
	{ID: "N7", Source: "RFC 7348, section 5", Check: func(n Network, d *document.Document) document.Problems {
		return inRange(d, "network.backend.vni", n.Backend.VNI, 1, MaxVNI, "")
	}},
	{ID: "N8", Source: "RFC 768", Check: func(n Network, d *document.Document) document.Problems {
		return inRange(d, "network.backend.port", n.Backend.Port, 1, 65535, "")
	}},
	{ID: "N9", Source: "RFC 791, section 3.1; RFC 8200, section 5", Check: func(n Network, d *document.Document) document.Problems {
		if n.HasIPv6() {
			return inRange(d, "network.backend.mtu", n.Backend.MTU, MinMTU6, MaxMTU, "IPv6 needs 1280")
		}
		return inRange(d, "network.backend.mtu", n.Backend.MTU, MinMTU4, MaxMTU, "")
	}},
}

func checkPods(n Network, d *document.Document) document.Problems {
	if len(n.Pods) > 0 {
		return nil
	}
	return document.Problems{d.Problem("network.pods", "the network has no range for pods").
		WithFix("write pods: [10.244.0.0/16]")}
}

// checkServiceFamilies wants services, where there are any, to have the
// families of the pods in the same order: the first is the cluster's primary.
func checkServiceFamilies(n Network, d *document.Document) document.Problems {
	if len(n.Services) == 0 || len(n.Pods) == 0 {
		return nil
	}
	if len(onePerFamily(nil, "", bases(n.Pods)))+len(onePerFamily(nil, "", bases(n.Services))) > 0 {
		return nil // rule B2
	}
	if len(n.Services) != len(n.Pods) {
		return document.Problems{d.KeyProblem("network.services", "services and pods must have the same families").
			WithNote(fmt.Sprintf("%d for services, %d for pods", len(n.Services), len(n.Pods))).
			WithFix("give one range of each family in both")}
	}
	for i := range n.Services {
		s, p := n.Services[i], n.Pods[i]
		if s.IsValid() && p.IsValid() && s.Addr().Is4() != p.Addr().Is4() {
			return document.Problems{d.Problem(document.Index("network.services", i), "services and pods must have the same families in the same order").
				WithNote(fmt.Sprintf("pods have %s here", familyName(p.Addr()))).
				WithFix("put the cluster's first family first in both")}
		}
	}
	return nil
}

// checkProfileServices stops for a Kubernetes that would not start, and warns
// where the version is not known, or does not care.
func checkProfileServices(p Profile, d *document.Document) document.Problems {
	found := checkServicesTooLarge(p.Network, d)
	for i := range found {
		if !p.Kubernetes.On() || !p.Kubernetes.Release().Before("1.34") {
			found[i].Level = document.Warning
		}
	}
	return found
}

// checkProfilePodsAndServices warns where Kubernetes gives out the subnets: it
// leaves those out that hold services (range_allocator.go,
// filterOutServiceRange).
func checkProfilePodsAndServices(p Profile, d *document.Document) document.Problems {
	found := checkPodsAndServices(p.Network, d)
	for i := range found {
		if p.Kubernetes.On() && !p.NetdOn() {
			found[i].Level = document.Warning
		}
	}
	return found
}

func checkServicesTooLarge(n Network, d *document.Document) document.Problems {
	var found document.Problems
	for i, s := range n.Services {
		if !s.IsValid() || s.Addr().BitLen()-s.Bits() <= 20 {
			continue
		}
		fix := "use a /12 or longer"
		if s.Addr().Is6() {
			fix = "use a /112"
		}
		found = append(found, d.Problem(document.Index("network.services", i), fmt.Sprintf("Kubernetes before 1.34 refuses %s for its size", s)).
			WithFix(fix))
	}
	return found
}

func checkServicesTooSmall(n Network, d *document.Document) document.Problems {
	var found document.Problems
	for i, s := range n.Services {
		if s.IsValid() && s.Addr().BitLen()-s.Bits() < 3 {
			found = append(found, d.Problem(document.Index("network.services", i), fmt.Sprintf("%s has fewer than 8 addresses", s)).
				WithFix("use a /16 for IPv4 or a /112 for IPv6"))
		}
	}
	return found
}

func checkPodsAndServices(n Network, d *document.Document) document.Problems {
	var found document.Problems
	for i, s := range n.Services {
		for j, p := range n.Pods {
			if s.IsValid() && p.IsValid() && s.Overlaps(p) {
				found = append(found, d.Problem(document.Index("network.services", i), fmt.Sprintf("services %s overlap pods %s", s, p)).
					WithNote(inLine(d, document.Index("network.pods", j), "pods are")).
					WithFix("take ranges that share no address, such as 10.244.0.0/16 and 10.96.0.0/16"))
			}
		}
	}
	return found
}

func checkUniqueLocal(n Network, d *document.Document) document.Problems {
	// Netd's configuration always says so or so; the warning is for the
	// person who writes a profile and has not chosen.
	if n.Masquerade.IPv6 != nil {
		return nil
	}
	var found document.Problems
	for i, p := range n.Pods {
		if p.IsValid() && p.Addr().Is6() && p.Addr().IsPrivate() {
			found = append(found, d.Problem(document.Index("network.pods", i), fmt.Sprintf("pods cannot reach the Internet from %s", p)).
				WithNote("unique local addresses are not routed there").
				WithFix("set network.masquerade.ipv6: true, or false if this is meant"))
		}
	}
	return found
}

// A podRange is a pod range with the limits of its family: where the subnet
// length stands, what it is (0 for the default), the longest range and the
// longest subnet.
type podRange struct {
	netip.Prefix
	path, lengthPath           string
	length, maxPods, maxSubnet int
}

// podRanges lists the valid pod ranges.
func podRanges(n Network) []podRange {
	var all []podRange
	for i, p := range n.Pods {
		at := document.Index("network.pods", i)
		switch {
		case !p.IsValid():
		case p.Addr().Is4():
			all = append(all, podRange{p, at, "network.subnetLength.ipv4", n.SubnetLength.IPv4, maxPods4, maxSubnet4})
		default:
			all = append(all, podRange{p, at, "network.subnetLength.ipv6", n.SubnetLength.IPv6, maxPods6, maxSubnet6})
		}
	}
	return all
}

func checkSubnetTooShort(n Network, d *document.Document) document.Problems {
	var found document.Problems
	for _, r := range podRanges(n) {
		if r.length != 0 && r.length < r.Bits()+minSpare {
			found = append(found, d.Problem(r.lengthPath, fmt.Sprintf("a /%d for each node is too large for %s", r.length, r.Prefix)).
				WithNote("there must be room for 4 subnets").
				WithFix(fmt.Sprintf("use %d to %d", r.Bits()+minSpare, r.maxSubnet)))
		}
	}
	return found
}

func checkSubnetTooLong(n Network, d *document.Document) document.Problems {
	var found document.Problems
	for _, r := range podRanges(n) {
		if r.Bits() > r.maxPods {
			found = append(found, d.Problem(r.path, fmt.Sprintf("%s is too small for a pod network", r.Prefix)).
				WithFix(fmt.Sprintf("use a /%d or shorter", r.maxPods)))
			continue
		}
		if r.length > r.maxSubnet {
			found = append(found, d.Problem(r.lengthPath, fmt.Sprintf("a /%d for each node leaves no room for pods", r.length)).
				WithFix(fmt.Sprintf("use %d to %d", r.Bits()+minSpare, r.maxSubnet)))
		}
		if r.length == 0 && d.Has(r.lengthPath) {
			found = append(found, d.Problem(r.lengthPath, "0 is no length of a subnet").
				WithFix("remove it to have the default"))
		}
	}
	return found
}

func checkLengthWithoutPods(n Network, d *document.Document) document.Problems {
	var found document.Problems
	if n.SubnetLength.IPv4 != 0 && !n.HasIPv4() {
		found = append(found, d.Problem("network.subnetLength.ipv4", "there is no IPv4 range to take subnets from").
			WithFix("add one to network.pods, or remove this"))
	}
	if n.SubnetLength.IPv6 != 0 && !n.HasIPv6() {
		found = append(found, d.Problem("network.subnetLength.ipv6", "there is no IPv6 range to take subnets from").
			WithFix("add one to network.pods, or remove this"))
	}
	return found
}

func checkBackend(n Network, d *document.Document) document.Problems {
	if slices.Contains(Backends, n.Backend.Type) {
		return nil
	}
	message := fmt.Sprintf("there is no backend %q", n.Backend.Type)
	if n.Backend.Type == "" {
		message = "network.backend.type is missing"
	}
	return document.Problems{d.Problem("network.backend.type", message).
		WithFix(document.DidYouMean(n.Backend.Type, Backends))}
}

// checkMasquerade refuses to turn masquerading on for a family that pods do
// not have: whoever writes it believes they have it.
func checkMasquerade(n Network, d *document.Document) document.Problems {
	var found document.Problems
	if m := n.Masquerade.IPv6; m != nil && *m && !n.HasIPv6() {
		found = append(found, d.Problem("network.masquerade.ipv6", "pods have no IPv6 addresses to masquerade").
			WithFix("add an IPv6 range to network.pods, or remove this"))
	}
	if m := n.Masquerade.IPv4; m != nil && *m && !n.HasIPv4() {
		found = append(found, d.Problem("network.masquerade.ipv4", "pods have no IPv4 addresses to masquerade").
			WithFix("add an IPv4 range to network.pods, or remove this"))
	}
	return found
}
