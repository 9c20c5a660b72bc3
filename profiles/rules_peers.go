package profiles

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"weft/document"
)

// A peerList is a list of peers with its place in a file.
type peerList struct {
	path  string
	peers []Peer
	// network is nil when it is not known, as in a node file.
	network *Network
}

// peerRules are what a list of peers must keep.
var peerRules = []document.Rule[peerList]{
	{ID: "F1", Source: "RFC 1123, section 2.1; Kubernetes node names", Check: checkPeerNames},
	{ID: "F2", Source: "a name is one node's", Check: checkPeerNamesUnique},
	{ID: "B1", Source: "net.ParseCIDR masks silently", Check: func(l peerList, d *document.Document) document.Problems {
		return eachPeer(l, func(path string, p Peer) document.Problems { return canonical(d, path+".subnets", p.Subnets) })
	}},
	{ID: "B11", Source: "a packet has one way to go", Check: checkPeersOutsidePods},
	{ID: "N10", Source: "one tunnel device a family, over the same family", Check: checkPeerFamilies},
	{ID: "N11", Source: "only the pod ranges are routed", Check: checkPeerSubnetsInside},
	{ID: "N12", Source: "a pod address is on one node", Check: checkPeerSubnetsApart},
	{ID: "N13", Source: "RFC 6890 (special-purpose addresses)", Check: checkPeerAddresses},
	{ID: "N14", Source: "IEEE 802, section 8.2", Check: checkPeerMACs},
	{ID: "N75", Source: "wg(8), pubkey: 32 bytes in base64; WireGuard paper, section 2: a key is one peer", Check: checkPeerKeys},
}

// eachPeer collects what a check finds in each peer.
func eachPeer(l peerList, check func(path string, p Peer) document.Problems) document.Problems {
	var found document.Problems
	for i, p := range l.peers {
		found = append(found, check(document.Index(l.path, i), p)...)
	}
	return found
}

func checkPeerNames(l peerList, d *document.Document) document.Problems {
	return eachPeer(l, func(path string, p Peer) document.Problems { return nameProblem(d, path+".name", p.Name) })
}

func checkPeerNamesUnique(l peerList, d *document.Document) document.Problems {
	return uniqueOf(l, d, "name", func(p Peer) []string {
		if p.Name == "" {
			return nil
		}
		return []string{p.Name}
	}, "give each node its own name")
}

// uniqueOf wants no two peers to share a value of a key.
func uniqueOf(l peerList, d *document.Document, key string, values func(Peer) []string, fix string) document.Problems {
	first := make(map[string]string, len(l.peers))
	return eachPeer(l, func(path string, p Peer) document.Problems {
		var found document.Problems
		for i, v := range values(p) {
			at := path + "." + key
			if key == "addresses" {
				at = document.Index(at, i)
			}
			if before, twice := first[v]; twice {
				found = append(found, d.Problem(at, fmt.Sprintf("%s is here twice", v)).
					WithNote(inLine(d, before, "the first is")).WithFix(fix))
				continue
			}
			first[v] = at
		}
		return found
	})
}

// checkPeerFamilies wants each peer to have what its tunnels need: for each
// family of pods one subnet, and one address that the tunnel ends at.
func checkPeerFamilies(l peerList, d *document.Document) document.Problems {
	return eachPeer(l, func(path string, p Peer) document.Problems {
		found := onePerFamily(d, path+".addresses", p.Addresses)
		found = append(found, onePerFamily(d, path+".subnets", bases(p.Subnets))...)
		if l.network == nil {
			return append(found, notEmpty(d, path, p)...)
		}
		found = append(found, families(d, path+".addresses", p.Addresses, *l.network, true)...)
		return append(found, families(d, path+".subnets", bases(p.Subnets), *l.network, false)...)
	})
}

// notEmpty wants a peer to have an address and a subnet at all.
func notEmpty(d *document.Document, path string, p Peer) document.Problems {
	var found document.Problems
	if len(p.Addresses) == 0 {
		found = append(found, d.Problem(path+".addresses", "the peer has no addresses").
			WithFix("write addresses: [192.168.1.11], where the node is reached"))
	}
	if len(p.Subnets) == 0 {
		found = append(found, d.Problem(path+".subnets", "the peer has no subnets").
			WithFix("write subnets: [10.244.1.0/24], where its pods are"))
	}
	return found
}

// families wants one address of each family of the network, and no other
// unless more is set.
func families(d *document.Document, path string, list []netip.Addr, n Network, more bool) document.Problems {
	var found document.Problems
	has := map[bool]bool{}
	for i, a := range list {
		has[a.Is4()] = true
		if a.IsValid() && !n.hasFamily(a.Is4()) && !more {
			found = append(found, d.Problem(document.Index(path, i), fmt.Sprintf("the pods have no %s addresses", familyName(a))).
				WithFix("remove it, or add a range to network.pods"))
		}
	}
	for _, p := range n.Pods {
		if p.IsValid() && !has[p.Addr().Is4()] {
			found = append(found, d.Problem(path, fmt.Sprintf("%s lacks one for %s", path, familyName(p.Addr()))).
				WithFix("add one; pods have "+p.String()))
			has[p.Addr().Is4()] = true
		}
	}
	return found
}

func checkPeerSubnetsInside(l peerList, d *document.Document) document.Problems {
	if l.network == nil {
		return nil
	}
	return eachPeer(l, func(path string, p Peer) document.Problems {
		return inside(d, path+".subnets", p.Subnets, l.network.Pods)
	})
}

// inside wants subnets to be parts of the pod range of their family, large
// enough to hold pods.
func inside(d *document.Document, path string, subnets, pods []netip.Prefix) document.Problems {
	var found document.Problems
	for i, s := range subnets {
		for _, p := range pods {
			if !s.IsValid() || !p.IsValid() || s.Addr().Is4() != p.Addr().Is4() {
				continue
			}
			at := document.Index(path, i)
			longest := maxSubnet4
			if s.Addr().Is6() {
				longest = maxSubnet6
			}
			switch {
			case s.Bits() < p.Bits() || !p.Contains(s.Addr()):
				found = append(found, d.Problem(at, fmt.Sprintf("%s is not inside %s", s, p)).
					WithNote("where the network's pods are").
					WithFix("take a subnet such as "+nthSubnet(p, min(defaultLength(p, 24), longest), 1).String()))
			case s.Bits() == p.Bits():
				found = append(found, d.Problem(at, fmt.Sprintf("%s is the whole network", s)).
					WithFix("leave room for the other nodes"))
			case s.Bits() > longest:
				found = append(found, d.Problem(at, fmt.Sprintf("%s leaves no room for pods", s)).
					WithFix(fmt.Sprintf("use a /%d or shorter", longest)))
			}
		}
	}
	return found
}

func checkPeerSubnetsApart(l peerList, d *document.Document) document.Problems {
	var all []placed
	for i, p := range l.peers {
		all = place(all, document.Index(l.path, i)+".subnets", p.Subnets)
	}
	return overlaps(d, all, "give each node a subnet of its own")
}

func checkPeersOutsidePods(l peerList, d *document.Document) document.Problems {
	if l.network == nil {
		return nil
	}
	return eachPeer(l, func(path string, p Peer) document.Problems {
		return outside(d, path+".addresses", p.Addresses, *l.network)
	})
}

// outside wants node addresses that are neither pods nor services: packets to
// the node would go into the tunnel that they carry.
func outside(d *document.Document, path string, list []netip.Addr, n Network) document.Problems {
	var found document.Problems
	for i, a := range list {
		for _, r := range slices.Concat(n.Pods, n.Services) {
			if r.IsValid() && r.Contains(a) {
				found = append(found, d.Problem(document.Index(path, i), fmt.Sprintf("node address %s is inside %s", a, r)).
					WithNote("which pods or services have").
					WithFix("choose ranges that your own network does not use"))
			}
		}
	}
	return found
}

func checkPeerAddresses(l peerList, d *document.Document) document.Problems {
	found := eachPeer(l, func(path string, p Peer) document.Problems {
		return hostAddresses(d, path+".addresses", p.Addresses)
	})
	return append(found, uniqueOf(l, d, "addresses", func(p Peer) []string {
		var all []string
		for _, a := range p.Addresses {
			all = append(all, a.String())
		}
		return all
	}, "give each node its own address")...)
}

func checkPeerMACs(l peerList, d *document.Document) document.Problems {
	found := eachPeer(l, func(path string, p Peer) document.Problems { return macProblem(d, path+".mac", p.MAC) })
	return append(found, uniqueOf(l, d, "mac", func(p Peer) []string {
		if hw, err := net.ParseMAC(p.MAC); err == nil {
			return []string{hw.String()}
		}
		return nil
	}, "give each node its own, or leave it out")...)
}

// macProblem wants "" or a unicast address of six bytes.
func macProblem(d *document.Document, path, mac string) document.Problems {
	if mac == "" && !d.Has(path) {
		return nil
	}
	hw, err := net.ParseMAC(mac)
	note, fix := "", "write six bytes, such as 02:00:5e:10:00:01"
	switch {
	case err != nil || len(hw) != 6:
	case hw[0]&1 == 1:
		note, fix = "it is a multicast address", fmt.Sprintf("make the first byte even, such as %02x", hw[0]&^1)
	case hw.String() == "00:00:00:00:00:00":
		note = "it is all zeros"
	default:
		return nil
	}
	return document.Problems{d.Problem(path, fmt.Sprintf("%q is no hardware address of a device", mac)).
		WithNote(note).WithFix(fix)}
}
