package qemutests

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weft/builder/inspect"
	"weft/event"
	"weft/qemu-tests/vm"
	"weft/slot"
)

// readyLine is the one line that says that a node is ready.
var readyLine = regexp.MustCompile(`(?m)^weft: ready in \d+\.\d\d s\r?$`)

func TestBIOSBootReachesReadyAndIsBlessed(t *testing.T) {
	t.Parallel()
	image, _ := bootsOnce(t, machine(t, buildOf(t, vxlan), vm.BIOS))
	if a := image.Slots.A; !a.Good {
		t.Errorf("slot A of the boot record is not good: %+v", a)
	}
	// The record is the one that counts: systemd-boot has not run.
	if want := []string{slot.NewEntry(slot.A).File()}; !slices.Equal(image.Entries(), want) {
		t.Errorf("boot entries are %q, want %q", image.Entries(), want)
	}
}

func TestUEFIBootReachesReadyAndIsBlessed(t *testing.T) {
	t.Parallel()
	image, _ := bootsOnce(t, machine(t, buildOf(t, vxlan), vm.UEFI))
	blessedEntry(t, image)
}

// On a machine that is not of the host's kind: firmware, boot loader, kernel
// and programs for arm64. Its second boot starts from what the first one left.
func TestArm64BootReachesReadyAndStaysItself(t *testing.T) {
	t.Parallel()
	cfg := machine(t, buildOf(t, arm64), vm.UEFI)
	image, first := bootsOnce(t, cfg)
	blessedEntry(t, image)
	n := start(t, cfg)
	if id := n.identity(); id.UUID != first.UUID || id.Hostname != first.Hostname || id.MachineID != first.MachineID {
		t.Errorf("the node is %+v, was %+v", id, first)
	}
	n.Kill()
	blessedEntry(t, readDisk(t, diskOf(cfg)))
}

// blessedEntry checks that systemd-boot counts no tries of slot A any more.
func blessedEntry(t *testing.T, image *inspect.Image) {
	t.Helper()
	if want := []string{"weft-a.conf"}; !slices.Equal(image.Entries(), want) {
		t.Errorf("boot entries are %q, want %q", image.Entries(), want)
	}
}

// bootsOnce boots a fresh node, checks what it says of itself, powers it off,
// checks that its disk is clean and returns what is on it, and who the node is.
func bootsOnce(t *testing.T, cfg vm.Config) (*inspect.Image, event.Identified) {
	t.Helper()
	n := start(t, cfg)
	id := n.identity()
	e := n.ready()
	t.Logf("ready after %.2f s, with %.1f s of CPU", e.Uptime, n.CPUSeconds())
	held := n.held()
	t.Logf("resident, in bytes: %v", held.Resident)
	n.blessed()
	n.powerOff()
	n.noProblems()

	if lines := readyLine.FindAllString(n.Console(), -1); len(lines) != 1 {
		t.Errorf("the console has %d lines like %q, want 1: %q", len(lines), "weft: ready in 1.23 s", lines)
	}
	events := slices.DeleteFunc(n.Events(), func(e event.Event) bool { return e.Kind != event.Ready })
	if len(events) != 1 {
		t.Errorf("%d ready events, want 1", len(events))
	}
	cleanDisk(t, diskOf(cfg))
	image := readDisk(t, diskOf(cfg))
	holdsContract(t, image, held)
	return image, id
}

// holdsContract checks that the kernel holds everything that the contract in
// the image asks for.
func holdsContract(t *testing.T, image *inspect.Image, held event.Held) {
	t.Helper()
	builtin, err := fs.ReadFile(image.Root, "usr/lib/modules/"+image.System.Kernel+"/modules.builtin")
	if err != nil {
		t.Fatal(err)
	}
	if len(image.Contract.Modules) == 0 || len(image.Contract.Sysctls) == 0 {
		t.Fatal("the contract is empty")
	}
	for _, need := range image.Contract.Modules {
		if !slices.Contains(held.Modules, need.Name) && !strings.Contains(string(builtin), "/"+need.Name+".ko") {
			t.Errorf("module %s is not loaded; loaded are %s", need.Name, strings.Join(held.Modules, " "))
		}
	}
	for _, need := range image.Contract.Sysctls {
		if got := held.Sysctls[need.Name]; got != need.Value {
			t.Errorf("%s is %q, want %q: %s", need.Name, got, need.Value, need.Reason)
		}
	}
}

func TestBootThatNeverGetsReadyCostsOneTry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		firmware vm.Firmware
		check    func(t *testing.T, image *inspect.Image)
	}{
		{vm.BIOS, func(t *testing.T, image *inspect.Image) {
			if a := image.Slots.A; a.Good || a.TriesLeft != slot.DefaultTries-1 || a.TriesDone != 1 {
				t.Errorf("slot A of the boot record is %+v, want %d tries left and 1 done", a, slot.DefaultTries-1)
			}
		}},
		{vm.UEFI, func(t *testing.T, image *inspect.Image) {
			if want := []string{"weft-a+2-1.conf"}; !slices.Equal(image.Entries(), want) {
				t.Errorf("boot entries are %q, want %q", image.Entries(), want)
			}
		}},
	} {
		t.Run(string(c.firmware), func(t *testing.T) {
			t.Parallel()
			cfg := machine(t, buildOf(t, vxlan), c.firmware)
			n := start(t, cfg)
			n.step("root")
			n.Kill()
			c.check(t, readDisk(t, diskOf(cfg)))
		})
	}
}
