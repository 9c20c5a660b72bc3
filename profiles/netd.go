package profiles

import (
	"cmp"
	"net/netip"
)

// NetdVersion is what the weft key of netd's configuration must say.
const NetdVersion = "netd/v1"

// NetdFile is where init writes netd's configuration and netd reads it.
const NetdFile = "/run/weft/netd.yaml"

// Netd is netd's configuration: the network of the profile and this node's
// part in it. It is rendered by init and is complete: netd reads no other
// file to know what to do.
type Netd struct {
	// Weft names the kind and version of the file; always [NetdVersion].
	Weft string `yaml:"weft"`
	// Node is this node's part.
	Node NetdNode `yaml:"node"`
	// Network is the profile's network with the node's overrides applied and
	// all defaults filled in.
	Network Network `yaml:"network"`
	// Paths are the files netd keeps.
	Paths NetdPaths `yaml:"paths,omitempty"`
	// Listen is the loopback address and port of the status server, such as
	// 127.0.0.1:8285; none when empty. The unix socket is always there.
	Listen string `yaml:"listen,omitempty"`
}

// NetdNode is one node's part in the network.
type NetdNode struct {
	// Name is the hostname.
	Name string `yaml:"name"`
	// UUID is the node's identity (RFC 9562), kept on the data partition.
	UUID string `yaml:"uuid"`
	// Addresses are where peers reach this node, at most one of each family.
	// When empty netd takes them from the device of the default route.
	Addresses []netip.Addr `yaml:"addresses,omitempty"`
	// ExternalAddresses are what peers are told to reach this node at instead
	// of Addresses, at most one of each family.
	ExternalAddresses []netip.Addr `yaml:"externalAddresses,omitempty"`
	// Subnets are this node's pod subnets, at most one of each family. With a
	// store that gives them out they may be left out.
	Subnets []netip.Prefix `yaml:"subnets,omitempty"`
	// MAC is the address of the VTEP device; derived from Name by [VTEPMAC]
	// when empty.
	MAC string `yaml:"mac,omitempty"`
}

// NetdPaths are the files netd keeps. What is left out is as on a node built
// by weft.
type NetdPaths struct {
	// Socket is the unix socket of the status server; /run/weft/netd.sock
	// when empty.
	Socket string `yaml:"socket,omitempty"`
	// SubnetEnv is the file flannel's CNI plugin reads;
	// /run/flannel/subnet.env when empty.
	SubnetEnv string `yaml:"subnetEnv,omitempty"`
	// CNI is the conflist netd writes; /etc/cni/net.d/10-weft.conflist when
	// empty.
	CNI string `yaml:"cni,omitempty"`
	// State is a directory that lasts: the WireGuard key, the last known
	// leases, the last subnets; /data/weft/netd when empty. Only netd may
	// read it.
	State string `yaml:"state,omitempty"`
}

// DefaultNetdPaths are the paths of a node built by weft; SubnetEnv and CNI
// are where flannel's plugin and container runtimes look.
var DefaultNetdPaths = NetdPaths{
	Socket:    "/run/weft/netd.sock",
	SubnetEnv: "/run/flannel/subnet.env",
	CNI:       "/etc/cni/net.d/10-weft.conflist",
	State:     "/data/weft/netd",
}

// withDefaults fills in the paths that are left out.
func (p NetdPaths) withDefaults() NetdPaths {
	return NetdPaths{
		Socket:    cmp.Or(p.Socket, DefaultNetdPaths.Socket),
		SubnetEnv: cmp.Or(p.SubnetEnv, DefaultNetdPaths.SubnetEnv),
		CNI:       cmp.Or(p.CNI, DefaultNetdPaths.CNI),
		State:     cmp.Or(p.State, DefaultNetdPaths.State),
	}
}
