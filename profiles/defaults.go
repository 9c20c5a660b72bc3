package profiles

import (
	"cmp"
	"net/netip"
)

// Defaults of a network, flannel's (pkg/backend/vxlan/vxlan.go, main.go).
const (
	// DefaultVNI is flannel's VXLAN network identifier.
	DefaultVNI = 1
	// DefaultPort is the UDP port that Linux used before IANA assigned 4789;
	// flannel and K3s keep it.
	DefaultPort = 8472
	// DefaultListenPort and DefaultListenPortV6 are WireGuard's ports in
	// flannel (pkg/backend/wireguard).
	DefaultListenPort   = 51820
	DefaultListenPortV6 = 51821
	// DefaultESPProposal is flannel's (pkg/backend/ipsec).
	DefaultESPProposal = "aes128gcm16-sha256-prfsha256-ecp256"
	// DefaultPSKFile is where init puts the pre-shared key of the node file.
	DefaultPSKFile = "/data/weft/netd/psk"
	// DefaultHostnamePrefix stands before names derived from hardware.
	DefaultHostnamePrefix = "node"
	// DefaultListen is where netd's status server listens on loopback.
	DefaultListen = "127.0.0.1:8285"
)

// Backends lists the backends netd has.
var Backends = []string{BackendVXLAN, BackendHostGW, BackendWireGuard, BackendWireGuardNative, BackendIPsec, BackendNone}

// WithDefaults returns the profile with every default filled in. The profile
// itself stays as it is; the two share no memory that either writes to.
func (p Profile) WithDefaults() Profile {
	p.Network = p.network().WithDefaults()
	if p.Hostname.Prefix == "" {
		p.Hostname.Prefix = DefaultHostnamePrefix
	}
	p.Hostname.DHCP = orDefault(p.Hostname.DHCP, true)
	p.Links = withLinkDefaults(p.Links)
	return p
}

// WithDefaults returns the network with every default filled in, except the
// MTU of the tunnel, which depends on the underlay of each node.
func (n Network) WithDefaults() Network {
	for _, pods := range n.Pods {
		switch {
		case !pods.IsValid():
		case pods.Addr().Is4() && n.SubnetLength.IPv4 == 0:
			n.SubnetLength.IPv4 = defaultLength(pods, 24)
		case pods.Addr().Is6() && n.SubnetLength.IPv6 == 0:
			n.SubnetLength.IPv6 = defaultLength(pods, 64)
		}
	}
	if n.Backend.Type == "" {
		n.Backend.Type = BackendVXLAN
	}
	n.Backend = n.Backend.withDefaults()
	if n.Store.Type == "" {
		n.Store.Type = StoreStatic
	}
	if n.Firewall.Mode == "" {
		n.Firewall.Mode = FirewallNFTables
	}
	n.Firewall.ForwardRules = orDefault(n.Firewall.ForwardRules, true)
	n.Firewall.RandomFully = orDefault(n.Firewall.RandomFully, true)
	n.Masquerade.IPv4 = orDefault(n.Masquerade.IPv4, n.HasIPv4())
	n.Masquerade.IPv6 = orDefault(n.Masquerade.IPv6, false)
	n.Peers = withPeerDefaults(n.Peers)
	return n
}

// withDefaults fills in what the backend's type has and the file leaves out.
func (b Backend) withDefaults() Backend {
	switch b.Canonical() {
	case BackendVXLAN:
		b.VNI = cmp.Or(b.VNI, DefaultVNI)
		b.Port = cmp.Or(b.Port, DefaultPort)
		b.ChecksumOffload = orDefault(b.ChecksumOffload, true)
	case BackendWireGuard:
		b.Mode = cmp.Or(b.Mode, ModeSeparate)
		b.ListenPort = cmp.Or(b.ListenPort, DefaultListenPort)
		b.ListenPortV6 = cmp.Or(b.ListenPortV6, DefaultListenPortV6)
	case BackendIPsec:
		b.ESPProposal = cmp.Or(b.ESPProposal, DefaultESPProposal)
		b.PSKFile = cmp.Or(b.PSKFile, DefaultPSKFile)
	}
	return b
}

// defaultLength returns the usual length of a node's subnet, or the longest
// range that leaves four subnets when the network is too small for it; as
// flannel (pkg/subnet/config.go, CheckNetworkConfig).
func defaultLength(pods netip.Prefix, usual int) int {
	if pods.Bits()+2 <= usual {
		return usual
	}
	return pods.Bits() + 2
}

// withPeerDefaults fills in the MACs of peers.
func withPeerDefaults(peers []Peer) []Peer {
	if len(peers) == 0 {
		return nil
	}
	all := make([]Peer, len(peers))
	for i, p := range peers {
		if p.MAC == "" {
			p.MAC = VTEPMAC(p.Name).String()
		}
		all[i] = p
	}
	return all
}

// withLinkDefaults fills in how links get their addresses.
func withLinkDefaults(links []Link) []Link {
	if len(links) == 0 {
		return nil
	}
	all := make([]Link, len(links))
	for i, l := range links {
		static := false
		for _, a := range l.Addresses {
			static = static || a.Addr().Is4()
		}
		l.DHCP4 = orDefault(l.DHCP4, !static)
		l.RouterAdvertisements = orDefault(l.RouterAdvertisements, true)
		all[i] = l
	}
	return all
}

// orDefault returns b, or a pointer to value when b is nil.
func orDefault(b *bool, value bool) *bool {
	if b != nil {
		return b
	}
	return &value
}
