package profiles

import "time"

// The backends of netd, by the names of [Backend.Type].
const (
	// BackendVXLAN carries Ethernet over UDP.
	BackendVXLAN = "vxlan"
	// BackendHostGW routes to the peers' addresses, without a tunnel; all
	// nodes are on one link.
	BackendHostGW = "host-gw"
	// BackendWireGuard encrypts. BackendWireGuardNative is K3s's name for it.
	BackendWireGuard       = "wireguard"
	BackendWireGuardNative = "wireguard-native"
	// BackendIPsec encrypts with the kernel's XFRM and strongSwan's charon. It
	// is legacy: IPv4 only, and nothing but old networks needs it.
	BackendIPsec = "ipsec"
	// BackendNone leaves the paths between nodes to somebody else.
	BackendNone = "none"
)

// The modes of a WireGuard backend, by the names of [Backend.Mode].
const (
	// ModeSeparate has a device for each family, which carries the pods of
	// the family over an underlay of the same family.
	ModeSeparate = "separate"
	// ModeAuto has one device for both families of pods; the underlay is IPv4
	// unless a peer's IPv4 address is private and both have public IPv6 ones.
	ModeAuto = "auto"
	// ModeIPv4 and ModeIPv6 have one device for both families of pods over an
	// underlay of the one family.
	ModeIPv4 = "ipv4"
	ModeIPv6 = "ipv6"
)

// Backend is how pods on two nodes reach each other. Names and defaults are
// flannel's, spelled in lower camel case.
type Backend struct {
	// Type is vxlan, host-gw, wireguard (also written wireguard-native),
	// ipsec (legacy) or none.
	Type string `yaml:"type"`

	// VNI is the VXLAN network identifier, 1..16777215; 1 when zero. For
	// vxlan.
	VNI int `yaml:"vni,omitempty"`
	// Port is the UDP port of the VXLAN tunnel; 8472 when zero.
	Port int `yaml:"port,omitempty"`
	// MTU is the MTU of the tunnel device; derived from the underlay when 0.
	MTU int `yaml:"mtu,omitempty"`
	// DirectRouting sends to peers on the same link without a VXLAN tunnel.
	DirectRouting bool `yaml:"directRouting,omitempty"`
	// Learning lets the VXLAN device learn forwarding entries from traffic.
	Learning bool `yaml:"learning,omitempty"`
	// GBP turns on the group-based policy extension of VXLAN.
	GBP bool `yaml:"gbp,omitempty"`
	// ChecksumOffload false turns transmit checksum offload off on the VXLAN
	// device, for NICs that get it wrong; true when nil.
	ChecksumOffload *bool `yaml:"checksumOffload,omitempty"`

	// Mode is separate, auto, ipv4 or ipv6; separate when empty. For
	// wireguard, like the keys below.
	Mode string `yaml:"mode,omitempty"`
	// ListenPort and ListenPortV6 are UDP ports; 51820 and 51821 when zero.
	// The second is that of the IPv6 device in mode separate.
	ListenPort   int `yaml:"listenPort,omitempty"`
	ListenPortV6 int `yaml:"listenPortV6,omitempty"`
	// Keepalive is how often a packet is sent to a silent peer, which keeps
	// NATs on the way open, in seconds; 0 is never. Flannel calls it
	// PersistentKeepaliveInterval.
	Keepalive int `yaml:"keepalive,omitempty"`
	// RotateEvery is how old the node's key gets before netd replaces it,
	// such as 720h; never when zero. Nodes take turns in the last tenth of it.
	// It needs a store that nodes publish in.
	RotateEvery time.Duration `yaml:"rotateEvery,omitempty"`

	// PSKFile is a file with the pre-shared key all nodes have: base64 of 32
	// bytes for wireguard, where it is optional; at least 96 characters for
	// ipsec, which needs it.
	PSKFile string `yaml:"pskFile,omitempty"`

	// UDPEncapsulation sends ESP in UDP even where no NAT is seen. For ipsec.
	UDPEncapsulation bool `yaml:"udpEncapsulation,omitempty"`
	// ESPProposal is what ESP packets are protected with, as strongSwan
	// spells it; aes128gcm16-sha256-prfsha256-ecp256 when empty.
	ESPProposal string `yaml:"espProposal,omitempty"`
}

// Canonical is the type under its one name: wireguard-native is wireguard.
func (b Backend) Canonical() string {
	if b.Type == BackendWireGuardNative {
		return BackendWireGuard
	}
	return b.Type
}
