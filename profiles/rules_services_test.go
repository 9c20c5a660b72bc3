package profiles

import "testing"

// serviceCases are the cases of a profile's own services.
var serviceCases = []ruleCase{
	{"N63", "a service without a name", "modules: [wireguard]", "services: [{program: {path: x}}]", "services: [{name: web, program: {path: x}}]"},
	{"N63", "a name with a slash", "modules: [wireguard]", "services: [{name: a/b, program: {path: x}}]", "services: [{name: a.b, program: {path: x}}]"},
	{"N63", "a name that is netd's", "modules: [wireguard]", "services: [{name: netd, program: {path: x}}]", "services: [{name: netd2, program: {path: x}}]"},
	{"N63", "one name twice", "modules: [wireguard]", "services: [{name: a, program: {path: x}}, {name: a, program: {path: y}}]", "services: [{name: a, program: {path: x}}, {name: b, program: {path: y}}]"},
	{"N64", "after what is not there", "modules: [wireguard]", "services: [{name: a, program: {path: x}, after: [sun]}]", "services: [{name: a, program: {path: x}, after: [clock, netd]}]"},
	{"N64", "after itself", "modules: [wireguard]", "services: [{name: a, program: {path: x}, requires: [a]}]", "services: [{name: a, program: {path: x}, requires: [data]}]"},
	{"N64", "two that wait for each other", "modules: [wireguard]", "services: [{name: a, program: {path: x}, after: [b]}, {name: b, program: {path: x}, requires: [a]}]", "services: [{name: a, program: {path: x}, after: [b]}, {name: b, program: {path: x}}]"},
	{"N65", "an unknown way to restart", "modules: [wireguard]", "services: [{name: a, program: {path: x}, restart: sometimes}]", "services: [{name: a, program: {path: x}, restart: on-failure}]"},
	{"N65", "a relative directory", "modules: [wireguard]", "services: [{name: a, program: {path: x}, directory: var}]", "services: [{name: a, program: {path: x}, directory: /var}]"},
	{"N65", "a watchdog of a second", "modules: [wireguard]", "services: [{name: a, program: {path: x}, watchdog: 4}]", "services: [{name: a, program: {path: x}, watchdog: 5}]"},
	{"N65", "an OOM score beyond the kernel's", "modules: [wireguard]", "services: [{name: a, program: {path: x}, oomScore: 1001}]", "services: [{name: a, program: {path: x}, oomScore: 1000}]"},
	{"N65", "INVOCATION_ID", "modules: [wireguard]", "services: [{name: a, program: {path: x}, env: {INVOCATION_ID: x}}]", "services: [{name: a, program: {path: x}, env: {INVOCATION: x}}]"},
	{"N65", "a capability that is none", "modules: [wireguard]", "services: [{name: a, program: {path: x}, capabilities: [CAP_FLY]}]", "services: [{name: a, program: {path: x}, capabilities: [CAP_BPF]}]"},
	{"N65", "none beside another", "modules: [wireguard]", "services: [{name: a, program: {path: x}, capabilities: [none, CAP_BPF]}]", "services: [{name: a, program: {path: x}, capabilities: [none]}]"},
}

func TestServiceRules(t *testing.T) { tryCases(t, base, serviceCases, problemsOf(Read)) }
