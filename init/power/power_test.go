package power

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// input makes an input event.
func input(kind, code uint16, value uint32) []byte {
	b := make([]byte, inputEvent)
	binary.LittleEndian.PutUint16(b[16:], kind)
	binary.LittleEndian.PutUint16(b[18:], code)
	binary.LittleEndian.PutUint32(b[20:], value)
	return b
}

func TestPressed(t *testing.T) {
	for name, c := range map[string]struct {
		raw  []byte
		want bool
	}{
		"pressed":     {input(evKey, keyPower, 1), true},
		"released":    {input(evKey, keyPower, 0), false},
		"held":        {input(evKey, keyPower, 2), false},
		"another key": {input(evKey, 30, 1), false},
		"sync":        {input(0, 0, 0), false},
		"torn":        {input(evKey, keyPower, 1)[:20], false},
		"nothing":     {nil, false},
	} {
		if got := Pressed(c.raw); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPowerKeysAreToldByTheirCapabilities(t *testing.T) {
	for keys, want := range map[string]bool{
		"10000000000000 0\n": true, // an ACPI power button
		"402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe\n": true, // a keyboard: word 1, bit 52
		"1f0000 0 0 0 0\n": false, // a mouse
		"0\n":              false,
		"":                 false,
		"zz 0\n":           false,
	} {
		if got := HasPowerKey(keys); got != want {
			t.Errorf("%q: %v, want %v", keys, got, want)
		}
	}
}

func TestButtonsAreFound(t *testing.T) {
	sys := t.TempDir()
	for dev, keys := range map[string]string{"event0": "10000000000000 0\n", "event1": "1f0000 0 0 0 0\n"} {
		dir := filepath.Join(sys, "class/input", dev, "device/capabilities")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "key"), []byte(keys), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := Buttons(sys); !slices.Equal(got, []string{"event0"}) {
		t.Errorf("got %q", got)
	}
}

func TestWatchCallsForEachPress(t *testing.T) {
	// A named pipe stands in for the device.
	path := filepath.Join(t.TempDir(), "event0")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	pressed := make(chan struct{}, 8)
	done := make(chan error, 1)
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	go func() { done <- Watch(ctx, path, func() { pressed <- struct{}{} }) }()
	stream := bytes.Join([][]byte{input(evKey, keyPower, 1), input(0, 0, 0), input(evKey, keyPower, 0), input(evKey, keyPower, 1)}, nil)
	if _, err := w.Write(stream); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case <-pressed:
		case <-time.After(20 * time.Second):
			t.Fatal("a press was not told")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := Watch(t.Context(), path+"x", nil); err == nil {
		t.Error("no error for a device that is not there")
	}
}

func TestEverySignalHasItsEnd(t *testing.T) {
	for sig, want := range map[unix.Signal]string{unix.SIGINT: "reboot", unix.SIGTERM: "reboot", unix.SIGPWR: "power off", unix.SIGUSR1: "halt", unix.SIGUSR2: "power off"} {
		if got := Signals[sig]; got.Action.String() != want || got.Why == "" {
			t.Errorf("%v: %v (%s)", sig, got.Action, got.Why)
		}
	}
}
