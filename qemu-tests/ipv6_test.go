package qemutests

import (
	"testing"

	"weft/qemu-tests/vm"
)

// A node that forwards ignores router advertisements on every interface that
// does not say 2, and one whose new interfaces listen to them can be led
// astray by a pod. all.accept_ra has no effect on Linux.
func TestOnlyTheUplinkListensToRouters(t *testing.T) {
	t.Parallel()
	n := start(t, machine(t, buildOf(t, dualStack), vm.BIOS))
	// The underlay for IPv6 is the device of the default route, which only
	// an advertisement brings: ready proves that one was heard.
	n.ready()
	held := n.held()
	for name, want := range map[string]string{
		"net.ipv6.conf.eth0.accept_ra":         "2",
		"net.ipv6.conf.default.accept_ra":      "0",
		"net.ipv6.conf.eth0.forwarding":        "1",
		"net.ipv6.conf.all.forwarding":         "1",
		"net.ipv6.conf.default.forwarding":     "1",
		"net.ipv6.conf.flannel-v6/1.accept_ra": "0",
		"net.ipv4.ip_forward":                  "1",
	} {
		if got := held.Sysctls[name]; got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	n.powerOff()
	n.noProblems()
}
