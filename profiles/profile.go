// Package profiles says what a node's network is: it holds the types of
// profile files and node files, reads both strictly, derives from them what a
// kernel must carry (the contract) and what netd is told, and carries the
// profiles weft ships.
//
// It touches no kernel and no disk; init and netd use its types, builder its
// checks.
package profiles

import "net/netip"

// Version is what the weft key of every profile file must say.
const Version = "profile/v1"

// A Profile says what a node's network is and what runs on it.
type Profile struct {
	// Weft names the kind and version of the file; always [Version].
	Weft string `yaml:"weft"`
	// Name is the profile's name, the same as its file's without ".yaml".
	Name string `yaml:"name"`
	// Description says in one line what the profile is for.
	Description string `yaml:"description"`
	// Network is the pod network.
	Network Network `yaml:"network"`
	// Hostname says how the node gets its name.
	Hostname Hostname `yaml:"hostname,omitempty"`
	// Links are the node's uplinks. When empty, every Ethernet device with
	// carrier is an uplink with DHCPv4 and router advertisements.
	Links []Link `yaml:"links,omitempty"`
	// Sysctls are kernel settings by their dotted name, on top of those weft
	// sets itself.
	Sysctls map[string]string `yaml:"sysctls,omitempty"`
	// Modules are kernel modules the node must have beside those its network
	// needs; init loads them at boot.
	Modules []string `yaml:"modules,omitempty"`
}

// Network is the pod network of a cluster.
type Network struct {
	// Pods are the ranges pod subnets are taken from, at most one of each
	// family. The families present here are the families of the network.
	Pods []netip.Prefix `yaml:"pods"`
	// Services are the ranges of service addresses, at most one of each
	// family; they may not overlap Pods.
	Services []netip.Prefix `yaml:"services,omitempty"`
	// SubnetLength is the length of one node's pod subnet.
	SubnetLength SubnetLength `yaml:"subnetLength,omitempty"`
	// Backend is how pods on two nodes reach each other.
	Backend Backend `yaml:"backend"`
	// Masquerade says for which families pod traffic that leaves the network
	// takes the node's address.
	Masquerade Masquerade `yaml:"masquerade,omitempty"`
	// Underlay chooses the devices that carry the network, for nodes whose
	// file gives no addresses.
	Underlay Underlay `yaml:"underlay,omitempty"`
	// ExternalIP makes peers reach each other at the external addresses of
	// their node files, as flannel's external-ip.
	ExternalIP bool `yaml:"externalIP,omitempty"`
	// Firewall is the packet filter.
	Firewall Firewall `yaml:"firewall,omitempty"`
	// Store is where the nodes learn of each other.
	Store Store `yaml:"store,omitempty"`
	// Peers are the other nodes, for a network whose store is static.
	Peers []Peer `yaml:"peers,omitempty"`
	// Probe makes netd keep a small pod of its own (a network namespace on
	// the CNI bridge with the last usable address of the node's subnet) and
	// ping the peers' probe pods from it, so that the pod network's health is
	// measured and not assumed.
	Probe bool `yaml:"probe,omitempty"`
}

// SubnetLength is the prefix length of one node's pod subnet, by family.
type SubnetLength struct {
	// IPv4 is 24 when zero and the network leaves room, as flannel's.
	IPv4 int `yaml:"ipv4,omitempty"`
	// IPv6 is 64 when zero and the network leaves room, as flannel's.
	IPv6 int `yaml:"ipv6,omitempty"`
}

// Masquerade says which families are masqueraded on the way out.
type Masquerade struct {
	// IPv4 is true when nil.
	IPv4 *bool `yaml:"ipv4,omitempty"`
	// IPv6 is false when nil, as flannel's ipv6-masq.
	IPv6 *bool `yaml:"ipv6,omitempty"`
}

// Peer is one node of a network without a store.
type Peer struct {
	// Name is the node's hostname. An entry with this node's own name is
	// skipped, so that all nodes can carry one list.
	Name string `yaml:"name"`
	// Addresses are where the node is reached, at most one of each family.
	Addresses []netip.Addr `yaml:"addresses"`
	// Subnets are the node's pod subnets, at most one of each family.
	Subnets []netip.Prefix `yaml:"subnets"`
	// MAC is the address of its VTEP device; derived from Name by
	// [VTEPMAC] when empty.
	MAC string `yaml:"mac,omitempty"`
	// PublicKey is the node's WireGuard key, in base64; needed by backend
	// wireguard.
	PublicKey string `yaml:"publicKey,omitempty"`
	// UUID is the node's identity (RFC 9562), when it is known beforehand.
	UUID string `yaml:"uuid,omitempty"`
}

// Hostname says how the node gets its name when the node file gives none.
type Hostname struct {
	// Prefix is put before a name derived from the serial number or the MAC
	// address; "node" when empty.
	Prefix string `yaml:"prefix,omitempty"`
	// DHCP lets the DHCP server name the node; true when nil.
	DHCP *bool `yaml:"dhcp,omitempty"`
}

// Link is one uplink of a node.
type Link struct {
	// Match chooses the device; all fields given must match.
	Match Match `yaml:"match"`
	// DHCP4 asks for an IPv4 address by DHCP; true when nil and no IPv4
	// address is given.
	DHCP4 *bool `yaml:"dhcp4,omitempty"`
	// RouterAdvertisements lets the kernel take addresses and routes from
	// IPv6 routers on this link; true when nil.
	RouterAdvertisements *bool `yaml:"routerAdvertisements,omitempty"`
	// Addresses are static addresses with their prefix length.
	Addresses []netip.Prefix `yaml:"addresses,omitempty"`
	// Gateways are default gateways, at most one of each family.
	Gateways []netip.Addr `yaml:"gateways,omitempty"`
	// DNS are name servers.
	DNS []netip.Addr `yaml:"dns,omitempty"`
	// MTU is the device's MTU; left as it is when zero.
	MTU int `yaml:"mtu,omitempty"`
}

// Match chooses a network device.
type Match struct {
	// Name is the kernel's name for the device; a glob as in path.Match.
	Name string `yaml:"name,omitempty"`
	// MAC is the permanent hardware address.
	MAC string `yaml:"mac,omitempty"`
	// Driver is the name of the kernel driver.
	Driver string `yaml:"driver,omitempty"`
}
