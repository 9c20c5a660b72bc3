package profiles

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"weft/document"
)

// profileRules are what a profile file must keep.
//
// Ids that begin with N are weft's own. The others are shared with the rules
// for K3s and RKE2, where the same fault has the same id.
var profileRules = slices.Concat(
	[]document.Rule[Profile]{
		{ID: "N1", Source: "the file's own format", Check: func(p Profile, d *document.Document) document.Problems {
			return checkVersion(p.Weft, Version, "profile", d)
		}},
		{ID: "N2", Source: "names are parts of file names", Check: checkProfileName},
	},
	within(networkRules, Profile.network),
	within(underlayRules, Profile.network),
	within(backendRules, Profile.network),
	within(storeRules, Profile.network),
	within(wireguardRules, Profile.network),
	within(legacyRules, Profile.network),
	[]document.Rule[Profile]{
		{ID: "B7", Source: "Kubernetes before 1.34: at most 20 bits of service addresses", Check: checkProfileServices},
		{ID: "B11", Source: "a packet has one way to go", Check: checkProfilePodsAndServices},
	},
	within(peerRules, func(p Profile) peerList {
		return peerList{path: "network.peers", peers: p.Network.Peers, network: &p.Network}
	}),
	within(linkRules, func(p Profile) linkList {
		return linkList{path: "links", links: p.Links, network: &p.Network}
	}),
	systemRules,
	ownServiceRules,
)

// nodeRules are what a node file must keep. What concerns the network of the
// profile is checked by [NetdFor].
var nodeRules = slices.Concat(
	[]document.Rule[Node]{
		{ID: "N1", Source: "the file's own format", Check: func(n Node, d *document.Document) document.Problems {
			return checkVersion(n.Weft, NodeVersion, "node", d)
		}},
		{ID: "F1", Source: "RFC 1123, section 2.1; Kubernetes node names", Check: func(n Node, d *document.Document) document.Problems {
			if n.Hostname == "" && !d.Has("hostname") {
				return nil
			}
			return nameProblem(d, "hostname", n.Hostname)
		}},
		{ID: "N10", Source: "one tunnel device a family", Check: func(n Node, d *document.Document) document.Problems {
			return append(onePerFamily(d, "addresses", n.Addresses), onePerFamily(d, "subnets", bases(n.Subnets))...)
		}},
		{ID: "N13", Source: "RFC 6890 (special-purpose addresses)", Check: func(n Node, d *document.Document) document.Problems {
			return hostAddresses(d, "addresses", n.Addresses)
		}},
		{ID: "B1", Source: "net.ParseCIDR masks silently", Check: func(n Node, d *document.Document) document.Problems {
			return canonical(d, "subnets", n.Subnets)
		}},
		{ID: "N76", Source: "wg(8), genkey: 32 bytes in base64", Check: checkNodeKey},
	},
	within(peerRules, func(n Node) peerList { return peerList{path: "peers", peers: n.Peers} }),
	within(linkRules, func(n Node) linkList { return linkList{path: "links", links: n.Links} }),
	placeRules,
)

// within lets rules about a part check the whole.
func within[Part, Whole any](rules []document.Rule[Part], part func(Whole) Part) []document.Rule[Whole] {
	all := make([]document.Rule[Whole], len(rules))
	for i, r := range rules {
		all[i] = document.Rule[Whole]{ID: r.ID, Level: r.Level, Source: r.Source,
			Check: func(w Whole, d *document.Document) document.Problems { return r.Check(part(w), d) }}
	}
	return all
}

// checkVersion wants the weft key to name the kind and version of the file.
func checkVersion(have, want, kind string, d *document.Document) document.Problems {
	if have == want {
		return nil
	}
	message := fmt.Sprintf("a %s file says which format it has", kind)
	if have != "" {
		message = fmt.Sprintf("this is no %s file that this weft reads", kind)
	}
	return document.Problems{d.Problem("weft", message).WithFix("write weft: " + want)}
}

// lazily is a regular expression that is compiled when it is first asked for:
// a node that boots needs two of those in this package, and compiling one
// costs an emulated CPU milliseconds.
func lazily(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// namePattern is what a profile may be called.
var namePattern = lazily(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

func checkProfileName(p Profile, d *document.Document) document.Problems {
	var found document.Problems
	if !namePattern().MatchString(p.Name) || len(p.Name) > 63 {
		found = append(found, d.Problem("name", "name must be lower-case letters, digits, dots and hyphens").
			WithFix("give the profile a short name, such as edge"))
	}
	if strings.ContainsAny(p.Description, "\n\r") {
		found = append(found, d.Problem("description", "description must be one line").
			WithFix("write it in one line; comments begin with # and may have many"))
	}
	return found
}

// inRange wants a number that the file sets to be within bounds; 0 stands
// for the default.
func inRange(d *document.Document, path string, value, low, high int, note string) document.Problems {
	if value >= low && value <= high || value == 0 && !d.Has(path) {
		return nil
	}
	return document.Problems{d.Problem(path, fmt.Sprintf("%s must be %d to %d, not %d", path, low, high, value)).
		WithNote(note).WithFix(fmt.Sprintf("write %d to %d, or remove it to have the default", low, high))}
}
