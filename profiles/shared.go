package profiles

import (
	"net/netip"

	"weft/document"
)

// CheckLinks checks a list of uplinks that stands at path of d, for files that
// have links beside those of package profiles. n is the network of the nodes
// that have them.
func CheckLinks(links []Link, n Network, d *document.Document, path string) document.Problems {
	return document.Apply(linkRules, linkList{path: path, links: links, network: &n}, d)
}

// CheckHostname wants the name at path of d to be one a node may keep.
func CheckHostname(name string, d *document.Document, path string) document.Problems {
	return nameProblem(d, path, name)
}

// CheckNodeAddresses wants the addresses at path of d to be ones a node can
// have on its underlay, at most one of each family and none that pods or
// services have. The problems bear the ids of their rules.
func CheckNodeAddresses(list []netip.Addr, n Network, d *document.Document, path string) document.Problems {
	found := ruled("N10", onePerFamily(d, path, list))
	found = append(found, ruled("N13", hostAddresses(d, path, list))...)
	return append(found, ruled("B11", outside(d, path, list, n))...)
}

// CheckPrefixes wants the prefixes at path of d to have no bits beyond their
// length.
func CheckPrefixes(list []netip.Prefix, d *document.Document, path string) document.Problems {
	return ruled("B1", canonical(d, path, list))
}

// CheckSubnets wants the pod subnets at path of d to be parts of the network,
// and none where Kubernetes gives them.
func CheckSubnets(list []netip.Prefix, n Network, d *document.Document, path string) document.Problems {
	found := CheckPrefixes(list, d, path)
	found = append(found, ruled("N10", onePerFamily(d, path, bases(list)))...)
	found = append(found, ruled(ruleGivenSubnets, givenSubnets(d, path, list, n))...)
	return append(found, ruled("N11", inside(d, path, list, n.Pods))...)
}

// ruled puts the id of their rule on problems.
func ruled(id string, found document.Problems) document.Problems {
	for i := range found {
		found[i].Rule = id
	}
	return found
}

// EffectiveNetwork is the network with what the Kubernetes distribution says
// where the profile says nothing, and with no other defaults.
func (p Profile) EffectiveNetwork() Network { return p.network() }

// RuleInfo is what there is to say about a rule of this package.
type RuleInfo struct {
	ID     string
	Level  document.Level
	Source string
}

// Rules lists the rules that profile files, node files and netd's
// configuration keep, each id once.
func Rules() []RuleInfo {
	var all []RuleInfo
	seen := map[string]bool{}
	add := func(id string, level document.Level, source string) {
		if !seen[id] {
			seen[id] = true
			all = append(all, RuleInfo{id, level, source})
		}
	}
	for _, r := range profileRules {
		add(r.ID, r.Level, r.Source)
	}
	for _, r := range nodeRules {
		add(r.ID, r.Level, r.Source)
	}
	for _, r := range netdRules {
		add(r.ID, r.Level, r.Source)
	}
	return all
}
