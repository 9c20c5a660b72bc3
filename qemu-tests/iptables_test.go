package qemutests

import (
	"testing"

	"weft/qemu-tests/vm"
)

// The programs of iptables come from Debian's package, without its maintainer
// scripts; netd says that it is ready only when its rules are in place.
func TestIptablesOfTheImageTakesNetdsRules(t *testing.T) {
	t.Parallel()
	image, err := build(board, profileFile(t, "iptables", `weft: profile/v1
name: iptables
description: rules by the programs of iptables
network:
  pods: [10.244.0.0/16, "fd42::/48"]
  backend: {type: vxlan}
  masquerade: {ipv6: true}
  firewall: {mode: iptables}
`))
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, machine(t, image, vm.BIOS))
	n.ready()
	n.powerOff()
	n.noProblems()
}
