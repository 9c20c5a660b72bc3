package rules

import (
	"weft/document"
	"weft/profiles"
)

// formRules are the rules about the form of every file; package document
// checks them.
func formRules() []Rule {
	return []Rule{
		{ID: document.RuleText, Title: "a file is short UTF-8 text, indented with spaces", Source: "YAML 1.1, sections 4.2 and 5.1",
			Why: "YAML does not allow tabs in indentation, and other bytes mean something else to each program."},
		{ID: document.RuleSyntax, Title: "a file is YAML", Source: "YAML 1.1", Why: "What cannot be parsed says nothing."},
		{ID: document.RuleDocuments, Title: "a file holds exactly one document", Source: "YAML 1.1, section 9.2",
			Why: "Only the first would be read, and the rest silently left out."},
		{ID: document.RuleDuplicate, Title: "a key stands once in its mapping", Source: "YAML 1.1, section 3.2.1.3",
			Why: "Of two values one would be lost, and which depends on the parser."},
		{ID: document.RulePlain, Title: "anchors, aliases, merge keys and tags are not used", Source: "YAML 1.1; the parsers' differences",
			Why: "They make a value stand somewhere else than where it counts."},
		{ID: profiles.RuleOld, Level: document.Warning, Title: "a file says what it says in the newest format", Source: "weft's own format",
			Why:  "Older formats are read, each place that has another name now is told.",
			Bad:  Example{Profile: "weft: profile/v0\n"},
			Good: Example{Profile: "weft: profile/v1\n"}},
		{ID: profiles.RuleExtends, Title: "the file that another extends or names is there", Source: "weft's own format",
			Why:  "Half of the values would be missing.",
			Bad:  Example{Profile: "extends: no-such-profile\n"},
			Good: Example{Profile: "extends: vxlan\nnetwork:\n  backend: {type: none}\n  masquerade: {ipv4: true}\n"}},
	}
}

// ownRules are the rules about the node and netd; package profiles checks
// them.
func ownRules() []Rule {
	r := func(id, title, why, source string) Rule {
		return Rule{ID: id, Title: title, Why: why, Source: source}
	}
	w := func(id, title, why, source string) Rule {
		return Rule{ID: id, Title: title, Why: why, Source: source, Level: document.Warning}
	}
	// severe is a rule that is an error in one case and a warning in another.
	severe := func(x Rule, severity string) Rule { x.Severity = severity; return x }
	return []Rule{
		r("N1", "a file says which kind and format it is", "The same key means another thing in another kind of file.", "the file's own format"),
		r("N2", "a profile's name can be part of a file name", "Images are named after it.", "weft's own format"),
		r("N3", "a pod network has a range for pods", "Without one there is nothing to route.", "a pod network has pods"),
		r("N4", "ranges hold no addresses of special use", "Loopback, link-local and multicast addresses never leave a node as a pod's.", "RFC 6890"),
		r("N5", "a range leaves room for pods in each node's part", "A part of two addresses has none for pods.", "flannel pkg/subnet/config.go"),
		r("N6", "a subnet length has a range of its family", "It has no effect; whoever writes it believes the range is there.", "weft's own format"),
		r("N7", "a VXLAN network identifier is 1 to 16777215", "It has 24 bits.", "RFC 7348, section 5"),
		r("N8", "a port is 1 to 65535", "It has 16 bits.", "RFC 768"),
		r("N9", "the tunnel's MTU is one that IP can use", "Linux turns IPv6 off on a device of less than 1280.", "RFC 791, section 3.1; RFC 8200, section 5"),
		r("N10", "there is at most one address and one subnet of each family, and every family the network has", "A tunnel device has one address of its family.", "one tunnel device a family"),
		r("N11", "a node's subnet is a part of the network", "Only the pod ranges are routed.", "only the pod ranges are routed"),
		r("N12", "no two nodes have one subnet", "A pod address is on one node.", "a pod address is on one node"),
		r("N13", "a node's address is one that others can reach", "Loopback and link-local addresses lead elsewhere.", "RFC 6890"),
		r("N14", "a hardware address is a unicast one of six bytes", "The kernel refuses others.", "IEEE 802, section 8.2"),
		r("N15", "a link says which device it is", "Two links that match alike fight over one device.", "netdevice(7); path.Match"),
		r("N16", "a link's address is one that a node can have", "A network's own address and its broadcast address are nobody's.", "RFC 6890; RFC 4291, section 2.6.1"),
		r("N17", "there is one default gateway of each family, and it is another machine", "Of two, one is never used.", "a default gateway is one of each family"),
		r("N18", "a link's MTU is one that IP can use", "Linux turns IPv6 off on a device of less than 1280.", "RFC 791, section 3.1; RFC 8200, section 5"),
		r("N19", "the hostname's prefix can begin a name", "What follows it is the serial number or MAC address.", "RFC 1123, section 2.1"),
		r("N20", "a sysctl is named with dots", "Init would write a file that is not there.", "sysctl(8)"),
		r("N21", "a sysctl has a value of one line", "The kernel takes one line.", "proc(5)"),
		w("N22", "a sysctl has an effect", "all.accept_ra changes nothing on Linux, though documentation says so.", "measured on Linux 6.18"),
		r("N23", "no sysctl breaks the pod network", "The node would not route its pods' packets.", "what the pod network needs"),
		r("N24", "a module is called as the kernel calls it", "Init would not find it.", "modprobe(8)"),
		w("N25", "a gateway is in one of the link's networks", "The kernel refuses a route over a gateway it cannot reach.", "ip-route(8)"),
		r("N26", "a node's identity is a UUID", "Peers tell nodes apart by it.", "RFC 9562, section 4"),
		r("N27", "netd's files are absolute paths, each of its own", "It runs in no folder of its own, and what is written over another is lost; a socket's path has at most 107 bytes.", "weft's own format; unix(7)"),
		r("N28", "the status server listens on loopback alone", "It tells what only the node should know.", "weft's own format"),
		r("N29", "a node whose store is Kubernetes is given no subnets", "Peers go by the spec.podCIDRs of its object: what is sent to other addresses of its pods arrives nowhere.", "Kubernetes API, Node; flannel pkg/subnet/kube"),
		r("N40", "an interface is named as the kernel names it, or by its address", "No device would match.", "include/uapi/linux/if.h"),
		r("N41", "an expression for interfaces is one of RE2", "No device would match.", "regexp.Compile"),
		r("N42", "there is one address to reach for each family", "One route is looked up for each.", "flannel's --iface-can-reach"),
		r("N43", "there is one underlay subnet for each family", "One subnet holds the address.", "one subnet holds the address of each family"),
		r("N44", "the packet filter is one netd has", "There would be no rules.", "packet filters of netd"),
		severe(r("N46", "the store is one netd has", "There would be no peers.", "stores of netd"),
			"error for a store that there is not; warning for what is said of one that is not used"),
		r("N47", "etcd is named by URLs, and bounds of subnets are subnets of the network", "netd would not start.", "etcd's client API; flannel pkg/subnet/config.go"),
		r("N48", "a Kubernetes store says where the API server is, and under which names leases are there", "netd would not start.", "RFC 1123; flannel pkg/subnet/kube/annotations.go"),
		r("N49", "a store's files are absolute paths, a certificate has its key and a password its user", "No connection would come about.", "RFC 8446, section 4.4"),
		r("N50", "a virtual link is one device, made of devices that are there", "The kernel makes no VLAN, bond or bridge of what is missing or named twice.", "ip-link(8): vlan, bond, bridge"),
		r("N51", "a link waits for something a node can wait for", "The node would wait for ever.", "carrier, address and default route are events"),
		r("N52", "a route leads to a network by a gateway of its family", "The kernel refuses others; a default route is a gateway.", "ip-route(8)"),
		w("N60", "the ipsec backend is only kept for networks that have it", "K3s dropped it in 1.27; WireGuard does the same with less.", "docs/network.md, Legacy IPsec"),
		r("N61", "the ipsec backend carries IPv4 alone", "Flannel's has no IPv6 form, and nodes can be mixed.", "flannel pkg/backend/ipsec"),
		r("N62", "the ipsec backend's proposal and key file are written as charon takes them", "Charon would refuse every peer, or find no secret.", "strongSwan swanctl.conf(5), esp_proposals"),
		r("N63", "a service has a name of its own", "Its cgroup, socket and journal are called so.", "names are those of programs, cgroups and sockets"),
		r("N64", "a service waits only for what there is, and never for itself", "It would never start.", "init starts a service after those it needs"),
		r("N65", "a service's settings are ones that init and the kernel take", "The service would fail at each start.", "environ(7); sd_notify(3); proc_pid_oom_score_adj(5); capabilities(7)"),
		r("N70", "the WireGuard mode is separate, auto, ipv4 or ipv6", "There would be no device.", "flannel pkg/backend/wireguard"),
		r("N71", "WireGuard devices listen on ports of their own", "A UDP port is one socket's.", "RFC 768"),
		r("N72", "keys are replaced only where a store can tell the peers", "Peers with a list would lose the node.", "netd/rotate: peers learn of a new key from the store"),
		r("N73", "a keepalive is at most 65535 seconds", "It has 16 bits.", "wg(8), PersistentKeepalive"),
		r("N74", "the file of the pre-shared key is an absolute path", "Netd runs in no folder of its own.", "weft's own format"),
		severe(r("N75", "a peer has a public WireGuard key, and no two have the same", "A key is one peer; of two, the later would take the packets of both.", "wg(8), pubkey; WireGuard paper, section 2"),
			"error for a key that is none, or another's; warning for a peer without one, which is not reached"),
		r("N76", "a node's private WireGuard key is one", "The device would have no key, and answer nobody.", "wg(8), genkey: 32 bytes in base64"),
		w("N77", "a backend is set up with settings of its own", "They have no effect; whoever writes them believes they do.", "flannel pkg/backend"),
		r("N81", "a node's place in Kubernetes is one that K3s and RKE2 take", "The node would join nobody, or begin a cluster of its own beside the others.", "k3s pkg/cli/server/server.go; weft's own format"),
		r("N45", "an address that chooses a device is of its family", "The device of a family has an address of it.", "an address of a family is on a device for the family"),
	}
}

// boardRules are the rules about hardware; package boards checks them.
func boardRules() []Rule {
	r := func(id, title, source string) Rule {
		return Rule{ID: id, Title: title, Source: source, Why: "The image would not boot, or not be built."}
	}
	return []Rule{
		r("HW1", "a board file says which format it has", "the file's own format"),
		r("HW2", "a board's names can be part of file names and kernel arguments", "names are parts of file names and of kernel arguments"),
		r("HW3", "the architecture is one weft has a boot loader for", "Debian's architectures"),
		r("HW4", "packages are named as Debian names them", "Debian Policy 5.6.1"),
		r("HW5", "a node has one kernel", "a node has one kernel"),
		r("HW6", "the partition table is one weft can write", "partition tables weft can write"),
		r("HW7", "the boot loaders are ones weft can install", "boot loaders weft can install"),
		r("HW8", "partitions have sizes their file systems can have", "FAT specification 1.03, section 3.5"),
		r("HW9", "consoles are named as the kernel names them", "Documentation/admin-guide/serial-console.rst"),
		r("HW10", "modules are named as the kernel names them", "MODULE_NAME_LEN, include/linux/moduleparam.h"),
		r("HW11", "kernel arguments are one word each", "Documentation/admin-guide/kernel-parameters.rst"),
		r("HW12", "the QEMU machine is one that can be started", "qemu-system(1)"),
		r("HW13", "signatures of modules are handled in a way weft has", "what weft does with the signatures of modules"),
	}
}
