package profiles

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"weft/document"
)

// backendRules are what the settings of a backend must keep.
var backendRules = []document.Rule[Network]{
	{ID: "N61", Source: "flannel pkg/backend/ipsec: IPv4 only", Check: checkIPsecFamilies},
	{ID: "N62", Source: "strongSwan swanctl.conf(5), esp_proposals; a daemon runs in no folder of its own", Check: checkIPsecSettings},
	{ID: "N77", Level: document.Warning, Source: "flannel pkg/backend: each backend reads its own options", Check: checkForeignSettings},
}

// legacyRules warn of backends that are there for old networks only.
var legacyRules = []document.Rule[Network]{
	{ID: "N60", Level: document.Warning, Source: "K3s dropped its ipsec backend in 1.27; weft docs/network.md, Legacy IPsec", Check: checkIPsecLegacy},
}

func checkIPsecLegacy(n Network, d *document.Document) document.Problems {
	if n.Backend.Type != BackendIPsec {
		return nil
	}
	return document.Problems{d.Problem("network.backend.type", "backend ipsec is legacy: one key for the whole network, IPv4 only, and a daemon of its own on every node").
		WithFix("use backend wireguard; docs/network.md (Legacy IPsec and how to leave it) has the steps")}
}

func checkIPsecFamilies(n Network, d *document.Document) document.Problems {
	if n.Backend.Type != BackendIPsec {
		return nil
	}
	var found document.Problems
	for i, pods := range n.Pods {
		if pods.IsValid() && pods.Addr().Is6() {
			found = append(found, d.Problem(document.Index("network.pods", i), fmt.Sprintf("backend ipsec carries IPv4 only, %s is IPv6", pods)).
				WithFix("remove the range, or use backend wireguard, which carries both"))
		}
	}
	return found
}

// espProposal is what a proposal looks like: algorithms with hyphens between.
var espProposal = lazily(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func checkIPsecSettings(n Network, d *document.Document) document.Problems {
	if n.Backend.Type != BackendIPsec {
		return nil
	}
	var found document.Problems
	if p := n.Backend.ESPProposal; p != "" && !espProposal().MatchString(p) {
		found = append(found, d.Problem("network.backend.espProposal", fmt.Sprintf("%q is no proposal", p)).
			WithFix("write algorithms with hyphens between, such as "+DefaultESPProposal))
	}
	if f := n.Backend.PSKFile; f != "" && (!path.IsAbs(f) || path.Clean(f) != f) {
		found = append(found, d.Problem("network.backend.pskFile", fmt.Sprintf("%q is no absolute path", f)).
			WithFix("leave it out, or write such as "+DefaultPSKFile))
	}
	return found
}

// backendSettings are the keys of a backend that not all have, with those that
// have them. What rule N72 says of rotateEvery is more.
var backendSettings = []struct {
	key string
	of  []string
}{
	{"vni", []string{BackendVXLAN}},
	{"port", []string{BackendVXLAN}},
	{"directRouting", []string{BackendVXLAN}},
	{"learning", []string{BackendVXLAN}},
	{"gbp", []string{BackendVXLAN}},
	{"checksumOffload", []string{BackendVXLAN}},
	{"mode", []string{BackendWireGuard}},
	{"listenPort", []string{BackendWireGuard}},
	{"listenPortV6", []string{BackendWireGuard}},
	{"keepalive", []string{BackendWireGuard}},
	{"pskFile", []string{BackendWireGuard, BackendIPsec}},
	{"udpEncapsulation", []string{BackendIPsec}},
	{"espProposal", []string{BackendIPsec}},
}

// checkForeignSettings warns of settings of another backend: flannel takes
// them, too, and who writes one believes that it has an effect.
func checkForeignSettings(n Network, d *document.Document) document.Problems {
	kind := n.Backend.Canonical()
	if !slices.Contains(Backends, kind) {
		return nil // rule D1
	}
	var found document.Problems
	for _, s := range backendSettings {
		at := "network.backend." + s.key
		if slices.Contains(s.of, kind) || !alike(d, at, "network.backend.type") {
			continue
		}
		found = append(found, d.KeyProblem(at, fmt.Sprintf("backend %s has no %s, and this has no effect", n.Backend.Type, s.key)).
			WithFix("remove it; it is a setting of backend "+strings.Join(s.of, " and ")))
	}
	return found
}
