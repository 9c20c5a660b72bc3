package profiles

// kubernetesSymbols are parts of the kernel that every Kubernetes asks for
// (k3s contrib/util/check-config.sh, "Generally Necessary").
var kubernetesSymbols = []SymbolNeed{
	{Any: []string{"CONFIG_NAMESPACES"}, Reason: "containers are made of namespaces"},
	{Any: []string{"CONFIG_NET_NS"}, Reason: "every pod has a network of its own"},
	{Any: []string{"CONFIG_PID_NS"}, Reason: "a container sees its own processes only"},
	{Any: []string{"CONFIG_IPC_NS"}, Reason: "pods do not share memory segments"},
	{Any: []string{"CONFIG_UTS_NS"}, Reason: "every pod has a hostname of its own"},
	{Any: []string{"CONFIG_CGROUPS"}, Reason: "kubelet measures and bounds pods by cgroups"},
	{Any: []string{"CONFIG_CGROUP_PIDS"}, Reason: "the agent ends without the controller pids"},
	{Any: []string{"CONFIG_CGROUP_CPUACCT", "CONFIG_CGROUP_SCHED"}, Reason: "kubelet reads the CPU time of pods"},
	{Any: []string{"CONFIG_CGROUP_DEVICE", "CONFIG_CGROUP_BPF"}, Reason: "containers reach only the devices they may"},
	{Any: []string{"CONFIG_CGROUP_FREEZER"}, Reason: "containers are paused while they are ended"},
	{Any: []string{"CONFIG_CGROUP_SCHED"}, Reason: "the agent ends without the controller cpu"},
	{Any: []string{"CONFIG_CFS_BANDWIDTH"}, Reason: "CPU limits of pods hold"},
	{Any: []string{"CONFIG_CPUSETS"}, Reason: "the agent ends without the controller cpuset"},
	{Any: []string{"CONFIG_MEMCG"}, Reason: "the agent ends without the controller memory"},
	{Any: []string{"CONFIG_SECCOMP"}, Reason: "the default profile of containers forbids system calls"},
	{Any: []string{"CONFIG_KEYS"}, Reason: "containers have key rings of their own"},
	{Any: []string{"CONFIG_POSIX_MQUEUE"}, Reason: "/dev/mqueue of pods"},
}

// kubernetesNeeds adds what K3s and RKE2 need whatever their network plugin
// is.
func kubernetesNeeds(k Kubernetes, c *collector) {
	const path = "kubernetes.distribution"
	n := c.profile.Network
	if n.HasIPv6() {
		c.add("ipv6", "CONFIG_IPV6", "network.pods", "pods have IPv6 addresses")
	}
	c.add("overlay", "CONFIG_OVERLAY_FS", path, "containers' file systems are layers over one another")
	c.add("veth", "CONFIG_VETH", path, "a pod is attached to the node by a veth pair")
	c.add("bridge", "CONFIG_BRIDGE", path, "pods are attached to a bridge")
	c.add("br_netfilter", "CONFIG_BRIDGE_NETFILTER", path, "services reached within a node pass kube-proxy's rules")
	c.add("nf_conntrack", "CONFIG_NF_CONNTRACK", path, "services follow connections")
	c.add("nf_conntrack_netlink", "CONFIG_NF_CT_NETLINK", path, "kube-proxy forgets the connections of ended pods")
	if !isOff(k.KubeProxy) {
		serviceRules(k, c)
	}
	if k.policies() {
		const path = "kubernetes.networkPolicy"
		c.add("ip_set", "CONFIG_IP_SET", path, "without it K3s enforces no network policy and only warns")
		c.add("ip_set_hash_ip", "CONFIG_IP_SET_HASH_IP", path, "the pods of a policy are a set of addresses")
		c.add("ip_set_hash_net", "CONFIG_IP_SET_HASH_NET", path, "the ranges of a policy are a set of prefixes")
		c.add("xt_set", "CONFIG_NETFILTER_XT_SET", path, "rules look addresses up in sets")
		c.add("xt_NFLOG", "CONFIG_NETFILTER_XT_TARGET_NFLOG", path, "packets that a policy drops are logged")
		c.add("xt_limit", "CONFIG_NETFILTER_XT_MATCH_LIMIT", path, "not all of them are")
	}
	for _, s := range kubernetesSymbols {
		s.Path = path
		c.symbols = append(c.symbols, s)
	}
	kubernetesFiles(k, c)
}

// serviceRules adds what the rules of kube-proxy and of host ports use (k3s
// contrib/util/check-config.sh; kubernetes pkg/proxy/iptables).
func serviceRules(k Kubernetes, c *collector) {
	const path = "kubernetes.kubeProxy"
	n := c.profile.Network
	c.iptables(path, n.HasIPv4(), n.HasIPv6())
	c.masquerade(path, "pods that reach themselves by a service take the node's address")
	for _, m := range []ModuleNeed{
		{Name: "xt_addrtype", Config: "CONFIG_NETFILTER_XT_MATCH_ADDRTYPE", Reason: "node ports are found by the kind of address"},
		{Name: "xt_comment", Config: "CONFIG_NETFILTER_XT_MATCH_COMMENT", Reason: "every rule names its service"},
		{Name: "xt_conntrack", Config: "CONFIG_NETFILTER_XT_MATCH_CONNTRACK", Reason: "answers are let through by the state of their connection"},
		{Name: "xt_mark", Config: "CONFIG_NETFILTER_XT_MARK", Reason: "what is to be masqueraded bears a mark"},
		{Name: "xt_multiport", Config: "CONFIG_NETFILTER_XT_MATCH_MULTIPORT", Reason: "host ports are several ports in a rule"},
		{Name: "xt_statistic", Config: "CONFIG_NETFILTER_XT_MATCH_STATISTIC", Reason: "connections are spread over the pods of a service"},
		{Name: "xt_nat", Config: "CONFIG_NETFILTER_XT_NAT", Reason: "service addresses become pod addresses"},
		{Name: "xt_tcpudp", Config: "CONFIG_NETFILTER_XTABLES", Reason: "services are told apart by ports"},
	} {
		m.Path = path
		c.module(m)
	}
	if n.HasIPv4() {
		c.either("ipt_REJECT", "CONFIG_IP_NF_TARGET_REJECT", path, "services without pods refuse at once",
			Alternative{Name: "nft_reject_ipv4", Config: "CONFIG_NFT_REJECT_IPV4"})
	}
	if n.HasIPv6() {
		c.either("ip6t_REJECT", "CONFIG_IP6_NF_TARGET_REJECT", path, "services without pods refuse at once",
			Alternative{Name: "nft_reject_ipv6", Config: "CONFIG_NFT_REJECT_IPV6"})
	}
	if mode := k.proxyMode(); mode == "ipvs" {
		c.add("ip_vs", "CONFIG_IP_VS", path, "kube-proxy is in mode ipvs")
		c.add("ip_vs_rr", "CONFIG_IP_VS_RR", path, "its usual scheduler is round robin")
		c.add("xt_ipvs", "CONFIG_NETFILTER_XT_MATCH_IPVS", path, "rules know connections of ipvs")
		c.add("ip_set", "CONFIG_IP_SET", path, "mode ipvs keeps addresses in sets")
	}
}

// kubernetesSysctls are the settings that kubelet makes itself, or with
// protect-kernel-defaults demands to find (kubernetes
// pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables; rke2
// pkg/cli/cmds/profile_linux.go).
func kubernetesSysctls(p Profile) []SysctlNeed {
	if !p.Kubernetes.On() {
		return nil
	}
	const path = "kubernetes.distribution"
	need := []SysctlNeed{
		{Name: "vm.overcommit_memory", Value: "1", Reason: "kubelet demands it: pods get memory when they use it"},
		{Name: "vm.panic_on_oom", Value: "0", Reason: "kubelet demands it: a pod without memory ends, not the node"},
		{Name: "kernel.panic", Value: "10", Reason: "kubelet demands it: a node that panics comes back"},
		{Name: "kernel.panic_on_oops", Value: "1", Reason: "kubelet demands it: a damaged kernel does not go on"},
		{Name: "kernel.keys.root_maxkeys", Value: "1000000", Reason: "every container has a key ring"},
		{Name: "kernel.keys.root_maxbytes", Value: "25000000", Reason: "every container has a key ring"},
		{Name: "vm.max_map_count", Value: "262144", Reason: "databases in pods map many files"},
	}
	switch plugin := p.Kubernetes.Plugin(); plugin {
	case "cilium", "calico":
		// Strict filtering drops answers that come back by another device.
		need = append(need, SysctlNeed{Name: "net.ipv4.conf.all.rp_filter", Value: "0",
			Reason: plugin + " sends answers another way than the packets came"})
	}
	for i := range need {
		need[i].Path = path
	}
	return need
}

// isOff tells whether a switch is off, not only left out.
func isOff(b *bool) bool { return b != nil && !*b }
