package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"weft/builder/flash"
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

func TestFaultsOfFlashingHaveTheirExitCodes(t *testing.T) {
	_, folder := flash.OpenSource(t.Context(), t.TempDir(), "", func(int64) {})
	_, cut := flash.OpenSource(t.Context(), write(t, t.TempDir(), "x.img.gz", "\x1f\x8b\x08\x00"), "", func(int64) {})
	_, other := flash.OpenSource(t.Context(), write(t, t.TempDir(), "weft.lock", strings.Repeat("kernel\n", 1000)), "", func(int64) {})
	for _, c := range []struct {
		name string
		err  error
		code int
		text string
	}{
		{"a folder", folder, exitInput, "it is no plain file\nfix: name a whole image"},
		{"another file", other, exitInput, "weft.lock: it is no image of a disk: its first sector has no boot signature\nfix: name a whole image"},
		{"a file cut off", cut, exitInput, "unexpected EOF\nfix: name a whole image"},
		{"a disk that fails", &flash.ImageError{Path: "x", Err: &fs.PathError{Op: "read", Path: "x", Err: syscall.EIO}}, exitIO, "image x"},
		{"nothing to resume", &flash.Refusal{Device: "sdb", Reason: flash.ErrNotBegun, Fix: "leave out --resume"}, exitInput, "fix: leave out --resume"},
		{"a card pulled out", &flash.Refusal{Device: "sdb", Reason: flash.ErrPulled}, exitIO, "pulled out"},
	} {
		err := flashFault(c.err)
		if got := exitCode(err); got != c.code || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %d, want %d: %v", c.name, got, c.code, err)
		}
	}
	if !errors.Is(cut, io.ErrUnexpectedEOF) {
		t.Errorf("the cause is lost: %v", cut)
	}
}

func TestTheAnswerToAQuestionNobodyReadsHasItsOwnLine(t *testing.T) {
	var said strings.Builder
	f := &flasher{app: &app{in: strings.NewReader(""), err: &said}}
	if ok, err := f.ask(flash.Device{Name: "sdb", Serial: "123"}, ""); ok || exitCode(err) != exitInput || !strings.Contains(err.Error(), "fix: in a script: --yes-erase 123") {
		t.Errorf("%v, %v", ok, err)
	}
	if !strings.HasSuffix(said.String(), "type sdb: \n") {
		t.Errorf("%q", said.String())
	}
}
