package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"weft/init/choose"
	"weft/init/modules"
)

func TestOnlyASlotOnTrialIsGuarded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "watchdog0")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]choose.Choice{"on trial": {Counted: true}, "good, last resort or not counted": {}} {
		device, err := guardTry(c, path)
		if err != nil || (device != nil) != c.Counted {
			t.Errorf("%s: %v, %v", name, device, err)
		}
		if device == nil {
			continue
		}
		if device.Within != tryWithin {
			t.Errorf("%s: within %s", name, device.Within)
		}
		// What is written into it stops it.
		if data, err := os.ReadFile(path); err != nil || len(data) > 0 {
			t.Errorf("%s: it was told %q, %v", name, data, err)
		}
		if err := device.Release(); err != nil {
			t.Error(err)
		}
	}
	if device, err := guardTry(choose.Choice{Counted: true}, filepath.Join(dir, "none")); device != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no watchdog: %v, %v", device, err)
	}
}

func TestAWatchdogThatHasAppearedIsNotWaitedFor(t *testing.T) {
	d := &devices{watchdogs: make(chan struct{}, 1)}
	d.watchdogs <- struct{}{}
	d.awaitWatchdog(time.Hour)
}

func TestABootFromUSBIsKnownByItsMode(t *testing.T) {
	for mode, want := range map[string]bool{
		"\x00\x00\x00\x01": false, "\x00\x00\x00\x04": true, "\x00\x00\x00\x05": true, "\x00\x00\x00\x06": false,
		"": false, "\x04": false, "\x00\x00\x00\x04\x00": false,
	} {
		if got := fromUSB([]byte(mode)); got != want {
			t.Errorf("%q: %v", mode, got)
		}
	}
}

func TestDriversThatAreHeldBackComeWithTheOthers(t *testing.T) {
	index, err := modules.NewIndex("kernel/drivers/usb/dwc2/dwc2.ko:\nkernel/drivers/mmc/host/card.ko:\n",
		"alias of:usb dwc2\nalias of:card card\n", "", "")
	if err != nil {
		t.Fatal(err)
	}
	loaded := make(chan string, 2)
	insert := func(path, _ string) (bool, error) {
		loaded <- filepath.Base(path)
		return true, nil // which is not logged
	}
	l := modules.NewLoader(index, insert, func(string) string { return "" }, func() time.Duration { return 0 }, 1)
	var r record
	d := &devices{n: r.node()}
	d.useBut(l, usbDrivers)
	d.serve("of:usb")
	d.serve("of:card")
	if got := <-loaded; got != "card.ko" {
		t.Errorf("%s is loaded first", got)
	}
	d.mu.Lock()
	waiting := slices.Clone(d.waiting)
	d.mu.Unlock()
	if !slices.Contains(waiting, "of:usb") {
		t.Errorf("waiting: %q", waiting)
	}
	d.use(l)
	if got := <-loaded; got != "dwc2.ko" {
		t.Errorf("then %s", got)
	}
	d.serve("of:usb") // is in use from now on
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) > 0 {
		t.Errorf("still waiting: %q", d.waiting)
	}
}
