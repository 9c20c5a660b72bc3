package rules

import (
	"fmt"
	"net/netip"
	"strings"

	"weft/document"
)

// clashes finds what two nodes of a cluster file both have and only one may.
func clashes(s *Subject) document.Problems {
	if s.Cluster == nil {
		return nil
	}
	var found document.Problems
	taken := map[string]int{}
	// claim takes something for node i, unless another node has it.
	claim := func(i int, path, what, value string) {
		key := what + " " + value
		if before, there := taken[key]; there && before != i {
			found = append(found, s.Doc.Problem(path, fmt.Sprintf("two nodes have the %s %s", what, value)).
				WithNote("the first is "+s.Cluster.Nodes[before].Name).WithFix("give each node its own"))
			return
		}
		taken[key] = i
	}
	type part struct {
		node   int
		prefix netip.Prefix
	}
	var parts []part
	for i, n := range s.Cluster.Nodes {
		path := document.Index("nodes", i)
		for j, p := range n.Subnets {
			for _, other := range parts {
				if other.node != i && other.prefix.Overlaps(p) {
					found = append(found, s.Doc.Problem(document.Index(path+".subnets", j), fmt.Sprintf("the pod subnet %s is in part that of another node, %s", p, other.prefix)).
						WithNote("the first is "+s.Cluster.Nodes[other.node].Name).WithFix("give each node its own"))
				}
			}
			parts = append(parts, part{i, p})
		}
		if n.PublicKey != "" {
			claim(i, path+".publicKey", "WireGuard key", n.PublicKey)
		}
		for j, l := range n.Links {
			link := document.Index(path+".links", j)
			if l.Match.MAC != "" {
				claim(i, link+".match.mac", "hardware address", strings.ToLower(l.Match.MAC))
			}
			for k, a := range l.Addresses {
				claim(i, document.Index(link+".addresses", k), "address of a link", a.Addr().String())
			}
		}
	}
	return found
}
