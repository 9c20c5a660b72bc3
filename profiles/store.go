package profiles

import (
	"net/netip"
	"time"
)

// The stores of netd, by the names of [Store.Type].
const (
	// StoreStatic is the list of peers in the profile or node file.
	StoreStatic = "static"
	// StoreEtcd is etcd, version 3.
	StoreEtcd = "etcd"
	// StoreKubernetes is the nodes of a Kubernetes cluster.
	StoreKubernetes = "kubernetes"
)

// Store is where the nodes of a network learn of each other.
type Store struct {
	// Type is static, etcd or kubernetes; static when empty.
	Type string `yaml:"type,omitempty"`
	// Etcd says where etcd is, for type etcd.
	Etcd EtcdStore `yaml:"etcd,omitempty"`
	// Kubernetes says where the API server is, for type kubernetes.
	Kubernetes KubernetesStore `yaml:"kubernetes,omitempty"`
}

// GivesSubnets reports whether the store finds a node its pod subnets, so that
// they may be left out of the configuration.
func (s Store) GivesSubnets() bool { return s.Type == StoreEtcd || s.Type == StoreKubernetes }

// EtcdStore is an etcd cluster that holds leases, in the form flannel keeps there.
type EtcdStore struct {
	// Endpoints are the URLs of its members; http://127.0.0.1:2379 when
	// empty.
	Endpoints []string `yaml:"endpoints,omitempty"`
	// Prefix is where the keys of the network are; /coreos.com/network when
	// empty, as flannel's.
	Prefix string `yaml:"prefix,omitempty"`
	// CAFile, CertFile and KeyFile are PEM files for endpoints with https.
	CAFile   string `yaml:"caFile,omitempty"`
	CertFile string `yaml:"certFile,omitempty"`
	KeyFile  string `yaml:"keyFile,omitempty"`
	// Username and PasswordFile are for etcd with authentication.
	Username     string `yaml:"username,omitempty"`
	PasswordFile string `yaml:"passwordFile,omitempty"`
	// LeaseTTL is how long the lease of a node that is gone is kept; 24h when
	// zero, as flannel's.
	LeaseTTL time.Duration `yaml:"leaseTTL,omitempty"`
	// SubnetMin and SubnetMax bound the subnets given out, by the first
	// address of the lowest and of the highest, at most one of each family;
	// the second of the network and the last when empty.
	SubnetMin []netip.Addr `yaml:"subnetMin,omitempty"`
	SubnetMax []netip.Addr `yaml:"subnetMax,omitempty"`
}

// KubernetesStore is an API server whose nodes hold leases in annotations, in the
// form flannel keeps there.
type KubernetesStore struct {
	// Kubeconfig is a file with server and credentials. Client certificates,
	// tokens and token files are read from it; exec plugins are not. When
	// empty, the fields below count.
	Kubeconfig string `yaml:"kubeconfig,omitempty"`
	// OwnKubeconfig is another such file, by which this node follows and
	// writes its own object, such as the kubelet's, which may write no other.
	// When empty, that is done with what all nodes are read with.
	OwnKubeconfig string `yaml:"ownKubeconfig,omitempty"`
	// Servers are the URLs of API servers, tried in turn.
	Servers []string `yaml:"servers,omitempty"`
	// CAFile, CertFile and KeyFile are PEM files, TokenFile a file with a
	// bearer token; all are read again when they change.
	CAFile    string `yaml:"caFile,omitempty"`
	CertFile  string `yaml:"certFile,omitempty"`
	KeyFile   string `yaml:"keyFile,omitempty"`
	TokenFile string `yaml:"tokenFile,omitempty"`
	// Node is the name of this node's object; the hostname when empty.
	Node string `yaml:"node,omitempty"`
	// AnnotationPrefix is what annotations begin with;
	// flannel.alpha.coreos.com when empty.
	AnnotationPrefix string `yaml:"annotationPrefix,omitempty"`
	// NetworkUnavailable makes netd say on the node object when the network
	// is up; true when nil.
	NetworkUnavailable *bool `yaml:"networkUnavailable,omitempty"`
}

// Underlay chooses the devices that carry the network. The ways are tried in
// this order, as flannel does, and the first that finds a device counts:
// interfaces, interfacesRegex, canReach, subnet. Only without any it is the
// device of the default route. What is of the other family than the one to be
// carried finds the device too, which then needs an address of the family.
type Underlay struct {
	UnderlayChoice `yaml:",inline"`
	// IPv4 and IPv6 choose for one family; what is above counts for a family
	// without.
	IPv4 *UnderlayChoice `yaml:"ipv4,omitempty"`
	IPv6 *UnderlayChoice `yaml:"ipv6,omitempty"`
}

// UnderlayChoice are ways to choose a device.
type UnderlayChoice struct {
	// Interfaces are names or addresses of devices; the first there is.
	Interfaces []string `yaml:"interfaces,omitempty"`
	// InterfacesRegex are expressions (RE2) that match an address or the name
	// of a device; the first that matches one.
	InterfacesRegex []string `yaml:"interfacesRegex,omitempty"`
	// CanReach is an address; the device the route to it leaves by.
	CanReach []netip.Addr `yaml:"canReach,omitempty"`
	// Subnet holds the address; the first device that has one in it.
	Subnet []netip.Prefix `yaml:"subnet,omitempty"`
}

// The packet filters of netd, by the names of [Firewall.Mode].
const (
	FirewallNFTables = "nftables"
	FirewallIPTables = "iptables"
)

// Firewall is the packet filter of a node.
type Firewall struct {
	// Mode is nftables or iptables; nftables when empty. Iptables is for
	// nodes whose other parts use it, and needs its programs.
	Mode string `yaml:"mode,omitempty"`
	// ForwardRules lets pod traffic through the forward chain whatever its
	// policy; true when nil.
	ForwardRules *bool `yaml:"forwardRules,omitempty"`
	// MSSClamp lowers the segment size of TCP connections through the tunnel
	// to what fits, for pods whose MTU is too large; false when nil.
	MSSClamp bool `yaml:"mssClamp,omitempty"`
	// RandomFully draws the ports of masqueraded connections from all; true
	// when nil.
	RandomFully *bool `yaml:"randomFully,omitempty"`
}
