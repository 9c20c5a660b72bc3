package qemutests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"weft/builder/disk"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/vmtest"
	"weft/slot"
)

// The boot stage of an emulated Raspberry Pi 3, whose CPUs wait in a spin table:
// the slot's kernel finds all four, and USB with the network behind it.
func TestNightlyBootStageStartsTheSlotOfARaspberryPi3(t *testing.T) {
	text, err := os.ReadFile("../boards/rpi3.yaml")
	if err != nil {
		t.Fatal(err)
	}
	staged3 := filepath.Join(t.TempDir(), "rpi3.yaml")
	if err := os.WriteFile(staged3, []byte(strings.Replace(string(text), "raspberryPi:\n", "raspberryPi:\n  bootStage: on\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	card, err := build(staged3, "vxlan")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(card, cardSize); err != nil {
		t.Fatal(err)
	}
	start, boot := loaded(t, card, "Raspberry Pi 3 Model B")
	// QEMU takes the start of this machine's watchdog for its end, so neither
	// kernel gets its driver.
	const barred = " module_blacklist=bcm2835_wdt"
	line := strings.TrimSpace(string(staged{boot: boot}.read(t, slot.A.CommandLine()))) + barred + "\n"
	from := filepath.Join(t.TempDir(), "cmdline.txt")
	if err := os.WriteFile(from, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "mtools", "mcopy", "-o", "-i", fmt.Sprintf("%s@@%d", card, partition(t, card, disk.Boot).Start), from, "::"+slot.A.CommandLine())

	cfg := pi(t, card, vm.NIC{})
	cfg.Kernel, cfg.Initrd, cfg.CommandLine = extract(t, boot, start.Kernel), extract(t, boot, start.Initramfs), start.CommandLine+barred
	n := watch(t, vmtest.Start(t, cfg))
	ctx, cancel := context.WithTimeout(vmtest.Context(t), piPatience)
	defer cancel()
	if _, err := n.Expect(ctx, regexp.MustCompile(`slot a \d+ ms: blessed`)); err != nil {
		t.Fatal(err)
	}
	piSays(t, n, map[string]string{
		"the boot stage":              `boot stage \d+ ms: slot a, try 1, 2 left`,
		"the root on the card":        `root \d+ ms: mmcblk0p2`,
		"an address by DHCP over USB": `dhcp usb0 \d+ ms: 10\.0\.2\.15`,
		"it is ready":                 `weft: ready in`,
	})
	// arch/arm64/kernel/smp.c says so of each CPU that does not come.
	if regexp.MustCompile(`CPU\d+: failed|failed to come online|cpu-release-addr`).MatchString(n.Console()) {
		t.Error("a CPU is missing")
	}
	n.Kill()
	blessedInGap(t, card)
}

// blessedInGap wants slot A of a card to be good.
func blessedInGap(t *testing.T, card string) {
	t.Helper()
	f, _ := openDisk(t, card)
	if r, err := slot.InGap.Load(f); err != nil || !r.A.Good {
		t.Errorf("the slot record is %+v, %v", r, err)
	}
}
