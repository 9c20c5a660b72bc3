package qemutests

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"weft/event"
	"weft/qemu-tests/vm"
)

// cuts is how often a busy node loses its power, each time at a random moment.
var cuts = flag.Int("cuts", 5, "how often a busy node loses its power")

// busyFor is how long a node is busy at most before its power is cut, in CPU
// seconds.
const busyFor = 3.0

// The power of one node is cut again and again while it writes: every file is
// whole afterwards, nothing that was on the disk is lost, and the node stays
// who it is. First boots that are cut off are the Plug test's.
func TestABusyNodeThatLosesItsPowerLosesNothingElse(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	cfg := machine(t, troubled(t, "busy"), vm.BIOS)
	var first event.Identified
	kept := 0
	for i := range *cuts + 1 {
		n := start(t, cfg)
		id := n.identity()
		if i == 0 {
			first = id
		}
		if id.UUID != first.UUID || id.Hostname != first.Hostname || id.MachineID != first.MachineID {
			t.Fatalf("after %d cuts the node is %+v, was %+v", i, id, first)
		}
		said := n.service("busy", "all whole, the last is ")
		var last int
		if _, err := fmt.Sscanf(said, "all whole, the last is %d", &last); err != nil {
			t.Fatalf("%q: %v", said, err)
		}
		if last < kept {
			t.Errorf("after %d cuts %d is the last that is there; %d was on the disk", i, last, kept)
		}
		n.ready()
		if i == *cuts {
			n.powerOff()
			break
		}
		n.killAt(moment{seconds: n.CPUSeconds() + busyFor*random.Float64()})
		for _, e := range n.Events() {
			var number int
			if e.Kind != event.Service || e.Name != "busy" {
				continue
			}
			if _, err := fmt.Sscanf(plainText(e.Text), "kept %d", &number); err == nil {
				kept = max(kept, number)
			}
		}
		t.Logf("cut %d: %d was on the disk", i+1, kept)
	}
	if *cuts > 0 && kept == 0 {
		t.Error("the node was never busy")
	}
	cleanDisk(t, diskOf(cfg))
}

// seeded are the random choices of a test.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	first := *seed
	if first == 0 {
		first = rand.Uint64()
	}
	t.Logf("to repeat: -args -seed %d", first)
	return rand.New(rand.NewPCG(first, 0))
}

// service waits until a service says something that begins so.
func (n node) service(name, prefix string) string {
	n.t.Helper()
	var said string
	n.wait(name+" to say "+prefix, func(e event.Event) bool {
		if e.Kind != event.Service || e.Name != name {
			return false
		}
		said = plainText(e.Text)
		if strings.Contains(e.Text, "level=ERROR") {
			n.t.Errorf("%s: %s", name, e.Text)
		}
		return strings.HasPrefix(said, prefix)
	})
	return said
}

// plainText is a line of a service without its level.
func plainText(line string) string { return strings.TrimPrefix(line, "level=WARN ") }
