package profiles

import "net/netip"

// NodeVersion is what the weft key of every node file must say.
const NodeVersion = "node/v1"

// NodeFile is where a node file lives on the boot partition.
const NodeFile = "weft/node.yaml"

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
	// Probe overrides the profile's network.probe when not nil.
	Probe *bool `yaml:"probe,omitempty"`
}
