package profiles

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"weft/document"
)

// netdRules are what netd's configuration must keep.
var netdRules = slices.Concat(
	[]document.Rule[Netd]{
		{ID: "N1", Source: "the file's own format", Check: func(n Netd, d *document.Document) document.Problems {
			return checkVersion(n.Weft, NetdVersion, "netd", d)
		}},
	},
	within(networkRules, func(n Netd) Network { return n.Network }),
	within(underlayRules, func(n Netd) Network { return n.Network }),
	within(backendRules, func(n Netd) Network { return n.Network }),
	within(legacyRules, func(n Netd) Network { return n.Network }),
	within(storeRules, func(n Netd) Network { return n.Network }),
	within(wireguardRules, func(n Netd) Network { return n.Network }),
	within(peerRules, func(n Netd) peerList {
		return peerList{path: "network.peers", peers: n.Network.Peers, network: &n.Network}
	}),
	[]document.Rule[Netd]{
		{ID: "F1", Source: "RFC 1123, section 2.1", Check: func(n Netd, d *document.Document) document.Problems {
			return nameProblem(d, "node.name", n.Node.Name)
		}},
		{ID: "F2", Source: "a name is one node's", Check: checkSelfNotPeer},
		{ID: "B1", Source: "net.ParseCIDR masks silently", Check: func(n Netd, d *document.Document) document.Problems {
			return canonical(d, "node.subnets", n.Node.Subnets)
		}},
		{ID: "B11", Source: "a packet has one way to go", Check: func(n Netd, d *document.Document) document.Problems {
			return append(checkPodsAndServices(n.Network, d), outside(d, "node.addresses", n.Node.Addresses, n.Network)...)
		}},
		{ID: "N10", Source: "one tunnel device a family, over the same family", Check: checkSelfFamilies},
		{ID: "N11", Source: "only the pod ranges are routed", Check: func(n Netd, d *document.Document) document.Problems {
			return inside(d, "node.subnets", n.Node.Subnets, n.Network.Pods)
		}},
		{ID: "N12", Source: "a pod address is on one node", Check: checkSelfApart},
		{ID: "N13", Source: "RFC 6890 (special-purpose addresses)", Check: checkSelfAddresses},
		{ID: "N14", Source: "IEEE 802, section 8.2", Check: func(n Netd, d *document.Document) document.Problems {
			return macProblem(d, "node.mac", n.Node.MAC)
		}},
		{ID: "N26", Source: "RFC 9562, section 4", Check: checkUUID},
		{ID: "N27", Source: "netd runs in no folder of its own; unix(7): sun_path has 108 bytes with the zero", Check: checkPaths},
		{ID: ruleGivenSubnets, Source: givenSubnetsSource, Check: func(n Netd, d *document.Document) document.Problems {
			return givenSubnets(d, "node.subnets", n.Node.Subnets, n.Network)
		}},
		{ID: "N28", Source: "the status holds what only the node should know", Check: checkListen},
	},
)

// checkSelfNotPeer refuses an entry for the node itself: netd would build a
// tunnel to its own address.
func checkSelfNotPeer(n Netd, d *document.Document) document.Problems {
	for i, p := range n.Network.Peers {
		if p.Name == n.Node.Name && p.Name != "" {
			return document.Problems{d.Problem(document.Index("network.peers", i)+".name", fmt.Sprintf("%s is this node and a peer", p.Name)).
				WithFix("remove it from the peers")}
		}
	}
	return nil
}

// checkSelfFamilies wants the node to have a subnet of each family. Addresses
// may be left to netd, and subnets to a store that gives them out.
func checkSelfFamilies(n Netd, d *document.Document) document.Problems {
	found := onePerFamily(d, "node.addresses", n.Node.Addresses)
	found = append(found, onePerFamily(d, "node.subnets", bases(n.Node.Subnets))...)
	if len(n.Node.Subnets) == 0 && n.Network.Store.GivesSubnets() {
		return found
	}
	return append(found, families(d, "node.subnets", bases(n.Node.Subnets), n.Network, false)...)
}

// checkSelfApart wants the node's subnets to overlap no peer's. The node
// comes first, so that it is the peer that is reported.
func checkSelfApart(n Netd, d *document.Document) document.Problems {
	var found document.Problems
	for _, own := range n.Node.Subnets {
		for i, p := range n.Network.Peers {
			for j, s := range p.Subnets {
				if !own.IsValid() || !s.IsValid() || !own.Overlaps(s) {
					continue
				}
				at := document.Index(document.Index("network.peers", i)+".subnets", j)
				found = append(found, d.Problem(at, fmt.Sprintf("%s of peer %s overlaps this node's %s", s, p.Name, own)).
					WithFix("give each node a subnet of its own, in the node file or the list of peers"))
			}
		}
	}
	return found
}

// checkSelfAddresses wants addresses that a node can have and no peer has.
func checkSelfAddresses(n Netd, d *document.Document) document.Problems {
	found := hostAddresses(d, "node.addresses", n.Node.Addresses)
	for i, p := range n.Network.Peers {
		for j, a := range p.Addresses {
			if slices.Contains(n.Node.Addresses, a) {
				at := document.Index(document.Index("network.peers", i)+".addresses", j)
				found = append(found, d.Problem(at, fmt.Sprintf("peer %s has this node's address %s", p.Name, a)).
					WithFix("give each node its own address"))
			}
		}
	}
	return found
}

// uuidPattern is the text form of a UUID, in lower case.
var uuidPattern = lazily(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func checkUUID(n Netd, d *document.Document) document.Problems {
	if uuidPattern().MatchString(n.Node.UUID) {
		return nil
	}
	return document.Problems{d.Problem("node.uuid", fmt.Sprintf("%q is no UUID", n.Node.UUID)).
		WithFix("write it in lower case with four hyphens")}
}

// maxSocket is how long the path of a unix socket may be, in bytes (unix(7)).
const maxSocket = 107

// checkPaths wants files that netd can all keep: one that is another's, or
// stands where another needs a folder, would take it away.
func checkPaths(n Netd, d *document.Document) document.Problems {
	var found document.Problems
	type kept struct{ at, path, usual string }
	files := []kept{
		{"paths.socket", n.Paths.Socket, DefaultNetdPaths.Socket},
		{"paths.subnetEnv", n.Paths.SubnetEnv, DefaultNetdPaths.SubnetEnv},
		{"paths.cni", n.Paths.CNI, DefaultNetdPaths.CNI},
		{"paths.state", n.Paths.State, DefaultNetdPaths.State},
	}
	var sound []kept
	for _, f := range files {
		fix := "write such as " + f.usual + ", or remove it to have that"
		switch {
		case !path.IsAbs(f.path) || path.Clean(f.path) != f.path || f.path == "/":
			found = append(found, d.Problem(f.at, fmt.Sprintf("%s must be an absolute path of a file", f.at)).WithFix(fix))
			continue
		case f.at == "paths.socket" && len(f.path) > maxSocket:
			found = append(found, d.Problem(f.at, fmt.Sprintf("the path of a socket has at most %d bytes, and this one %d", maxSocket, len(f.path))).
				WithFix(fix))
			continue
		}
		for _, other := range sound {
			// The folder of state may hold the others.
			below := f.at != "paths.state" && strings.HasPrefix(other.path, f.path+"/")
			switch {
			case f.path == other.path:
				found = append(found, d.Problem(f.at, fmt.Sprintf("%s is %s, too", f.path, other.at)).WithFix(fix))
			case below || strings.HasPrefix(f.path, other.path+"/"):
				found = append(found, d.Problem(f.at, fmt.Sprintf("%s and %s cannot both be: one is the folder of the other", f.at, other.at)).
					WithFix(fix))
			}
		}
		sound = append(sound, f)
	}
	return found
}

func checkListen(n Netd, d *document.Document) document.Problems {
	if n.Listen == "" {
		return nil
	}
	a, err := netip.ParseAddrPort(n.Listen)
	if err == nil && a.Addr().IsLoopback() && a.Port() != 0 {
		return nil
	}
	return document.Problems{d.Problem("listen", fmt.Sprintf("%q is no loopback address with a port", n.Listen)).
		WithFix("write " + DefaultListen)}
}
