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
	// Extends is another profile, a shipped one's name or a path beside this
	// file: what it says and this file does not say counts too. Mappings are
	// merged, lists and single values replaced.
	Extends string `yaml:"extends,omitempty"`
	// Network is the pod network.
	Network Network `yaml:"network"`
	// Kubernetes is the distribution that runs on the nodes, if one does.
	Kubernetes Kubernetes `yaml:"kubernetes,omitempty"`
	// Hostname says how the node gets its name.
	Hostname Hostname `yaml:"hostname,omitempty"`
	// Links are the node's uplinks. When empty, every Ethernet device with
	// carrier is an uplink with DHCPv4 and router advertisements.
	Links []Link `yaml:"links,omitempty"`
	// Time says how the node's clock is kept.
	Time Time `yaml:"time,omitempty"`
	// Sysctls are kernel settings by their dotted name, on top of those weft
	// sets itself.
	Sysctls map[string]string `yaml:"sysctls,omitempty"`
	// Modules are kernel modules the node must have beside those its network
	// needs; init loads them at boot.
	Modules []string `yaml:"modules,omitempty"`
	// Services are programs of your own that run on every node.
	Services []Service `yaml:"services,omitempty"`
	// Overrides silence rules that do not hold for this network, each with
	// its reason.
	Overrides []Override `yaml:"overrides,omitempty"`
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
	Match Match `yaml:"match,omitempty"`
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
	// DHCP6 asks for addresses, or what goes with them, by DHCPv6 when a
	// router of the link says that there is a server; true when nil.
	DHCP6 *bool `yaml:"dhcp6,omitempty"`
	// Routes are further static routes.
	Routes []Route `yaml:"routes,omitempty"`
	// DNS are name servers, Domains search domains.
	DNS     []netip.Addr `yaml:"dns,omitempty"`
	Domains []string     `yaml:"domains,omitempty"`
	// MTU is the device's MTU; left as it is when zero.
	MTU int `yaml:"mtu,omitempty"`
	// VLAN, Bond and Bridge make the link a device of that kind, which init
	// makes; Match is left out then. At most one of them is given.
	VLAN   *VLAN   `yaml:"vlan,omitempty"`
	Bond   *Bond   `yaml:"bond,omitempty"`
	Bridge *Bridge `yaml:"bridge,omitempty"`
	// Wait is what the node needs of the link to be ready: carrier, address,
	// ipv4, ipv6 (an address of the family), route4, route6 (a default
	// route). When empty: an address, and all static ones.
	Wait []string `yaml:"wait,omitempty"`
	// Optional lets the node be ready without the link.
	Optional bool `yaml:"optional,omitempty"`
}

// The needs of [Link.Wait].
const (
	WaitCarrier = "carrier"
	WaitAddress = "address"
	WaitIPv4    = "ipv4"
	WaitIPv6    = "ipv6"
	WaitRoute4  = "route4"
	WaitRoute6  = "route6"
)

// Route is a static route.
type Route struct {
	// To is the destination.
	To netip.Prefix `yaml:"to"`
	// Via is the gateway; the destination is on the link itself when empty.
	Via netip.Addr `yaml:"via,omitempty"`
	// Metric is the route's priority, lower is better; as the link's default
	// route when zero.
	Metric int `yaml:"metric,omitempty"`
}

// VLAN is a tagged network on another device (IEEE 802.1Q).
type VLAN struct {
	// Name is the device's name.
	Name string `yaml:"name"`
	// ID is the tag, 1..4094.
	ID int `yaml:"id"`
	// On chooses the device below.
	On Match `yaml:"on"`
}

// Bond is several devices that act as one.
type Bond struct {
	// Name is the device's name.
	Name string `yaml:"name"`
	// Ports choose the devices below.
	Ports []Match `yaml:"ports"`
	// Mode is active-backup, 802.3ad, balance-rr, balance-xor, broadcast,
	// balance-tlb or balance-alb; active-backup when empty.
	Mode string `yaml:"mode,omitempty"`
	// Monitor is how often the carrier of the ports is looked at, in
	// milliseconds; 100 when zero.
	Monitor int `yaml:"monitor,omitempty"`
}

// Bridge is a bridge that carries the node's own address, for machines beside
// the node's pods.
type Bridge struct {
	// Name is the device's name.
	Name string `yaml:"name"`
	// Ports choose the devices below.
	Ports []Match `yaml:"ports"`
	// STP turns the spanning tree protocol on.
	STP bool `yaml:"stp,omitempty"`
}

// Virtual is the name of the device that init makes for the link, and the
// devices it lies on; "" for a link of a device there is.
func (l Link) Virtual() (name string, ports []Match) {
	switch {
	case l.VLAN != nil:
		return l.VLAN.Name, []Match{l.VLAN.On}
	case l.Bond != nil:
		return l.Bond.Name, l.Bond.Ports
	case l.Bridge != nil:
		return l.Bridge.Name, l.Bridge.Ports
	}
	return "", nil
}

// Time says how the node's clock is kept.
type Time struct {
	// Servers are time servers (NTP) by name or address, asked beside those
	// that DHCP and the cloud name.
	Servers []string `yaml:"servers,omitempty"`
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
