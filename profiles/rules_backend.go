package profiles

import (
	"fmt"
	"path"

	"weft/document"
)

// backendRules are what the settings of a backend must keep.
var backendRules = []document.Rule[Network]{
	{ID: "N61", Source: "flannel pkg/backend/ipsec: IPv4 only", Check: checkIPsecFamilies},
	{ID: "N62", Source: "strongSwan swanctl.conf(5), esp_proposals; a daemon runs in no folder of its own", Check: checkIPsecSettings},
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
