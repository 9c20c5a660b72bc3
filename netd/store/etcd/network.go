package etcd

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"weft/profiles"
)

// maxConfig limits the network configuration; flannel's take 300 bytes.
const maxConfig = 64 << 10

// NetworkError is a network configuration in etcd that this node cannot
// follow.
type NetworkError struct {
	// Key is where it is.
	Key string
	// Reason says what is wrong with it.
	Reason string
}

func (e *NetworkError) Error() string {
	return e.Key + ": " + e.Reason + "; fix: make the profile and the network configuration in etcd say the same"
}

// networkConfig is flannel's (pkg/subnet/config.go). Names are read in any
// case.
type networkConfig struct {
	EnableIPv4    *bool           `json:",omitempty"`
	EnableIPv6    bool            `json:",omitempty"`
	Network       string          `json:",omitempty"`
	SubnetLen     int             `json:",omitempty"`
	SubnetMin     string          `json:",omitempty"`
	SubnetMax     string          `json:",omitempty"`
	IPv6Network   string          `json:",omitempty"`
	IPv6SubnetLen int             `json:",omitempty"`
	IPv6SubnetMin string          `json:",omitempty"`
	IPv6SubnetMax string          `json:",omitempty"`
	Backend       json.RawMessage `json:",omitempty"`
}

// pools are what subnets are chosen from, by family; nil for a family the
// network does not have.
type pools struct{ v4, v6 *pool }

// own are the pools of the profile.
func own(n profiles.Network, s profiles.EtcdStore) (pools, error) {
	var all pools
	for _, pods := range n.Pods {
		length, at := n.SubnetLength.IPv4, &all.v4
		if pods.Addr().Is6() {
			length, at = n.SubnetLength.IPv6, &all.v6
		}
		p, err := newPool(pods, length, bound(s.SubnetMin, pods), bound(s.SubnetMax, pods))
		if err != nil {
			return pools{}, err
		}
		*at = &p
	}
	return all, nil
}

// bound is the bound of the family of pods.
func bound(bounds []netip.Addr, pods netip.Prefix) netip.Addr {
	for _, b := range bounds {
		if b.Is4() == pods.Addr().Is4() {
			return b
		}
	}
	return netip.Addr{}
}

// parseNetwork reads the network configuration of etcd. Its networks must be
// those of mine; lengths and bounds count for all nodes and are taken from
// it. The backend is every node's own matter, so that it can be changed node
// by node.
func parseNetwork(text string, mine pools) (pools, error) {
	if len(text) > maxConfig {
		return pools{}, fmt.Errorf("%d bytes, the limit is %d", len(text), maxConfig)
	}
	var c networkConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return pools{}, fmt.Errorf("no network configuration: %w", err)
	}
	ipv4 := c.EnableIPv4 == nil || *c.EnableIPv4
	v4, err := c.family("Network", ipv4, mine.v4, c.Network, c.SubnetLen, c.SubnetMin, c.SubnetMax)
	if err != nil {
		return pools{}, err
	}
	v6, err := c.family("IPv6Network", c.EnableIPv6, mine.v6, c.IPv6Network, c.IPv6SubnetLen, c.IPv6SubnetMin, c.IPv6SubnetMax)
	return pools{v4, v6}, err
}

// family reads one family.
func (networkConfig) family(name string, on bool, mine *pool, network string, length int, low, high string) (*pool, error) {
	switch {
	case on && mine == nil:
		return nil, fmt.Errorf("%s is %s; the profile has no network of this family", name, network)
	case !on && mine != nil:
		return nil, fmt.Errorf("%s is off; the profile has %s", name, mine.network)
	case !on:
		return nil, nil
	}
	p, err := netip.ParsePrefix(network)
	if err != nil {
		return nil, fmt.Errorf("%s %q is no network", name, network)
	}
	if p = p.Masked(); p != mine.network {
		return nil, fmt.Errorf("%s is %s; the profile has %s", name, p, mine.network)
	}
	var bounds [2]netip.Addr
	for i, text := range []string{low, high} {
		if text == "" {
			continue
		}
		if bounds[i], err = netip.ParseAddr(text); err != nil {
			return nil, fmt.Errorf("bound %q of %s is no address", text, name)
		}
	}
	if length == 0 {
		length = defaultLength(p)
	}
	made, err := newPool(p, length, bounds[0], bounds[1])
	return &made, err
}

// defaultLength is flannel's (pkg/subnet/config.go, CheckNetworkConfig).
func defaultLength(p netip.Prefix) int {
	usual := 24
	if p.Addr().Is6() {
		usual = 64
	}
	if p.Bits()+2 <= usual {
		return usual
	}
	return p.Bits() + 2
}

// encodeNetwork is the network configuration of the profile for the first
// node to write, so that flanneld can join. It holds no secret: a pre-shared
// key is for the operator to add.
func encodeNetwork(p pools, b profiles.Backend) (string, error) {
	backend, err := encodeBackend(b)
	if err != nil {
		return "", err
	}
	c := networkConfig{Backend: backend}
	if p.v4 != nil {
		c.Network, c.SubnetLen = p.v4.network.String(), p.v4.length
		c.SubnetMin, c.SubnetMax = p.v4.bounds()
	} else {
		off := false
		c.EnableIPv4 = &off
	}
	if p.v6 != nil {
		c.EnableIPv6, c.IPv6Network, c.IPv6SubnetLen = true, p.v6.network.String(), p.v6.length
		c.IPv6SubnetMin, c.IPv6SubnetMax = p.v6.bounds()
	}
	data, err := json.Marshal(c)
	return string(data), err
}

// encodeBackend writes the backend's options under flannel's names.
func encodeBackend(b profiles.Backend) (json.RawMessage, error) {
	type options struct {
		Type                        string
		VNI                         int    `json:",omitempty"`
		Port                        int    `json:",omitempty"`
		MTU                         int    `json:",omitempty"`
		GBP                         bool   `json:",omitempty"`
		Learning                    bool   `json:",omitempty"`
		DirectRouting               bool   `json:",omitempty"`
		ListenPort                  int    `json:",omitempty"`
		ListenPortV6                int    `json:",omitempty"`
		PersistentKeepaliveInterval int    `json:",omitempty"`
		Mode                        string `json:",omitempty"`
		UDPEncap                    bool   `json:",omitempty"`
		ESPProposal                 string `json:",omitempty"`
	}
	o := options{Type: strings.ToLower(b.Canonical())}
	switch o.Type {
	case profiles.BackendVXLAN:
		o.VNI, o.Port, o.MTU, o.GBP, o.Learning, o.DirectRouting = b.VNI, b.Port, b.MTU, b.GBP, b.Learning, b.DirectRouting
	case profiles.BackendWireGuard:
		o.ListenPort, o.ListenPortV6, o.MTU, o.PersistentKeepaliveInterval, o.Mode =
			b.ListenPort, b.ListenPortV6, b.MTU, b.Keepalive, b.Mode
	case profiles.BackendIPsec:
		o.UDPEncap, o.ESPProposal = b.UDPEncapsulation, b.ESPProposal
	case profiles.BackendNone:
		o.Type = "alloc" // flannel's name for leases without paths
	}
	return json.Marshal(o)
}
