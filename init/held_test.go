package main

import (
	"slices"
	"testing"

	"weft/profiles"
)

func TestWhatIsHeldIsReadBackFromTheKernel(t *testing.T) {
	r := &record{}
	s := r.system()
	s.contract.Sysctls = []profiles.SysctlNeed{{Name: "kernel.ostype"}, {Name: "net.none.such"}, {Name: ".."}}
	got := s.heldSysctls()
	if got["kernel.ostype"] != "Linux" {
		t.Errorf("held %v", got)
	}
	for _, name := range []string{"net.none.such", ".."} {
		if _, ok := got[name]; ok {
			t.Errorf("%s is held", name)
		}
	}
	if names := heldModules(); !slices.IsSorted(names) {
		t.Errorf("modules %q", names)
	}
	// Nobody listens: nothing is told.
	s.tellHeld()
	if len(r.events) != 0 {
		t.Errorf("events %+v", r.events)
	}
}
