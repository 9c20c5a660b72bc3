package main

import (
	"path/filepath"
	"testing"
)

func TestFlashRefusesBeforeItBuilds(t *testing.T) {
	weft(t, "flash", "image.img").want(t, exitInput, "to which device?")
	weft(t, "flash", "image.img", "nosuchdisk").want(t, exitInput, "device nosuchdisk: there is no such device", "fix:")
	weft(t, "flash", "a", "b", "c").want(t, exitInput, "not 3 arguments")
	weft(t, "flash", "--batch", "home.yaml", "--node", "pi-1").want(t, exitInput, "--batch takes cards as they come")
	missing := filepath.Join(t.TempDir(), "home.yaml")
	weft(t, "flash", "--batch", missing).want(t, exitInput, missing)
	if list := parse[[]struct{ Removable bool }](t, weft(t, "flash", "--json")); len(list) > 0 && !list[0].Removable {
		t.Error("a device that is not removable is listed")
	}
}
