package qemutests

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/builder/devicetree"
	"weft/qemu-tests/vm"
)

// raspi4bQEMU is asked for the machine raspi4b, which Debian 12's does not have.
var raspi4bQEMU = flag.String("raspi4b", "qemu-system-aarch64", "the QEMU that emulates a Raspberry Pi 4; 9.0 or later")

// notEmulated are parts of a Raspberry Pi 4 whose drivers take hold of what QEMU
// 10 does not emulate, and stop the kernel or keep it from all else.
var notEmulated = []string{
	"soc/interrupt-controller@7ef00100", "soc/i2c@7ef04500", "soc/i2c@7ef09500", "soc/clock@7ef00000", // HDMI
	"soc/serial@7e201000/bluetooth", // is where the console is
	"soc/serial@7e215040",           // interrupts without end
}

// pi4 is the emulated Raspberry Pi 4 that starts kernel, initramfs and command
// line of the slot, and the device tree less what is not emulated. The card is a
// USB disk: the slot's regulators hang on the firmware, which QEMU answers with
// errors for.
func pi4(t *testing.T, card string, nic vm.NIC) vm.Config {
	t.Helper()
	start, boot := loaded(t, card, "Raspberry Pi 4 Model B")
	tree := extract(t, boot, start.DeviceTree)
	data, err := os.ReadFile(tree)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := devicetree.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	set := func(path, property, value string) {
		n := parsed.Find(path)
		if n == nil {
			t.Fatalf("the device tree has no %s", path)
		}
		n.Set(property, devicetree.Text(value))
	}
	for _, path := range notEmulated {
		set(path, "status", "disabled")
	}
	set("soc/usb@7e980000", "dr_mode", "host") // on the board, it is the socket for power
	if err := os.WriteFile(tree, parsed.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	return vm.Config{
		Name: "pi", Arch: "arm64", Accel: vm.TCG, QEMU: *raspi4bQEMU, Machine: "raspi4b", CPU: "cortex-a72", Firmware: vm.NoFirmware,
		Kernel: extract(t, boot, start.Kernel), Initrd: extract(t, boot, start.Initramfs), DeviceTree: tree,
		CommandLine: start.CommandLine + " console=ttyAMA0 clk_ignore_unused maxcpus=1 module_blacklist=bcm2835_wdt",
		// QEMU takes neither fewer CPUs nor another memory for this machine.
		CPUs: 4, Memory: 2048, NoReboot: true, NICs: []vm.NIC{nic},
		ExtraArgs: []string{
			"-drive", fmt.Sprintf("if=none,id=stick,format=raw,file=%s", card),
			"-device", "usb-storage,drive=stick",
		},
		CPULimit: piCPU, WallLimit: piPatience, Faults: vm.FatalFaults(),
	}
}

// A Raspberry Pi 4 boots its image's system from a USB disk and reaches pods. A
// QEMU before 9.0 cannot, and then that is all there is to see: one of 9.0 or
// later without the machine fails the test.
func TestNightlyRaspberryPi4ReachesPods(t *testing.T) {
	if machines := tool(t, "qemu-system-arm", *raspi4bQEMU, "-M", "help"); !strings.Contains(machines, "raspi4b") {
		version := tool(t, "qemu-system-arm", *raspi4bQEMU, "--version")
		var major int
		if _, err := fmt.Sscanf(version, "QEMU emulator version %d.", &major); err != nil || major >= 9 {
			t.Fatalf("no machine raspi4b in %s: %v", version, err)
		}
		t.Logf("%s is QEMU %d, which has no raspi4b: nothing was booted; make test-nightly RASPI4B_QEMU=PATH names another", filepath.Base(*raspi4bQEMU), major)
		return
	}
	reachesPods(t, "rpi4", "wireguard", "sda", "eth0", pi4)
}
