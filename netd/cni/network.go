package cni

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// A Network is what the files tell of.
type Network struct {
	// Networks are the ranges of all pods and Subnets this node's part, at
	// most one of each family.
	Networks, Subnets []netip.Prefix
	// MTU is what pods may use, the smallest of all families.
	MTU int
	// Masquerade says that netd masquerades IPv4 or, in a network without
	// IPv4, IPv6.
	Masquerade bool
}

// SubnetEnv is the content of flannel's subnet.env (pkg/subnet/subnet.go,
// WriteSubnetFile): the subnet's address is its gateway, the first usable.
func SubnetEnv(n Network) []byte {
	var b strings.Builder
	for _, family := range []struct {
		ipv6   bool
		prefix string
	}{{false, "FLANNEL_"}, {true, "FLANNEL_IPV6_"}} {
		network, subnet := pick(n.Networks, family.ipv6), pick(n.Subnets, family.ipv6)
		if !network.IsValid() || !subnet.IsValid() {
			continue
		}
		fmt.Fprintf(&b, "%sNETWORK=%s\n%sSUBNET=%s\n", family.prefix, network,
			family.prefix, netip.PrefixFrom(Gateway(subnet), subnet.Bits()))
	}
	fmt.Fprintf(&b, "FLANNEL_MTU=%d\nFLANNEL_IPMASQ=%t\n", n.MTU, n.Masquerade)
	return []byte(b.String())
}

// pick is the prefix of a family, the zero prefix when there is none.
func pick(prefixes []netip.Prefix, ipv6 bool) netip.Prefix {
	for _, p := range prefixes {
		if p.Addr().Is6() == ipv6 {
			return p
		}
	}
	return netip.Prefix{}
}

// Gateway is the pods' gateway in a subnet: its first usable address. The
// address before it is the one of the tunnel device.
func Gateway(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

// ProbeAddress is the address of netd's probe pod in a subnet: the last one
// usable. IPv4 does not use the very last one, which is the broadcast
// address; in IPv6 every address is a host's.
func ProbeAddress(subnet netip.Prefix) netip.Addr {
	last := last(subnet)
	if last.Is4() {
		return last.Prev()
	}
	return last
}

// last is the very last address of a subnet.
func last(subnet netip.Prefix) netip.Addr {
	b := subnet.Masked().Addr().AsSlice()
	for i := subnet.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Bridge is the name of the bridge that pods hang on.
const Bridge = "cni0"

// Version is the CNI specification that the configuration list follows; 1.0.0
// is understood by containerd 1.6, CRI-O 1.24 and all later ones.
const Version = "1.0.0"

// Conflist is a CNI configuration list for this node's pods.
//
// It names the bridge plugin with host-local addresses, and portmap: the
// plugins every runtime's package of CNI plugins has. flannel's own plugin
// only turns subnet.env into just such a configuration for the bridge plugin;
// netd knows the values and writes them down itself, so a node needs no
// plugin of flannel's. The file is rewritten when a value changes.
//
// Neither plugin masquerades: netd's firewall rules do (package firewall).
func Conflist(n Network) ([]byte, error) {
	ipam := hostLocal{Type: "host-local"}
	for _, subnet := range n.Subnets {
		anywhere := "0.0.0.0/0"
		if subnet.Addr().Is6() {
			anywhere = "::/0"
		}
		ipam.Ranges = append(ipam.Ranges, []addressRange{{
			Subnet:  subnet.Masked().String(),
			Gateway: Gateway(subnet).String(),
			// The last address stays netd's own, for its probe pod.
			RangeEnd: ProbeAddress(subnet).Prev().String(),
		}})
		ipam.Routes = append(ipam.Routes, route{anywhere})
	}
	data, err := json.MarshalIndent(conflist{
		Version: Version,
		Name:    "weft",
		Plugins: []any{
			bridge{Type: "bridge", Bridge: Bridge, IsGateway: true, Hairpin: true, MTU: n.MTU, IPAM: ipam},
			portmap{Type: "portmap", Capabilities: map[string]bool{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("CNI configuration: %w", err)
	}
	return append(data, '\n'), nil
}

// The parts of a configuration list, as the CNI specification and the plugins'
// documentation name them.
type (
	conflist struct {
		Version string `json:"cniVersion"`
		Name    string `json:"name"`
		Plugins []any  `json:"plugins"`
	}
	bridge struct {
		Type      string    `json:"type"`
		Bridge    string    `json:"bridge"`
		IsGateway bool      `json:"isGateway"`
		Hairpin   bool      `json:"hairpinMode"`
		MTU       int       `json:"mtu"`
		IPAM      hostLocal `json:"ipam"`
	}
	hostLocal struct {
		Type   string           `json:"type"`
		Ranges [][]addressRange `json:"ranges"`
		Routes []route          `json:"routes"`
	}
	addressRange struct {
		Subnet   string `json:"subnet"`
		RangeEnd string `json:"rangeEnd"`
		Gateway  string `json:"gateway"`
	}
	route struct {
		Dst string `json:"dst"`
	}
	portmap struct {
		Type         string          `json:"type"`
		Capabilities map[string]bool `json:"capabilities"`
	}
)
