package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"weft/document"
	"weft/profiles/cluster"
)

// firstAddresses checks where the addresses of nodes begin that name none.
func firstAddresses(c *cluster.Cluster, d *document.Document) document.Problems {
	var found document.Problems
	said := map[bool]string{} // by whether it is IPv4
	for i, network := range c.Networks {
		for j, a := range network.First {
			path := document.Index(document.Index("networks", i)+".first", j)
			inside := func(p netip.Prefix) bool { return p.Contains(a) }
			switch {
			case !slices.ContainsFunc(network.Prefixes, inside):
				found = append(found, d.Problem(path, fmt.Sprintf("%s is not in network %s", a, network.Name)).
					WithFix("write an address of its prefixes"))
			case slices.ContainsFunc(network.Prefixes, func(p netip.Prefix) bool { return p.Masked().Addr() == a && p.Bits() < a.BitLen()-1 }):
				found = append(found, d.Problem(path, fmt.Sprintf("%s is the network itself", a)).
					WithFix("begin with "+a.Next().String()+" or later"))
			case said[a.Is4()] != "":
				found = append(found, d.Problem(path, fmt.Sprintf("addresses of nodes begin at %s already", said[a.Is4()])).
					WithNote("which of two networks a node is in, nobody could tell").
					WithFix("say first in one network for each family, and addresses: [...] for the nodes of others"))
			}
			said[a.Is4()] = a.String()
		}
	}
	if i, first := c.Crowded(); i >= 0 && found == nil {
		found = append(found, d.Problem(document.Index("nodes", i), fmt.Sprintf("from %s on there is no address left for node %s", first, c.Nodes[i].Name)).
			WithFix("begin with an earlier one, or give the network a larger prefix"))
	}
	return found
}
