package cluster

import (
	"net/netip"

	"weft/profiles"
)

// Version is what the weft key of every cluster file must say.
const Version = "cluster/v1"

// The roles of a node, by the names of [Node.Role].
const (
	// Server runs the control plane.
	Server = "server"
	// Agent runs pods and joins a server.
	Agent = "agent"
	// Plain is a node without Kubernetes.
	Plain = "node"
)

// Cluster is a set of nodes that share a network.
type Cluster struct {
	// Weft names the kind and version of the file; always [Version].
	Weft string `yaml:"weft"`
	// Name is the cluster's name.
	Name string `yaml:"name"`
	// Description says in one line what the cluster is for.
	Description string `yaml:"description,omitempty"`
	// ID is the identity of the cluster (RFC 9562). As long as it stays, the
	// cluster is the same one, and what cannot change in a running cluster
	// may not change; see [Lock].
	ID string `yaml:"id,omitempty"`
	// Board is the board of nodes that name none: a shipped one's name, or a
	// path beside this file.
	Board string `yaml:"board,omitempty"`
	// Profile is the profile of nodes that name none: a shipped one's name,
	// or a path beside this file.
	Profile string `yaml:"profile"`
	// KubernetesVersion is the release, over that of the profile.
	KubernetesVersion string `yaml:"kubernetesVersion,omitempty"`
	// Address is the name or address under which agents reach the servers: a
	// load balancer, a virtual address or a DNS name; the first address of
	// the bootstrap server when empty.
	Address string `yaml:"address,omitempty"`
	// Networks are the networks around the nodes.
	Networks []Network `yaml:"networks,omitempty"`
	// Nodes are the nodes.
	Nodes []Node `yaml:"nodes"`
	// Secrets is a file beside this one with tokens and keys.
	Secrets string `yaml:"secrets,omitempty"`
	// Overrides silence rules that do not hold for this cluster, each with
	// its reason.
	Overrides []profiles.Override `yaml:"overrides,omitempty"`
}

// Network is a network that nodes are in or reach: a LAN, a VPN, a cloud's
// private network.
type Network struct {
	// Name is what messages call it.
	Name string `yaml:"name"`
	// Prefixes are its ranges.
	Prefixes []netip.Prefix `yaml:"prefixes"`
	// First is where the addresses of nodes begin that name none, at most one
	// of each family, in one network of the file: they get it and the next
	// free ones, in their order.
	First []netip.Addr `yaml:"first,omitempty"`
	// MTU is the largest packet it carries; 1500 when zero.
	MTU int `yaml:"mtu,omitempty"`
	// Routed says that its nodes do not share a link, as in most clouds'
	// private networks.
	Routed bool `yaml:"routed,omitempty"`
	// NAT says that its nodes are behind address translation.
	NAT bool `yaml:"nat,omitempty"`
}

// Node is one node of a cluster.
type Node struct {
	// Name is the node's hostname.
	Name string `yaml:"name"`
	// Board is the node's board; the cluster's when empty.
	Board string `yaml:"board,omitempty"`
	// Profile is the node's profile; the cluster's when empty.
	Profile string `yaml:"profile,omitempty"`
	// Role is server, agent or node; node when empty and the profile has no
	// Kubernetes, else agent.
	Role string `yaml:"role,omitempty"`
	// Bootstrap says that this server begins the cluster; the only server
	// does when none says so.
	Bootstrap bool `yaml:"bootstrap,omitempty"`
	// Addresses are where the other nodes reach this one, at most one of
	// each family; where a network says first, the next ones from there when
	// empty.
	Addresses []netip.Addr `yaml:"addresses,omitempty"`
	// ExternalAddresses are where it is reached from outside its own network,
	// at most one of each family.
	ExternalAddresses []netip.Addr `yaml:"externalAddresses,omitempty"`
	// Subnets are its pod subnets where no Kubernetes gives them out, at most
	// one of each family.
	Subnets []netip.Prefix `yaml:"subnets,omitempty"`
	// PublicKey is the node's WireGuard key, in base64, for a network of
	// backend wireguard where no store tells the nodes of each other.
	PublicKey string `yaml:"publicKey,omitempty"`
	// Links are its uplinks; those of the profile when empty.
	Links []profiles.Link `yaml:"links,omitempty"`
	// Labels are the node's labels in Kubernetes.
	Labels map[string]string `yaml:"labels,omitempty"`
	// Taints are the node's taints, as key=value:effect.
	Taints []string `yaml:"taints,omitempty"`
	// Config are settings of this node, by the distribution's own key names,
	// over those of the profile.
	Config map[string]any `yaml:"config,omitempty"`
	// Memory is how much the node has, in MiB; unknown when zero.
	Memory int `yaml:"memory,omitempty"`
	// Storage is what the data partition is on: sd, emmc, ssd or disk;
	// unknown when empty.
	Storage string `yaml:"storage,omitempty"`
}

// Lock is what must stay the same in a cluster that runs. It is kept beside
// the cluster file, in NAME.lock; weft build and weft check --lock write it.
type Lock struct {
	// Weft names the kind and version of the file; always [LockVersion].
	Weft string `yaml:"weft"`
	// ID is the identity of the cluster it was written for.
	ID string `yaml:"id"`
	// Pods and Services are the ranges the cluster was begun with.
	Pods     []netip.Prefix `yaml:"pods"`
	Services []netip.Prefix `yaml:"services,omitempty"`
}

// LockVersion is what the weft key of every cluster lock must say.
const LockVersion = "cluster-lock/v1"

// SecretsVersion is what the weft key of every secrets file of a cluster must
// say.
const SecretsVersion = "cluster-secrets/v1"
