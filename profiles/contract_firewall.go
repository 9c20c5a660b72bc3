package profiles

// firewallModules adds what rules written by the program iptables need. It
// speaks to nftables, through the extensions of iptables; on a kernel without
// nftables its older twin and the modules of that serve.
func firewallModules(n Network, c *collector) {
	const path = "network.firewall.mode"
	c.iptables(path, n.HasIPv4(), n.HasIPv6())
	c.add("xt_comment", "CONFIG_NETFILTER_XT_MATCH_COMMENT", path, "the rules carry flannel's comments")
	c.add("xt_mark", "CONFIG_NETFILTER_XT_MARK", path, "what kube-proxy has marked is left alone")
	c.masquerade(path, "pods that leave the network take the node's address")
	if n.Firewall.MSSClamp {
		c.add("xt_tcpudp", "CONFIG_NETFILTER_XTABLES", "network.firewall.mssClamp", "the clamp looks for packets that open a TCP connection")
		c.add("xt_TCPMSS", "CONFIG_NETFILTER_XT_TARGET_TCPMSS", "network.firewall.mssClamp", "TCP segments are made to fit the tunnel")
	}
}

// iptables adds the tables that the programs iptables and ip6tables fill: of
// nftables, or of the older family where a kernel has only that.
func (c *collector) iptables(path string, ipv4, ipv6 bool) {
	older := func(four, four4, six, six6 string) Alternative {
		switch {
		case ipv4 && ipv6:
			return Alternative{Name: four, Config: four4, With: []string{six}}
		case ipv6:
			return Alternative{Name: six, Config: six6}
		}
		return Alternative{Name: four, Config: four4}
	}
	c.either("nf_tables", "CONFIG_NF_TABLES", path, "the tables that iptables fills are nftables tables",
		older("ip_tables", "CONFIG_IP_NF_IPTABLES", "ip6_tables", "CONFIG_IP6_NF_IPTABLES"))
	c.either("nft_compat", "CONFIG_NFT_COMPAT", path, "iptables speaks to nftables",
		older("iptable_filter", "CONFIG_IP_NF_FILTER", "ip6table_filter", "CONFIG_IP6_NF_FILTER"))
	c.either("nft_chain_nat", "CONFIG_NFT_NAT", path, "addresses are translated",
		older("iptable_nat", "CONFIG_IP_NF_NAT", "ip6table_nat", "CONFIG_IP6_NF_NAT"))
}

// masquerade adds the target MASQUERADE. Kernels before 5.2 had one for each
// family (net/netfilter/Kconfig).
func (c *collector) masquerade(path, reason string) {
	c.either("xt_MASQUERADE", "CONFIG_NETFILTER_XT_TARGET_MASQUERADE", path, reason,
		Alternative{Name: "ipt_MASQUERADE", Config: "CONFIG_IP_NF_TARGET_MASQUERADE"})
}
