package main

import (
	"maps"
	"os"
	"path/filepath"
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

func TestMemoryIsAddedUpByName(t *testing.T) {
	proc := t.TempDir()
	for pid, status := range map[string]string{
		"1":    "Name:\tinit\nVmPeak:\t  9000 kB\nVmRSS:\t  8000 kB\n",
		"20":   "Name:\tnetd\nVmRSS:\t  100 kB\n",
		"21":   "Name:\tnetd\nVmRSS:\t  23 kB\n",
		"3":    "Name:\tkthreadd\n",
		"4":    "Name:\todd\nVmRSS:\tmuch\n",
		"self": "Name:\tself\nVmRSS:\t  1 kB\n",
	} {
		if err := os.MkdirAll(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "status"), []byte(status), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int64{"init": 8000 << 10, "netd": 123 << 10}
	if got := heldMemory(proc); !maps.Equal(got, want) {
		t.Errorf("held %v, want %v", got, want)
	}
}
