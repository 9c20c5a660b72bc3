package rules

import (
	"net/netip"
	"slices"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/kube"
)

// Facts are what is known of the hardware and of the image beside the files.
// The zero value knows nothing, and then no rule complains of it.
type Facts struct {
	// Arch is the Debian architecture, Kernel the release of the kernel.
	Arch, Kernel string
	// Lacks are configuration symbols, such as CONFIG_VXLAN, that the kernel
	// is known not to have.
	Lacks []string
	// Programs are the programs in the image; nil when it is not known.
	Programs []string
	// Users are the users in the image; nil when it is not known.
	Users []string
	// Hosts is the image's hosts file; empty when it is not known.
	Hosts string
	// Memory is how much the board has, in MiB, and Storage what its data is
	// on: sd, emmc, ssd or disk.
	Memory  int
	Storage string
}

// A Subject is what rules look at: a profile alone, or a cluster.
type Subject struct {
	// Cluster and Doc are the cluster file; nil for a profile alone.
	Cluster *cluster.Cluster
	Doc     *document.Document
	// Lock is what the cluster was begun with; nil when it is new.
	Lock *cluster.Lock
	// Nodes are the nodes. A profile alone is looked at as a server and an
	// agent without names.
	Nodes []*Node
}

// A Node is one node with its profile.
type Node struct {
	// Subject is what the node is part of.
	Subject *Subject
	// Entry is what the cluster file says of it, at Path; nil in a profile
	// alone.
	Entry *cluster.Node
	Path  string
	// Role is what it does in Kubernetes; 0 without Kubernetes.
	Role kube.Role
	// Profile and Doc are its profile as the file has it, and Network its
	// network with what the distribution says.
	Profile profiles.Profile
	Doc     *document.Document
	Network profiles.Network
	// Release is the version of Kubernetes.
	Release profiles.Release
	// Config is what its config.yaml says, Servers what that of a server with
	// its profile says, and Keys what may stand there.
	Config  kube.Config
	Servers kube.Config
	Keys    []kube.Key
	// Facts are what is known of its hardware and image.
	Facts Facts
}

// k3s and rke2 tell which distribution runs on the node.
func (n *Node) k3s() bool  { return n.Profile.Kubernetes.Distribution == profiles.K3s }
func (n *Node) rke2() bool { return n.Profile.Kubernetes.Distribution == profiles.RKE2 }

// on tells whether Kubernetes runs on the node, and server and agent what it
// is there.
func (n *Node) on() bool     { return n.Profile.Kubernetes.On() }
func (n *Node) server() bool { return n.on() && n.Role == kube.Server }
func (n *Node) agent() bool  { return n.on() && n.Role == kube.Agent }

// dual tells whether pods have both families.
func (n *Node) dual() bool { return n.Network.HasIPv4() && n.Network.HasIPv6() }

// only6 tells whether pods have IPv6 only.
func (n *Node) only6() bool { return !n.Network.HasIPv4() && n.Network.HasIPv6() }

// first6 tells whether IPv6 is the first family of the cluster.
func (n *Node) first6() bool {
	return len(n.Network.Pods) > 0 && n.Network.Pods[0].Addr().Is6()
}

// flannel tells whether K3s's own flannel is the pod network, and with which
// backend.
func (n *Node) flannel() (backend string, on bool) {
	if !n.k3s() {
		return "", false
	}
	backend = n.Servers.Text("flannel-backend")
	if n.server() {
		backend = n.Config.Text("flannel-backend")
	}
	if backend == "" {
		backend = "vxlan"
	}
	return backend, backend != "none"
}

// plugin is the network plugin: that of RKE2, or the custom one of K3s; ""
// when it is another or none.
func (n *Node) plugin() string {
	if n.k3s() {
		return n.Profile.Kubernetes.CustomCNI
	}
	if !n.rke2() {
		return ""
	}
	words := kube.Words(n.Servers["cni"].Value)
	words = slices.DeleteFunc(words, func(w string) bool { return w == "multus" })
	if len(words) == 0 {
		return "canal"
	}
	return words[0]
}

// said tells whether a file gives a key, and does not leave it to what follows
// from the rest.
func (n *Node) said(key string) bool {
	s, ok := n.Config[key]
	return ok && !s.Derived
}

// at makes a problem at a setting when a file gives it, and else at the first
// of some paths of the profile that is there.
func (n *Node) at(key, message string, paths ...string) document.Problem {
	for _, c := range []kube.Config{n.Config, n.Servers} {
		if s, ok := c[key]; ok {
			return s.Problem(message)
		}
	}
	return n.inProfile(message, paths...)
}

// inProfile makes a problem at the first of some paths of the profile that is
// there.
func (n *Node) inProfile(message string, paths ...string) document.Problem {
	for _, p := range paths {
		if n.Doc.Has(p) {
			return n.Doc.Problem(p, message)
		}
	}
	if n.Entry != nil {
		return n.inCluster("profile", message)
	}
	for _, p := range []string{"kubernetes.distribution", "kubernetes"} {
		if n.Doc.Has(p) {
			return n.Doc.Problem(p, message)
		}
	}
	return n.Doc.Problem("name", message)
}

// inCluster makes a problem at a key of the node's entry, or else at its name.
func (n *Node) inCluster(key, message string) document.Problem {
	path := n.Path + "." + key
	if !n.Subject.Doc.Has(path) {
		path = n.Path + ".name"
	}
	return n.Subject.Doc.Problem(path, message)
}

// label is how messages call the node.
func (n *Node) label() string {
	if n.Entry != nil && n.Entry.Name != "" {
		return n.Entry.Name
	}
	return "a node"
}

// addresses are the node's addresses as its configuration says, in order;
// words that are no addresses are left out.
func (n *Node) addresses(key string) []netip.Addr {
	var all []netip.Addr
	for _, w := range kube.Words(n.Config[key].Value) {
		if a, err := netip.ParseAddr(w); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// warning makes problems warnings.
func warning(p document.Problem) document.Problem { return p.WithLevel(document.Warning) }

// one is a list of one problem.
func one(p document.Problem) document.Problems { return document.Problems{p} }

// servers are the nodes that are servers, and first the one that begins the
// cluster; nil when none does.
func (s *Subject) servers() (all []*Node, first *Node) {
	for _, n := range s.Nodes {
		if n.server() {
			all = append(all, n)
		}
	}
	if len(all) == 1 {
		return all, all[0]
	}
	for _, n := range all {
		if n.Entry != nil && n.Entry.Bootstrap && first == nil {
			first = n
		}
	}
	return all, first
}
