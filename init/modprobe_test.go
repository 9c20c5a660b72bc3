package main

import (
	"errors"
	"testing"
	"time"

	"weft/init/modules"
	"weft/profiles"
)

func TestModulesGetTheOptionsOfTheContract(t *testing.T) {
	of := optionsIn(profiles.Contract{Modules: []profiles.ModuleNeed{
		{Name: "bonding", Options: "max_bonds=0 miimon=100"}, {Name: "vxlan"},
	}})
	for module, want := range map[string]string{"bonding": "max_bonds=0 miimon=100", "vxlan": "", "dummy": ""} {
		if got := of(module); got != want {
			t.Errorf("%s: %q, want %q", module, got, want)
		}
	}
	if got := entries(modules.Request{Names: []string{"dummy"}, Options: "numdummies=2"}); len(got) != 1 || got[0] != "dummy numdummies=2" {
		t.Errorf("%q", got)
	}
	if got := entries(modules.Request{Names: []string{"a", "b"}}); got != nil {
		t.Errorf("%q", got)
	}
}

func TestModprobeRefusesWhatItDoesNotDo(t *testing.T) {
	for _, args := range [][]string{nil, {"-r", "vxlan"}, {"--nonsense"}} {
		if code := modprobe(args); code != 1 {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}

func TestModulesAreNotedWithWhatDoesNotWork(t *testing.T) {
	var n moduleNotes
	n.note(modules.Result{Name: "vxlan", Took: time.Millisecond}, "pods")
	n.note(modules.Result{Name: "bridge", Builtin: true}, "pods")
	n.note(modules.Result{Name: "wireguard", Err: errors.New("no such module")}, "tunnels")
	want := []string{"loaded", "builtin", "failed"}
	for i, m := range n.all() {
		if m.State != want[i] || (m.Error != "") != (m.State == "failed") {
			t.Errorf("%+v", m)
		}
	}
}
