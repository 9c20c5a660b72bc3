package rules

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"weft/document"
	"weft/profiles"
)

// nameRules are the rules about what nodes are called and where they are.
func nameRules() []Rule {
	return []Rule{
		{
			ID: "F1", Title: "a node's name is a lower-case RFC 1123 name that no other machine has from the start",
			Why:    "The kubelet refuses other names; and two nodes called localhost or raspberrypi take each other's place in the cluster.",
			Source: "RFC 1123, section 2.1; k3s#532, k3sup#233",
			Bad:    Example{Cluster: "nodes:\n  - {name: Pi_1, role: server, addresses: [192.168.1.11]}\n"},
			Good:   Example{Cluster: "nodes:\n  - {name: pi-1, role: server, addresses: [192.168.1.11]}\n"},
			node:   nodeName,
		},
		{
			ID: "F2", Title: "no two nodes have one name or one address",
			Why:    "The second is refused: \"Node password rejected, duplicate hostname\", or the first loses its traffic.",
			Source: "K3s documentation, requirements; k3s#2769",
			Bad:    Example{Cluster: "nodes:\n  - {name: pi, role: server, addresses: [192.168.1.11]}\n  - {name: pi, role: agent, addresses: [192.168.1.12]}\n"},
			Good:   Example{Cluster: "nodes:\n  - {name: pi, role: server, addresses: [192.168.1.11]}\n  - {name: pi-2, role: agent, addresses: [192.168.1.12]}\n"},
			whole:  uniqueNames,
		},
		{
			ID: "F3", Level: document.Warning, Title: "an image for many nodes does not give all of them one name",
			Why:    "Nodes without a file of their own are named after their serial number or MAC address; a name in the profile overrides that on all of them.",
			Source: "k3s#4049, k3s#6335",
			Bad:    Example{Profile: "kubernetes:\n  config: {node-name: worker}\n"},
			Good:   Example{Profile: "kubernetes:\n  config: {node-name: worker, with-node-id: true}\n"},
			node:   sharedName,
		},
		{
			ID: "F4", Title: "no two nodes of a cluster have one pod subnet, WireGuard key, tunnel address, hardware address or address of a link",
			Why:    "Of two, one takes the packets of both, or neither gets any.",
			Source: "WireGuard paper, section 2; IEEE 802, section 8.2; RFC 5227",
			Bad:    Example{Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11], links: [{match: {mac: \"02:00:00:00:00:01\"}}]}\n  - {name: node-2, role: agent, addresses: [192.168.1.12], links: [{match: {mac: \"02:00:00:00:00:01\"}}]}\n"},
			Good:   Example{Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11], links: [{match: {mac: \"02:00:00:00:00:01\"}}]}\n  - {name: node-2, role: agent, addresses: [192.168.1.12], links: [{match: {mac: \"02:00:00:00:00:02\"}}]}\n"},
			whole:  clashes,
		},
		{
			ID: "N31", Title: "a cluster file's nodes, roles, labels and references hold together",
			Why:    "A node with a role that is not there would be built without its part of the cluster.",
			Source: "weft's own format; Kubernetes label and taint syntax",
			Bad:    Example{Cluster: "nodes:\n  - {name: node-1, role: master, addresses: [192.168.1.11]}\n"},
			Good:   Example{Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11]}\n"},
			whole:  clusterForm,
		},
	}
}

func nodeName(n *Node) document.Problems {
	if n.Entry != nil && !n.said("node-name") {
		return profiles.CheckHostname(n.Entry.Name, n.Subject.Doc, n.Path+".name")
	}
	if !n.said("node-name") {
		return nil
	}
	s := n.Config["node-name"]
	return profiles.CheckHostname(n.Config.Text("node-name"), s.Doc, s.Path)
}

func uniqueNames(s *Subject) document.Problems {
	if s.Cluster == nil {
		return nil
	}
	var found document.Problems
	names, addresses := map[string]int{}, map[netip.Addr]int{}
	for i, n := range s.Cluster.Nodes {
		path := document.Index("nodes", i)
		if before, twice := names[n.Name]; twice && n.Name != "" && !withNodeID(s, i) {
			found = append(found, s.Doc.Problem(path+".name", fmt.Sprintf("two nodes are called %s", n.Name)).
				WithNote(inLine(s.Doc, document.Index("nodes", before)+".name")).WithFix("give each node its own name"))
		} else if !twice {
			names[n.Name] = i
		}
		for j, a := range n.Addresses {
			if before, twice := addresses[a]; twice && before != i {
				found = append(found, s.Doc.Problem(document.Index(path+".addresses", j), fmt.Sprintf("two nodes have the address %s", a)).
					WithNote("the first is "+s.Cluster.Nodes[before].Name).WithFix("give each node its own address"))
			} else {
				addresses[a] = i
			}
		}
	}
	return found
}

// withNodeID tells whether node i puts a number of its own behind its name.
func withNodeID(s *Subject, i int) bool {
	for _, n := range s.Nodes {
		if n.Path == document.Index("nodes", i) {
			return n.Config.Bool("with-node-id")
		}
	}
	return false
}

// inLine says in which line the first of two stands.
func inLine(d *document.Document, path string) string {
	return fmt.Sprintf("the first is in line %d", d.Position(path).Line)
}

func sharedName(n *Node) document.Problems {
	if !n.on() || !n.said("node-name") || n.Config.Bool("with-node-id") {
		return nil
	}
	s := n.Config["node-name"]
	if s.Doc != n.Doc {
		return nil
	}
	return one(s.Problem("every node with this profile would have this name").
		WithFix("remove it; give names in the cluster file, or set with-node-id: true"))
}

// labelPattern and taintPattern are the syntax of Kubernetes (apimachinery
// pkg/util/validation; kubectl taint).
var (
	labelPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	valuePattern = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$`)
	taintPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9./_-]*(=[A-Za-z0-9._-]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$`)
	uuidPattern  = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

var (
	roles    = []string{"server", "agent", "node"}
	storages = []string{"sd", "emmc", "ssd", "disk"}
)

func clusterForm(s *Subject) document.Problems {
	c, d := s.Cluster, s.Doc
	if c == nil {
		return nil
	}
	var found document.Problems
	add := func(path, message, fix string) {
		found = append(found, d.Problem(path, message).WithFix(fix))
	}
	if profiles.SoundHostname(c.Name) != nil {
		add("name", fmt.Sprintf("%q is no name for a cluster", c.Name), "use lower-case letters, digits and hyphens, such as home")
	}
	if c.ID != "" && !uuidPattern.MatchString(c.ID) {
		add("id", fmt.Sprintf("%q is no UUID", c.ID), "write it in lower case with four hyphens")
	}
	if len(c.Nodes) == 0 {
		add("nodes", "the cluster has no nodes", "write nodes: and a name for each")
	}
	for i, net := range c.Networks {
		path := document.Index("networks", i)
		if net.MTU != 0 && (net.MTU < profiles.MinMTU4 || net.MTU > profiles.MaxMTU) {
			add(path+".mtu", fmt.Sprintf("%d is no MTU", net.MTU), "use 576 to 65535")
		}
		if len(net.Prefixes) == 0 {
			add(path, "a network has prefixes", "write prefixes: [192.168.1.0/24]")
		}
	}
	found = append(found, firstAddresses(c, d)...)
	for i, n := range c.Nodes {
		path := document.Index("nodes", i)
		if n.Role != "" && !slices.Contains(roles, n.Role) {
			add(path+".role", fmt.Sprintf("there is no role %q", n.Role), document.DidYouMean(n.Role, roles))
		}
		if n.Storage != "" && !slices.Contains(storages, n.Storage) {
			add(path+".storage", fmt.Sprintf("there is no storage %q", n.Storage), document.DidYouMean(n.Storage, storages))
		}
		if n.Bootstrap && n.Role != "server" {
			add(path+".bootstrap", "only a server begins a cluster", "set role: server, or remove bootstrap")
		}
		for name, value := range n.Labels {
			if !labelPattern.MatchString(name) || !valuePattern.MatchString(value) {
				add(document.Join(path+".labels", name), fmt.Sprintf("%s=%s is no label", name, value), "use letters, digits, dots, hyphens and underscores, 63 at most")
			}
		}
		for j, t := range n.Taints {
			if !taintPattern.MatchString(t) {
				add(document.Index(path+".taints", j), fmt.Sprintf("%q is no taint", t), "write key=value:NoSchedule, or :PreferNoSchedule or :NoExecute")
			}
		}
	}
	return append(found, nodeFields(s)...)
}

// nodeFields checks addresses and links of nodes as a node file's.
func nodeFields(s *Subject) document.Problems {
	var found document.Problems
	for _, n := range s.Nodes {
		found = append(found, profiles.CheckNodeAddresses(n.Entry.Addresses, n.Network, s.Doc, n.Path+".addresses")...)
		found = append(found, profiles.CheckNodeAddresses(n.Entry.ExternalAddresses, n.Network, s.Doc, n.Path+".externalAddresses")...)
		found = append(found, profiles.CheckLinks(n.Entry.Links, n.Network, s.Doc, n.Path+".links")...)
	}
	return found
}

// checkSubnets checks the pod subnets the cluster file gives a node.
func checkSubnets(n *Node) document.Problems {
	if n.Entry == nil || len(n.Entry.Subnets) == 0 {
		return nil
	}
	return profiles.CheckSubnets(n.Entry.Subnets, n.Network, n.Subject.Doc, n.Path+".subnets")
}
