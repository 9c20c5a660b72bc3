package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/kube"
)

// addressKeys are keys whose words are addresses.
var addressKeys = []string{"node-ip", "node-external-ip", "advertise-address", "bind-address"}

// components are what disable takes; a manifest of one's own can be named too.
var components = map[string][]string{
	profiles.K3s: {"coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes", "ccm"},
	profiles.RKE2: {"rke2-coredns", "rke2-metrics-server", "rke2-snapshot-controller", "rke2-snapshot-controller-crd",
		"rke2-snapshot-validation-webhook", "rke2-security-responder", "rke2-ingress-nginx", "rke2-traefik"},
}

// ingresses are the values of RKE2's key ingress-controller.
var ingresses = []string{"none", "traefik", "ingress-nginx"}

// badWords finds what cannot be right in the words of a value whose type is
// right.
func badWords(n *Node, g givenKey) document.Problems {
	var found document.Problems
	for i, w := range kube.Words(g.Value) {
		at := g.Element(i)
		switch {
		case slices.Contains(addressKeys, g.name) && !isAddress(w):
			p := at.Problem(fmt.Sprintf("%q is no address", w)).WithFix("write an address such as 192.168.1.11 or fd00::11")
			if a, _, slash := strings.Cut(w, "/"); slash && isAddress(a) {
				p = p.WithFix("remove the slash and the length: " + a)
			}
			found = append(found, p)
		case g.name == "tls-san" && strings.HasPrefix(w, "[") && isAddress(strings.Trim(w, "[]")):
			found = append(found, at.Problem("an address in a certificate has no brackets").WithFix("write "+strings.Trim(w, "[]")))
		case g.name == "service-node-port-range" && !isRange(w):
			found = append(found, at.Problem(fmt.Sprintf("%q is no range of ports", w)).WithFix("write 30000-32767"))
		case g.name == "ingress-controller" && !slices.Contains(ingresses, w):
			found = append(found, at.Problem(fmt.Sprintf("there is no ingress controller %q", w)).WithFix(document.DidYouMean(w, ingresses)))
		case g.name == "disable":
			known := components[n.Profile.Kubernetes.Distribution]
			if near := document.Closest(w, known); !slices.Contains(known, w) && near != "" {
				found = append(found, warning(at.Problem(fmt.Sprintf("there is no component %q to disable", w)).WithFix("did you mean "+near+"?")))
			}
		}
	}
	return found
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// isRange tells whether s is two ports with a hyphen, the lower first.
func isRange(s string) bool {
	var low, high int
	n, err := fmt.Sscanf(s, "%d-%d", &low, &high)
	return err == nil && n == 2 && 0 < low && low <= high && high <= 65535
}
