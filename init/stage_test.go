package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weft/init/choose"
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
