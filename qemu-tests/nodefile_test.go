package qemutests

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"weft/builder/guest"
	"weft/profiles"
	"weft/qemu-tests/vm"
)

func TestNodeFileNamesTheNodeAndRenamesIt(t *testing.T) {
	t.Parallel()
	cfg := machine(t, buildOf(t, vxlan), vm.BIOS)
	var uuid string
	for _, name := range []string{"lighthouse", "beacon"} {
		setNodeFile(t, cfg, profiles.Node{Hostname: name})
		n := start(t, cfg)
		id := n.identity()
		n.ready()
		if id.Hostname != name || id.HostnameSource != "node file" {
			t.Errorf("the node is %s from the %s, want %s from the node file", id.Hostname, id.HostnameSource, name)
		}
		if uuid != "" && id.UUID != uuid {
			t.Errorf("the new name came with a new uuid, %s instead of %s", id.UUID, uuid)
		}
		n.powerOff()
		n.noProblems()
		if uuid != "" && !strings.Contains(n.Console(), "hostname changes from lighthouse to beacon, as the node file says") {
			t.Error("the console does not tell of the new name")
		}
		uuid = id.UUID
	}
	soundBoot(t, diskOf(cfg))
}

func TestNodeWithoutANodeFileHasASoundNameOfItsOwn(t *testing.T) {
	t.Parallel()
	cfg := machine(t, buildOf(t, vxlan), vm.BIOS)
	cfg.SMBIOS = []string{"type=1,serial=PF2K 77XY"}
	n := start(t, cfg)
	id := n.identity()
	n.ready()
	if want := "node-pf2k-77xy"; id.Hostname != want || id.HostnameSource != "serial number" {
		t.Errorf("the node is %s from the %s, want %s from the serial number", id.Hostname, id.HostnameSource, want)
	}
	if err := profiles.SoundHostname(id.Hostname); err != nil {
		t.Error(err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id.MachineID) {
		t.Errorf("machine id %q", id.MachineID)
	}
	n.powerOff()
	n.noProblems()
}

func TestBrokenNodeFileIsShownAndTheRestComesUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, said string }{
		{"no YAML", "weft: node/v1\nhostname: [lighthouse\n", "weft/node.yaml:2:"},
		{"misspelt key", "weft: node/v1\nhostnmae: lighthouse\n", "weft/node.yaml:2:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := machine(t, buildOf(t, vxlan), vm.BIOS)
			if err := guest.SetNodeFileData(diskOf(cfg), []byte(c.text), time.Now()); err != nil {
				t.Fatal(err)
			}
			n := start(t, cfg)
			reason := n.degraded()
			t.Log(reason)
			if !hasAll(reason, []string{"node file", c.said}) {
				t.Errorf("the reason does not name the node file and %s: %s", c.said, reason)
			}
			id := n.identity()
			n.step("netd")
			if id.Hostname == "lighthouse" || profiles.SoundHostname(id.Hostname) != nil {
				t.Errorf("the node is %q", id.Hostname)
			}
			n.powerOff()
			if !strings.Contains(n.Console(), c.said) {
				t.Errorf("the console does not say %s", c.said)
			}
		})
	}
}
