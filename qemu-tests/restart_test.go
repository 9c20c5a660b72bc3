package qemutests

import (
	"strings"
	"testing"

	"weft/qemu-tests/vm"
)

func TestNodeStaysItselfThroughResetPowerOffAndANewCard(t *testing.T) {
	t.Parallel()
	cfg := machine(t, buildOf(t, vxlan), vm.BIOS)
	n := start(t, cfg)
	first := n.identity()
	n.ready()

	n.Mark()
	ctx, cancel := n.within()
	defer cancel()
	if err := n.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	again := n.identity()
	n.ready()
	if again.UUID != first.UUID || again.MachineID != first.MachineID || again.Hostname != first.Hostname {
		t.Errorf("after a reset the node is %+v, was %+v", again, first)
	}
	n.powerOff()
	n.noProblems()
	cleanDisk(t, diskOf(cfg))
	before := readDisk(t, diskOf(cfg)).Data

	// The name came from the card's address, and must not follow it.
	if first.HostnameSource != "mac address" {
		t.Fatalf("the hostname %s is from the %s, want the mac address", first.Hostname, first.HostnameSource)
	}
	cfg.NICs[0].MAC = vm.MACFor("another", 0)
	n = start(t, cfg)
	moved := n.identity()
	n.ready()
	if moved.UUID != first.UUID || moved.MachineID != first.MachineID || moved.Hostname != first.Hostname {
		t.Errorf("with another card the node is %+v, was %+v", moved, first)
	}
	n.powerOff()
	n.noProblems()
	cleanDisk(t, diskOf(cfg))
	after := readDisk(t, diskOf(cfg)).Data
	if after.UUID != before.UUID || !after.Made.Equal(before.Made) {
		t.Errorf("the data partition was made anew: %+v, was %+v", after, before)
	}

	// A copy of the disk, in another machine, is the same node: it cannot know
	// better, and says so.
	clone := machine(t, diskOf(cfg), vm.BIOS)
	clone.Name = "clone"
	n = start(t, clone)
	n.problem("this disk was last in the machine "+vm.UUIDFor(cfg.Name)+" and is in "+vm.UUIDFor(clone.Name)+" now", first.UUID, "erase the data partition of the copy")
	if copied := n.identity(); copied.UUID != first.UUID || copied.Hostname != first.Hostname {
		t.Errorf("the copy is %+v, was %+v", copied, first)
	}
	n.ready()
	n.powerOff()
	// It is said once; and the disk goes on where it is now.
	if text := onData(t, clone, "cat /weft/node.json"); !strings.Contains(text, vm.UUIDFor(clone.Name)) {
		t.Errorf("the machine is not noted:\n%s", text)
	}
}
