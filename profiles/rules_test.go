package profiles

import (
	"strings"
	"testing"

	"weft/document"
)

// base is a profile that keeps every rule; the cases below change one thing
// in it.
const base = `weft: profile/v1
name: base
description: the base of all cases
network:
  pods: [10.244.0.0/16, "fd42::/48"]
  services: [10.96.0.0/16, "fd42:0:1::/112"]
  subnetLength: {ipv4: 24, ipv6: 64}
  backend: {type: vxlan, vni: 1, port: 8472, mtu: 1400}
  masquerade: {ipv4: true, ipv6: true}
  peers:
    - name: node-1
      addresses: [192.168.1.11, "2001:db8::11"]
      subnets: [10.244.1.0/24, "fd42:0:0:1::/64"]
      mac: 02:00:00:00:00:01
    - name: node-2
      addresses: [192.168.1.12, "2001:db8::12"]
      subnets: [10.244.2.0/24, "fd42:0:0:2::/64"]
hostname: {prefix: edge}
links:
  - match: {name: "en*"}
    addresses: [192.168.1.11/24, "2001:db8::11/64"]
    gateways: [192.168.1.1, "fe80::1"]
    dns: [192.168.1.1]
    mtu: 1500
  - match: {mac: "52:54:00:00:00:01", driver: virtio_net}
sysctls:
  vm.max_map_count: 262144
modules: [wireguard]
`

// baseNode is a node file that keeps every rule.
const baseNode = `weft: node/v1
hostname: node-1
addresses: [192.168.1.11, "2001:db8::11"]
subnets: [10.244.1.0/24, "fd42:0:0:1::/64"]
peers:
  - name: node-2
    addresses: [192.168.1.12]
    subnets: [10.244.2.0/24]
    mac: 02:00:00:00:00:02
links:
  - match: {name: eth0}
    addresses: [192.168.1.11/24]
    gateways: [192.168.1.1]
    dns: [192.168.1.1]
    mtu: 1500
`

// baseNetd is a configuration of netd that keeps every rule.
const baseNetd = `weft: netd/v1
node:
  name: node-1
  uuid: 0b9f1c3e-0000-4000-8000-000000000001
  addresses: [192.168.1.11, "2001:db8::11"]
  subnets: [10.244.1.0/24, "fd42:0:0:1::/64"]
  mac: 02:00:00:00:00:01
network:
  pods: [10.244.0.0/16, "fd42::/48"]
  services: [10.96.0.0/16, "fd42:0:1::/112"]
  subnetLength: {ipv4: 24, ipv6: 64}
  backend: {type: vxlan, vni: 1, port: 8472, checksumOffload: true}
  masquerade: {ipv4: true, ipv6: true}
  peers:
    - name: node-2
      addresses: [192.168.1.12, "2001:db8::12"]
      subnets: [10.244.2.0/24, "fd42:0:0:2::/64"]
      mac: 02:00:00:00:00:02
paths:
  socket: /run/weft/netd.sock
  subnetEnv: /run/flannel/subnet.env
  cni: /etc/cni/net.d/10-weft.conflist
listen: 127.0.0.1:8285
`

// A ruleCase changes from into breaks, which breaks a rule, and into keeps,
// which just does not.
type ruleCase struct{ rule, name, from, breaks, keeps string }

var profileCases = []ruleCase{
	{"N1", "another version", "weft: profile/v1", "weft: profile/v2", "weft: 'profile/v1'"},
	{"N2", "capital letters in the name", "name: base", "name: Base", "name: 0.base-1"},
	{"N2", "a description of two lines", "description: the base of all cases", `description: "a\nb"`, `description: "a b"`},
	{"N3", "no pods", `pods: [10.244.0.0/16, "fd42::/48"]`, "pods: []", "pods: [10.244.0.0/16]"},
	{"B1", "pods with host bits", "10.244.0.0/16", "10.244.1.5/16", "10.244.0.0/15"},
	{"B1", "a peer's subnet with host bits", "10.244.1.0/24", "10.244.1.1/24", "10.244.3.0/24"},
	{"B2", "two IPv4 ranges", `10.244.0.0/16, "fd42::/48"`, "10.244.0.0/16, 10.245.0.0/16", `"fd42::/48", 10.244.0.0/16`},
	{"B3", "services of one family", `, "fd42:0:1::/112"]`, "]", `, "fd42:0:2::/112"]`},
	{"B3", "services in another order", `[10.96.0.0/16, "fd42:0:1::/112"]`, `["fd42:0:1::/112", 10.96.0.0/16]`, `[10.96.0.0/12, "fd42:0:1::/112"]`},
	{"B7", "large IPv4 services", "10.96.0.0/16", "172.0.0.0/11", "10.96.0.0/12"},
	{"B7", "large IPv6 services", "fd42:0:1::/112", "fd42:0:1::/107", "fd42:0:1::/108"},
	{"B8", "four services", "10.96.0.0/16", "10.96.0.0/30", "10.96.0.0/29"},
	{"B8", "four IPv6 services", "fd42:0:1::/112", "fd42:0:1::/126", "fd42:0:1::/125"},
	{"B11", "services inside pods", "10.96.0.0/16", "10.244.255.0/24", "10.245.0.0/16"},
	{"B11", "pods inside services", "fd42:0:1::/112", "fd42::/32", "fd42:0:1::/48"},
	{"B11", "a peer's address inside pods", "192.168.1.12", "10.244.9.9", "10.243.255.255"},
	{"B11", "a link inside services", "192.168.1.11/24", "10.96.0.11/24", "10.97.0.11/24"},
	{"B14", "unique local pods and no choice", "ipv4: true, ipv6: true", "ipv4: true", "ipv4: true, ipv6: false"},
	{"C1", "a subnet as large as the network", "ipv4: 24", "ipv4: 17", "ipv4: 18"},
	{"C1", "a large IPv6 subnet", "ipv6: 64", "ipv6: 49", "ipv6: 50"},
	{"D1", "a misspelt backend", "type: vxlan", "type: vxlna", "type: vxlan"},
	{"D1", "no backend", "type: vxlan, ", "", "type: \"vxlan\", "},
	{"D8", "masquerade without the family", `pods: [10.244.0.0/16, "fd42::/48"]`, "pods: [10.244.0.0/16]", `pods: [10.244.0.0/16, "fd43::/48"]`},
	{"D8", "IPv4 masquerade without the family", `pods: [10.244.0.0/16, "fd42::/48"]`, `pods: ["fd42::/48"]`, `pods: ["fd43::/48", 10.244.0.0/16]`},
	{"N4", "pods on loopback", "10.244.0.0/16", "127.0.0.0/16", "126.0.0.0/16"},
	{"N4", "pods of link-local addresses", "fd42::/48", "fe80::/48", "fdff::/48"},
	{"N4", "services of multicast addresses", "10.96.0.0/16", "224.0.0.0/16", "223.255.0.0/16"},
	{"N4", "everything", "10.244.0.0/16", "0.0.0.0/0", "16.0.0.0/4"},
	{"N4", "IPv4 written as IPv6", "fd42::/48", "::ffff:0:0/96", "fd42::/96"},
	{"N5", "a subnet of two addresses", "ipv4: 24", "ipv4: 31", "ipv4: 30"},
	{"N5", "an IPv6 subnet of two addresses", "ipv6: 64", "ipv6: 127", "ipv6: 126"},
	{"N5", "a tiny network", "10.244.0.0/16", "10.244.0.0/29", "10.244.0.0/28"},
	{"N5", "a tiny IPv6 network", "fd42::/48", "fd42::/125", "fd42::/124"},
	{"N5", "a length of zero", "ipv4: 24", "ipv4: 0", "ipv4: 25"},
	{"N6", "a length without a range", `pods: [10.244.0.0/16, "fd42::/48"]`, "pods: [10.244.0.0/16]", `pods: ["fd42::/48", 10.244.0.0/16]`},
	{"N6", "an IPv4 length without a range", `pods: [10.244.0.0/16, "fd42::/48"]`, `pods: ["fd42::/48"]`, `pods: ["fd42::/48", 10.244.0.0/16]`},
	{"N7", "a VNI of 25 bits", "vni: 1", "vni: 16777216", "vni: 16777215"},
	{"N7", "a VNI of zero", "vni: 1", "vni: 0", "vni: 1"},
	{"N8", "a port of 17 bits", "port: 8472", "port: 65536", "port: 65535"},
	{"N8", "a negative port", "port: 8472", "port: -1", "port: 1"},
	{"N9", "an MTU too small for IPv6", "mtu: 1400", "mtu: 1279", "mtu: 1280"},
	{"N9", "an MTU no packet fills", "mtu: 1400", "mtu: 65536", "mtu: 65535"},
	{"F1", "an underscore in a peer's name", "name: node-2", "name: node_2", "name: node-2.example.org"},
	{"F1", "a peer called localhost", "name: node-2", "name: localhost", "name: local-host"},
	{"F2", "two peers of one name", "name: node-2", "name: node-1", "name: node-3"},
	{"N10", "a peer without an IPv6 address", `192.168.1.12, "2001:db8::12"`, "192.168.1.12", `"2001:db8::12", 192.168.1.12`},
	{"N10", "a peer without subnets", `subnets: [10.244.2.0/24, "fd42:0:0:2::/64"]`, "", `subnets: [10.244.3.0/24, "fd42:0:0:2::/64"]`},
	{"N10", "a peer with two IPv4 addresses", `192.168.1.12, "2001`, `192.168.1.12, 192.168.1.13, "2001`, `192.168.1.13, "2001`},
	{"N11", "a subnet outside the pods", "10.244.2.0/24", "10.245.2.0/24", "10.244.255.0/24"},
	{"N11", "a subnet that is the network", "fd42:0:0:2::/64", "fd42::/48", "fd42:0:0:4::/62"},
	{"N11", "a subnet of two addresses", "10.244.2.0/24", "10.244.2.0/31", "10.244.2.0/30"},
	{"N12", "two peers with one subnet", "10.244.2.0/24", "10.244.1.128/25", "10.244.2.0/25"},
	{"N12", "a subnet around two others", `"fd42:0:0:2::/64"`, `"fd42::/60"`, `"fd42:0:0:10::/60"`},
	{"N13", "a loopback address", "192.168.1.12", "127.0.0.1", "128.0.0.1"},
	{"N13", "an address with a zone", "2001:db8::12", "2001:db8::12%eth0", "2001:db8::13"},
	{"N13", "two peers at one address", "192.168.1.12", "192.168.1.11", "192.168.1.13"},
	{"N14", "a multicast MAC", "02:00:00:00:00:01", "03:00:00:00:00:01", "00:00:00:00:00:01"},
	{"N14", "a MAC of zeros", "02:00:00:00:00:01", "00:00:00:00:00:00", "00:00:00:00:00:02"},
	{"N14", "a MAC of eight bytes", "02:00:00:00:00:01", "02:00:00:00:00:00:00:01", "0200.0000.0001"},
	{"I2", "a name server on loopback", "dns: [192.168.1.1]", "dns: [127.0.0.53]", "dns: [9.9.9.9]"},
	{"N15", "a link that matches nothing", "match: {name: \"en*\"}", "match: {}", "match: {driver: e1000e}"},
	{"N15", "a pattern that never ends", `name: "en*"`, `name: "en[0"`, `name: "en[01]"`},
	{"N15", "a name too long for a device", `name: "en*"`, "name: abcdefghijklmnop", "name: abcdefghijklmno"},
	{"N15", "a driver that is a path", "driver: virtio_net", "driver: /sys/virtio", "driver: virtio-net"},
	{"N15", "two links that match alike", `match: {mac: "52:54:00:00:00:01", driver: virtio_net}`, `match: {name: "en*"}`, `match: {name: "et*"}`},
	{"N16", "the network's own address", "192.168.1.11/24", "192.168.1.0/24", "192.168.1.0/31"},
	{"N16", "the broadcast address", "192.168.1.11/24", "192.168.1.255/24", "192.168.1.254/24"},
	{"N16", "a length of zero", "192.168.1.11/24", "192.168.1.11/0", "192.168.1.11/1"},
	{"N16", "a multicast address", "2001:db8::11/64", "ff02::1/64", "fe80::2/64"},
	{"N16", "the same address twice", `"2001:db8::11/64"]`, `192.168.1.11/32]`, `192.168.1.13/32]`},
	{"N17", "two gateways of a family", `gateways: [192.168.1.1, "fe80::1"]`, `gateways: [192.168.1.1, 192.168.1.2]`, `gateways: ["fe80::1"]`},
	{"N17", "the link as its own gateway", "gateways: [192.168.1.1,", "gateways: [192.168.1.11,", "gateways: [192.168.1.12,"},
	{"N17", "a gateway with a zone", "fe80::1", "fe80::1%eth0", "fe80::2"},
	{"N18", "a jumbo of jumbos", "mtu: 1500", "mtu: 65536", "mtu: 9000"},
	{"N18", "an MTU too small for IPv6", "mtu: 1500", "mtu: 1279", "mtu: 1280"},
	{"N25", "a gateway outside the network", "gateways: [192.168.1.1,", "gateways: [192.168.2.1,", "gateways: [192.168.1.254,"},
	{"N19", "a prefix with a dot", "prefix: edge", "prefix: edge.1", "prefix: edge-1-"},
	{"N19", "a long prefix", "prefix: edge", "prefix: " + strings.Repeat("a", 33), "prefix: " + strings.Repeat("a", 32)},
	{"N20", "a sysctl with slashes", "vm.max_map_count", "vm/max_map_count", "net.ipv4.tcp_rmem"},
	{"N20", "a sysctl of one word", "vm.max_map_count", "max_map_count", "vm.x"},
	{"N21", "a sysctl without a value", "vm.max_map_count: 262144", `vm.max_map_count: ""`, `vm.max_map_count: "4096 131072 6291456"`},
	{"N21", "a sysctl of two lines", "vm.max_map_count: 262144", `vm.max_map_count: "1\n2"`, `vm.max_map_count: "1\t2"`},
	{"N22", "accept_ra for all", "vm.max_map_count: 262144", "net.ipv6.conf.all.accept_ra: 2", "net.ipv6.conf.eth0.accept_ra: 2"},
	{"N23", "forwarding off", "vm.max_map_count: 262144", "net.ipv4.ip_forward: 0", "net.ipv4.ip_forward: 1"},
	{"N23", "router advertisements from pods", "vm.max_map_count: 262144", "net.ipv6.conf.default.accept_ra: 2", "net.ipv6.conf.default.accept_ra: 0"},
	{"N23", "one hostname for all", "vm.max_map_count: 262144", "kernel.hostname: a", "kernel.panic: 5"},
	{"N24", "a module's file name", "modules: [wireguard]", "modules: [wireguard.ko]", "modules: [wire-guard_2]"},
	{"N24", "an option without a value", "modules: [wireguard]", "modules: [bonding max_bonds=]", "modules: [bonding max_bonds=0 miimon=100]"},
	{"N24", "a module twice", "modules: [wireguard]", "modules: [br-netfilter, br_netfilter]", "modules: [br-netfilter, bridge]"},
}

var nodeCases = []ruleCase{
	{"N1", "a profile", "weft: node/v1", "weft: profile/v1", "weft: \"node/v1\""},
	{"F1", "capital letters", "hostname: node-1", "hostname: Node-1", "hostname: node-1.lan"},
	{"F1", "the name of every Raspberry Pi", "hostname: node-1", "hostname: raspberrypi", "hostname: raspberrypi-1"},
	{"F1", "an empty name", "hostname: node-1", `hostname: ""`, "hostname: a"},
	{"N10", "two addresses of a family", `192.168.1.11, "2001:db8::11"`, "192.168.1.11, 192.168.1.12", `"2001:db8::11"`},
	{"N10", "two subnets of a family", `10.244.1.0/24, "fd42:0:0:1::/64"`, "10.244.1.0/24, 10.244.2.0/24", "10.244.1.0/24"},
	{"N10", "a peer without addresses", "addresses: [192.168.1.12]", "addresses: []", "addresses: [192.168.1.13]"},
	{"N13", "a loopback address", "addresses: [192.168.1.11,", "addresses: [127.0.0.1,", "addresses: [10.0.0.1,"},
	{"B1", "a subnet with host bits", "10.244.1.0/24", "10.244.1.7/24", "10.244.1.0/25"},
	{"F2", "two peers of one name", "peers:", "peers:\n  - {name: node-2, addresses: [10.0.0.9], subnets: [10.244.9.0/24]}", "peers:\n  - {name: node-9, addresses: [10.0.0.9], subnets: [10.244.9.0/24]}"},
	{"N12", "two peers with one subnet", "peers:", "peers:\n  - {name: node-9, addresses: [10.0.0.9], subnets: [10.244.2.0/24]}", "peers:\n  - {name: node-9, addresses: [10.0.0.9], subnets: [10.244.9.0/24]}"},
	{"N14", "a multicast MAC", "02:00:00:00:00:02", "01:00:00:00:00:02", "06:00:00:00:00:02"},
	{"I2", "a name server on loopback", "dns: [192.168.1.1]", "dns: [\"::1\"]", "dns: [\"2620:fe::fe\"]"},
	{"N15", "a name with a slash", "match: {name: eth0}", "match: {name: a/b}", "match: {name: eth0.100}"},
	{"N16", "the network's own address", "192.168.1.11/24", "192.168.1.0/24", "192.168.1.1/32"},
	{"N17", "a gateway on loopback", "gateways: [192.168.1.1]", "gateways: [127.0.0.1]", "gateways: [192.168.1.2]"},
	{"N18", "a small MTU", "mtu: 1500", "mtu: 575", "mtu: 576"},
	{"N25", "a gateway outside the network", "gateways: [192.168.1.1]", "gateways: [10.0.0.1]", "gateways: [192.168.1.2]"},
}

var netdCases = []ruleCase{
	{"N1", "no version", "weft: netd/v1\n", "", "weft: netd/v1\n"},
	{"F1", "no name", "  name: node-1\n", "", "  name: node-3\n"},
	{"F2", "the node as its own peer", "name: node-2", "name: node-1", "name: node-3"},
	{"B1", "a subnet with host bits", "10.244.1.0/24", "10.244.1.9/24", "10.244.1.0/25"},
	{"B11", "an address inside pods", "[192.168.1.11,", "[10.244.200.1,", "[10.243.200.1,"},
	{"N10", "no subnet of a family", `subnets: [10.244.1.0/24, "fd42:0:0:1::/64"]`, "subnets: [10.244.1.0/24]", `subnets: ["fd42:0:0:1::/64", 10.244.1.0/24]`},
	{"N10", "two addresses of a family", `[192.168.1.11, "2001:db8::11"]`, "[192.168.1.11, 192.168.1.13]", "[192.168.1.11]"},
	{"N11", "a subnet outside the pods", "10.244.1.0/24", "10.1.1.0/24", "10.244.3.0/24"},
	{"N12", "a peer with this node's subnet", "10.244.2.0/24", "10.244.1.0/24", "10.244.3.0/24"},
	{"N13", "a peer with this node's address", "192.168.1.12", "192.168.1.11", "192.168.1.13"},
	{"N13", "an address on loopback", `"2001:db8::11"`, `"::1"`, `"2001:db8::13"`},
	{"N14", "a broadcast MAC", "02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "fe:ff:ff:ff:ff:ff"},
	{"N26", "half a UUID", "0b9f1c3e-0000-4000-8000-000000000001", "0b9f1c3e-0000", "0b9f1c3e-0000-4000-8000-00000000000f"},
	{"N29", "subnets beside Kubernetes", "  peers:\n", "  store: {type: kubernetes, kubernetes: {kubeconfig: /k}}\n  peers:\n", "  store: {type: etcd}\n  peers:\n"},
	{"N27", "a relative path", "/run/weft/netd.sock", "netd.sock", "/netd.sock"},
	{"N27", "a path that climbs", "/run/flannel/subnet.env", "/run/../subnet.env", "/run/subnet.env"},
	{"N27", "one path twice", "/etc/cni/net.d/10-weft.conflist", "/run/flannel/subnet.env", "/run/flannel/10-weft.conflist"},
	{"N27", "state in a file", "listen:", "  state: /run/weft/netd.sock/state\nlisten:", "  state: /run/weft\nlisten:"},
	{"N27", "a file in a file", "/etc/cni/net.d/10-weft.conflist", "/run/flannel", "/run/flannel/cni"},
	{"N27", "a path of 108 bytes", "/run/weft/netd.sock", "/" + strings.Repeat("a", 107), "/" + strings.Repeat("a", 106)},
	{"N27", "no path", "  socket: /run/weft/netd.sock\n", "  socket: /\n", ""},
	{"N60", "ipsec at all", "type: vxlan, vni: 1, port: 8472, checksumOffload: true", "type: ipsec", "type: vxlan"},
	{"N28", "all addresses", "listen: 127.0.0.1:8285", "listen: 0.0.0.0:8285", "listen: \"[::1]:8285\""},
	{"N28", "no port", "listen: 127.0.0.1:8285", "listen: 127.0.0.1", "listen: 127.1.2.3:1"},
	{"D1", "another backend", "type: vxlan", "type: hostgw", "type: vxlan"},
	{"N7", "a VNI of 25 bits", "vni: 1", "vni: 16777216", "vni: 16777215"},
}

func TestProfileRules(t *testing.T) {
	tryCases(t, base, profileCases, problemsOf(Read))
}

func TestNodeRules(t *testing.T) {
	tryCases(t, baseNode, nodeCases, problemsOf(ReadNode))
}

func TestNetdRules(t *testing.T) {
	tryCases(t, baseNetd, netdCases, problemsOf(ReadNetd))
}

// problemsOf leaves of a reader what the cases look at.
func problemsOf[T any](read func(string, []byte) (T, *document.Document, document.Problems)) func(string) document.Problems {
	return func(text string) document.Problems {
		_, _, problems := read("case.yaml", []byte(text))
		return problems
	}
}

// tryCases applies each case to a sound file and looks for its rule.
func tryCases(t *testing.T, sound string, cases []ruleCase, read func(string) document.Problems) {
	if problems := read(sound); len(problems) > 0 {
		t.Fatalf("the base has problems:\n%v", problems)
	}
	for _, c := range cases {
		t.Run(c.rule+" "+c.name, func(t *testing.T) {
			if !strings.Contains(sound, c.from) {
				t.Fatalf("the base does not hold %q", c.from)
			}
			broken := read(strings.Replace(sound, c.from, c.breaks, 1))
			if !hasRule(broken, c.rule) {
				t.Errorf("%s is not reported; problems:\n%v", c.rule, broken)
			}
			for _, p := range broken {
				if p.Line == 0 || p.Message == "" || p.Fix == "" {
					t.Errorf("a problem without place, message or fix: %+v", p)
				}
			}
			kept := read(strings.Replace(sound, c.from, c.keeps, 1))
			if hasRule(kept, c.rule) {
				t.Errorf("%s is reported for %q:\n%v", c.rule, c.keeps, kept)
			}
			if hasRule(kept, document.RuleType) || hasRule(kept, document.RuleSyntax) || hasRule(kept, document.RuleKey) {
				t.Errorf("the file that keeps the rule cannot be read:\n%v", kept)
			}
		})
	}
}

// hasRule tells whether a problem is of a rule.
func hasRule(problems document.Problems, rule string) bool {
	for _, p := range problems {
		if p.Rule == rule {
			return true
		}
	}
	return false
}

func TestEveryRuleIsTested(t *testing.T) {
	tested := map[string]bool{}
	for _, cases := range [][]ruleCase{profileCases, nodeCases, netdCases, underlayCases, ipsecCases, deviceCases, serviceCases, placeCases, wireguardCases, wireguardNodeCases, settingCases, storeCases} {
		for _, c := range cases {
			tested[c.rule] = true
		}
	}
	check := func(id, source string) {
		if !tested[id] {
			t.Errorf("rule %s has no case", id)
		}
		if source == "" {
			t.Errorf("rule %s names no source", id)
		}
	}
	for _, r := range profileRules {
		check(r.ID, r.Source)
	}
	for _, r := range nodeRules {
		check(r.ID, r.Source)
	}
	for _, r := range netdRules {
		check(r.ID, r.Source)
	}
}
