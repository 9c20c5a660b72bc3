package rules

import (
	"fmt"
	"net/netip"
	"strings"

	"weft/document"
	"weft/profiles"
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
	vteps := map[string]string{} // names, by the address that follows from them
	for i, n := range s.Cluster.Nodes {
		path := document.Index("nodes", i)
		mac := profiles.VTEPMAC(n.Name).String()
		if before, there := vteps[mac]; there && before != n.Name { // else F2 says it
			found = append(found, s.Doc.Problem(path+".name", fmt.Sprintf("%s and %s have the tunnel address %s", before, n.Name, mac)).
				WithNote("which follows from their names").WithFix("give one of them another name"))
		}
		vteps[mac] = n.Name
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
