package profiles

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weft/document"
)

// ContractFor works out what a profile needs of the kernel that runs it. It
// touches nothing but its argument.
//
// The modules come in an order in which they can be loaded one after another;
// their own dependencies are not listed. The sysctls come in the order they
// must be written, after the modules are loaded: those of bridges exist only
// then. Per-interface accept_ra is not here, because only init knows the
// uplinks: it sets UPLINK.accept_ra=2 before it writes these, and again on
// each uplink that appears later.
func ContractFor(p Profile) Contract {
	c := collector{profile: p}
	if p.NetdOn() || !p.Kubernetes.On() {
		netdModules(p, &c)
	}
	if p.Kubernetes.On() {
		kubernetesNeeds(p.Kubernetes, &c)
		pluginNeeds(p, &c)
	}
	linkModules(p, &c)
	packageFiles(p, &c)
	serviceFiles(p, &c)
	for i, m := range p.Modules {
		name, options, _ := strings.Cut(m, " ")
		c.module(ModuleNeed{Name: strings.ReplaceAll(name, "-", "_"), Options: options, Path: document.Index("modules", i), Reason: "the profile asks for it"})
	}
	return Contract{Modules: c.modules, Sysctls: sysctlsFor(p), Symbols: c.symbols, Files: c.files}
}

// A collector gathers the needs of a profile, each feature once: the first
// reason counts.
type collector struct {
	profile Profile
	modules []ModuleNeed
	symbols []SymbolNeed
	files   []FileNeed
}

// module adds a kernel feature. One that was optional and is needed after all
// is needed.
func (c *collector) module(n ModuleNeed) {
	i := slices.IndexFunc(c.modules, func(m ModuleNeed) bool { return m.Name == n.Name })
	switch {
	case i < 0 || n.Config == "":
		// What the profile lists itself stays, so that its line is checked.
		c.modules = append(c.modules, n)
	case c.modules[i].Optional && !n.Optional:
		c.modules[i] = n
	}
}

// add adds a module that is needed.
func (c *collector) add(name, config, path, reason string) {
	c.module(ModuleNeed{Name: name, Config: config, Path: path, Reason: reason})
}

// either adds a module for which an older or newer one serves too.
func (c *collector) either(name, config, path, reason string, others ...Alternative) {
	c.module(ModuleNeed{Name: name, Config: config, Any: others, Path: path, Reason: reason})
}

// perhaps adds a module that is used where it is.
func (c *collector) perhaps(name, config, path, reason string) {
	c.module(ModuleNeed{Name: name, Config: config, Optional: true, Path: path, Reason: reason})
}

// symbol adds a part of the kernel, by one of some symbols.
func (c *collector) symbol(path, reason string, any ...string) {
	c.symbols = append(c.symbols, SymbolNeed{Any: any, Path: path, Reason: reason})
}

// file adds a program or file.
func (c *collector) file(n FileNeed) {
	if !slices.ContainsFunc(c.files, func(o FileNeed) bool { return o.File == n.File }) {
		c.files = append(c.files, n)
	}
}

// netdModules lists what netd's backend, its firewall, the CNI bridge and the
// probe need.
func netdModules(p Profile, c *collector) {
	add := c.add
	if p.Network.HasIPv6() {
		add("ipv6", "CONFIG_IPV6", "network.pods", "pods have IPv6 addresses")
	}
	if t := p.Network.Backend.Type; t == "" || t == BackendVXLAN {
		add("vxlan", "CONFIG_VXLAN", "network.backend.type", "packets between nodes travel in VXLAN tunnels")
	}
	if p.Network.Backend.Canonical() == BackendWireGuard {
		add("wireguard", "CONFIG_WIREGUARD", "network.backend.type", "packets between nodes are encrypted")
		const reason = "while a key is replaced, packets take a second device by a routing table of its own"
		c.symbol("network.backend.type", reason, "CONFIG_IP_MULTIPLE_TABLES")
		if p.Network.HasIPv6() {
			c.symbol("network.backend.type", reason, "CONFIG_IPV6_MULTIPLE_TABLES")
		}
	}
	if p.Network.Backend.Type == BackendIPsec {
		ipsecModules(p.Network.Backend, add)
	}
	add("bridge", "CONFIG_BRIDGE", "network.pods", "the pods of a node are attached to a bridge")
	add("veth", "CONFIG_VETH", "network.pods", "a pod is attached to the bridge by a veth pair")
	add("br_netfilter", "CONFIG_BRIDGE_NETFILTER", "network.pods",
		"bridged packets between pods must pass the firewall, or services do not work within a node")
	add("nf_conntrack", "CONFIG_NF_CONNTRACK", "network.masquerade", "masquerading follows connections")
	if p.Network.Firewall.Mode == FirewallIPTables {
		firewallModules(p.Network, c)
		return
	}
	add("nf_tables", "CONFIG_NF_TABLES", "network.masquerade", "the masquerade and forward rules are nftables rules")
	add("nft_chain_nat", "CONFIG_NFT_NAT", "network.masquerade", "the masquerade rules are in a NAT chain")
	add("nft_masq", "CONFIG_NFT_MASQ", "network.masquerade", "pods that leave the network take the node's address")
}

// sysctlsFor lists the settings in the order they must be written.
func sysctlsFor(p Profile) []SysctlNeed {
	const pods = "network.pods"
	need := []SysctlNeed{{
		// Interfaces made later, bridges and pod devices among them, copy
		// this. With 1 or 2 there, a pod that sends a router advertisement
		// takes over the node's default route; measured on Linux 6.18.
		Name: "net.ipv6.conf.default.accept_ra", Value: "0", Path: pods,
		Reason: "a pod could take over the node's default route",
	}}
	add := func(name, value, reason string) {
		need = append(need, SysctlNeed{Name: name, Value: value, Path: pods, Reason: reason})
	}
	if p.Network.HasIPv4() {
		// First of all IPv4 settings: its change resets the others to their
		// defaults (Documentation/networking/ip-sysctl.rst, ip_forward).
		add("net.ipv4.ip_forward", "1", "the node routes its pods' IPv4 packets")
	}
	if p.Network.HasIPv6() {
		// After accept_ra: the kernel drops learned routes the moment
		// forwarding starts on an interface whose accept_ra is not 2
		// (net/ipv6/addrconf.c, addrconf_fixup_forwarding).
		add("net.ipv6.conf.default.forwarding", "1", "devices of pods that come later route IPv6")
		add("net.ipv6.conf.all.forwarding", "1", "the node routes its pods' IPv6 packets")
	}
	if p.Network.HasIPv4() {
		add("net.bridge.bridge-nf-call-iptables", "1", "bridged IPv4 packets pass the firewall")
	}
	if p.Network.HasIPv6() {
		add("net.bridge.bridge-nf-call-ip6tables", "1", "bridged IPv6 packets pass the firewall")
	}
	// The kernel's 128 instances are used up by some thirty pods that watch
	// files; the values are those RKE2's documentation gives.
	add("fs.inotify.max_user_instances", "8192", "programs in many pods watch files")
	add("fs.inotify.max_user_watches", "524288", "programs in many pods watch files")
	need = append(need, kubernetesSysctls(p)...)
	return withOwnSysctls(need, p.Sysctls)
}

// withOwnSysctls lays the profile's sysctls over weft's: a value for a name
// that is there replaces it in its place, the others follow by name.
func withOwnSysctls(need []SysctlNeed, own map[string]string) []SysctlNeed {
	for _, name := range slices.Sorted(maps.Keys(own)) {
		n := SysctlNeed{Name: name, Value: own[name], Path: document.Key("sysctls", name), Reason: "the profile asks for it"}
		i := slices.IndexFunc(need, func(s SysctlNeed) bool { return s.Name == name })
		if i < 0 {
			need = append(need, n)
			continue
		}
		n.Reason = fmt.Sprintf("the profile asks for it instead of %s", need[i].Value)
		need[i] = n
	}
	return need
}
