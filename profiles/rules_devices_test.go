package profiles

import "testing"

// deviceCases are the cases of links that init makes itself.
var deviceCases = []ruleCase{
	{"N50", "a VLAN out of range", `match: {name: "en*"}`, "vlan: {name: lan.10, id: 4095, on: {name: eth0}}", "vlan: {name: lan.10, id: 4094, on: {name: eth0}}"},
	{"N50", "a VLAN on nothing", `match: {name: "en*"}`, "vlan: {name: lan.10, id: 10}", "vlan: {name: lan.10, id: 10, on: {driver: e1000e}}"},
	{"N50", "a bond of an unknown mode", `match: {name: "en*"}`, "bond: {name: bond0, ports: [{name: eth0}], mode: fast}", "bond: {name: bond0, ports: [{name: eth0}], mode: 802.3ad}"},
	{"N50", "a bond that looks all the time", `match: {name: "en*"}`, "bond: {name: bond0, ports: [{name: eth0}], monitor: 9}", "bond: {name: bond0, ports: [{name: eth0}], monitor: 10}"},
	{"N50", "a bridge without ports", `match: {name: "en*"}`, "bridge: {name: br0}", "bridge: {name: br0, ports: [{name: eth0}]}"},
	{"N50", "a bridge that is matched", `match: {name: "en*"}`, "match: {name: eth0}\n    bridge: {name: br0, ports: [{name: eth0}]}", "bridge: {name: br0, ports: [{name: eth0}], stp: true}"},
	{"N50", "two kinds at once", `match: {name: "en*"}`, "bridge: {name: br0, ports: [{name: eth0}]}\n    vlan: {name: v, id: 1, on: {name: eth0}}", "vlan: {name: v, id: 1, on: {name: eth0}}"},
	{"N50", "a pattern for a name", `match: {name: "en*"}`, `bridge: {name: "br*", ports: [{name: eth0}]}`, `bridge: {name: br-lan, ports: [{name: "eth*"}]}`},
	{"N50", "a bridge on itself", `match: {name: "en*"}`, "bridge: {name: br0, ports: [{name: br0}]}", "bridge: {name: br0, ports: [{name: br1}]}"},
	{"N51", "waiting for rain", "mtu: 1500", "wait: [rain]", "wait: [carrier, ipv4, route6]"},
	{"N52", "a route with host bits", "mtu: 1500", "routes: [{to: 192.0.2.1/24}]", "routes: [{to: 192.0.2.0/24, via: 192.168.1.2, metric: 5}]"},
	{"N52", "a default route", "mtu: 1500", "routes: [{to: 0.0.0.0/0, via: 192.168.1.2}]", "routes: [{to: 0.0.0.0/1, via: 192.168.1.2}]"},
	{"N52", "a gateway of another family", "mtu: 1500", `routes: [{to: 192.0.2.0/24, via: "2001:db8::1"}]`, `routes: [{to: "2001:db8:1::/48", via: "2001:db8::1"}]`},
}

func TestDeviceRules(t *testing.T) { tryCases(t, base, deviceCases, problemsOf(Read)) }
