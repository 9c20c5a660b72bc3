package profiles

import "net/netip"

// NodeVersion is what the weft key of every node file must say.
const NodeVersion = "node/v1"

// NodeFile is where a node file lives on the boot partition.
const NodeFile = "weft/node.yaml"

// WireGuardKeyFile is the file with the node's private WireGuard key, in
// netd's directory of state.
const WireGuardKeyFile = "wireguard.key"

// MaxNodeFile is the size limit of a node file, in bytes.
const MaxNodeFile = 64 << 10

// Node is what a node file says: what makes this node differ from the others
// that run the same image. Every field may be left out; a node without a file
// derives everything.
type Node struct {
	// Weft names the kind and version of the file; always [NodeVersion].
	Weft string `yaml:"weft"`
	// Hostname is the node's name (RFC 1123 label or dotted name).
	Hostname string `yaml:"hostname,omitempty"`
	// Addresses are where peers reach this node, at most one of each family;
	// the device that carries one is the underlay. When empty, the device of
	// the default route is, with its first global address.
	Addresses []netip.Addr `yaml:"addresses,omitempty"`
	// ExternalAddresses are what peers reach this node at when the profile
	// says network.externalIP, at most one of each family.
	ExternalAddresses []netip.Addr `yaml:"externalAddresses,omitempty"`
	// Subnets are this node's pod subnets, at most one of each family; taken
	// from the profile's peer list by name, or else derived from the node's
	// UUID, when empty.
	Subnets []netip.Prefix `yaml:"subnets,omitempty"`
	// Peers replaces the profile's list when not empty.
	Peers []Peer `yaml:"peers,omitempty"`
	// Links replaces the profile's list when not empty.
	Links []Link `yaml:"links,omitempty"`
	// WireGuardKey is the node's private key as wg genkey prints it, for a
	// network with a list of peers, which hold the public ones; without it the
	// node makes its own. It is a secret: init moves it to the data partition
	// at the first boot and erases it here.
	WireGuardKey string `yaml:"wireguardKey,omitempty"`
	// PSK is the pre-shared key that all nodes of the network have, for
	// backend ipsec, or wireguard where its pskFile names
	// [DefaultPSKFile]. It is a secret like WireGuardKey.
	PSK string `yaml:"psk,omitempty"`
	// Probe overrides the profile's network.probe when not nil.
	Probe *bool `yaml:"probe,omitempty"`
	// Kubernetes is the node's place in a Kubernetes cluster.
	Kubernetes NodeKubernetes `yaml:"kubernetes,omitempty"`
}

// NodeKubernetes is the place of a node in a Kubernetes cluster.
type NodeKubernetes struct {
	// Role is server, agent or node (without Kubernetes); server when empty
	// and Join is too, else agent.
	Role string `yaml:"role,omitempty"`
	// Join is the URL of the server it joins, such as
	// https://192.168.1.11:6443; empty for the server that begins the
	// cluster.
	Join string `yaml:"join,omitempty"`
	// More says that further servers will join this one, which begins the
	// cluster: K3s keeps its state in etcd then, and not in sqlite.
	More bool `yaml:"more,omitempty"`
	// Token is what nodes join with. It is a secret like WireGuardKey.
	Token string `yaml:"token,omitempty"`
	// Labels are the node's labels in Kubernetes.
	Labels map[string]string `yaml:"labels,omitempty"`
	// Taints are the node's taints, as key=value:effect.
	Taints []string `yaml:"taints,omitempty"`
	// Config are settings of this node, by the distribution's own key names,
	// over those of the profile.
	Config map[string]any `yaml:"config,omitempty"`
}

// The values of [NodeKubernetes.Role].
const (
	RoleServer = "server"
	RoleAgent  = "agent"
	// RoleNone leaves Kubernetes out on this node.
	RoleNone = "node"
)
