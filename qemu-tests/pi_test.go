package qemutests

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weft/boards"
	"weft/builder/inspect"
	"weft/builder/rpi"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/vmtest"
)

// piProfile has a network over vxlan, and the module of WireGuard beside it,
// so that one boot proves both.
const piProfile = `weft: profile/v1
name: pi
description: vxlan, with WireGuard beside it
extends: vxlan
modules: [wireguard]
`

const (
	// cardSize is that of the card: QEMU wants a power of two.
	cardSize = 512 << 20
	// piPatience and piCPU bound a boot of the emulated Raspberry Pi, which
	// costs several times what one of another machine does.
	piPatience = 15 * time.Minute
	piCPU      = 6 * time.Minute
)

// card copies an image to a card and returns it, and what the firmware of a
// model would load from it, found in the copy.
func card(t *testing.T, image, model string) (path string, start rpi.Start, boot fs.FS) {
	t.Helper()
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "card.img")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, cardSize); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	i, err := inspect.Open(f, cardSize)
	if err != nil || len(i.Faults) > 0 {
		t.Fatalf("%v, faults %v", err, i.Faults)
	}
	for _, s := range i.Starts {
		if s.Model == model {
			// What QEMU has to be told (qemu.append) does not get past the boot
			// stage, so the slot is started without it.
			return path, s.WithoutStage(), i.Boot
		}
	}
	t.Fatalf("the image is not for %s", model)
	return "", rpi.Start{}, nil
}

// extract copies a file of a boot partition.
func extract(t *testing.T, boot fs.FS, name string) string {
	t.Helper()
	data, err := fs.ReadFile(boot, name)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), filepath.Base(name))
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestNightlyRaspberryPi3BootsWhatItsFirmwareWouldLoad boots kernel, initramfs,
// device tree and command line that config.txt names, byte for byte, from the
// card to a network that is ready.
func TestNightlyRaspberryPi3BootsWhatItsFirmwareWouldLoad(t *testing.T) {
	board, _, problems, err := boards.Find("rpi3")
	if err != nil || problems.Errors() != nil {
		t.Fatal(err, problems)
	}
	image, err := build(board.Name, profileFile(t, "pi", piProfile))
	if err != nil {
		t.Fatal(err)
	}
	disk, start, boot := card(t, image, "Raspberry Pi 3 Model B")
	v := vmtest.Start(t, vm.Config{
		Name: "pi", Arch: "arm64", Accel: vm.TCG, Machine: board.QEMU.Machine, CPU: board.QEMU.CPU, Firmware: vm.NoFirmware,
		Kernel: extract(t, boot, start.Kernel), Initrd: extract(t, boot, start.Initramfs), DeviceTree: extract(t, boot, start.DeviceTree),
		CommandLine: strings.Join(append([]string{start.CommandLine}, board.QEMU.Append...), " "),
		// Fewer than four CPUs QEMU refuses for this machine.
		CPUs: 4, Memory: board.QEMU.Memory, SerialPort: board.QEMU.Serial, NoReboot: true,
		Disks: []vm.Disk{{Path: disk}}, NICs: []vm.NIC{{}},
		CPULimit: piCPU, WallLimit: piPatience,
		// The drivers of what QEMU does not emulate complain.
		Faults: vm.FatalFaults(),
	})
	n := watch(t, v)
	ctx, cancel := context.WithTimeout(vmtest.Context(t), piPatience)
	defer cancel()
	if _, err := n.Expect(ctx, regexp.MustCompile(`weft: ready in \d+\.\d\d s`)); err != nil {
		t.Fatal(err)
	}
	t.Logf("ready with %.1f s of CPU", n.CPUSeconds())
	console := n.Console()
	for what, want := range map[string]string{
		"the root on the card":        `root \d+ ms: mmcblk0p2`,
		"the data partition":          `data partition \d+ ms: mmcblk0p4`,
		"the data partition grown":    `grow data \d+ ms: mmcblk0p4 is now 124 MiB`,
		"an address by DHCP over USB": `address usb0 \d+ ms: .*10\.0\.2\.15`,
		"vxlan":                       `module vxlan \d+ ms`,
		"WireGuard":                   `module wireguard \d+ ms`,
		"netd":                        `netd: starting`,
	} {
		if !regexp.MustCompile(want).MatchString(console) {
			t.Errorf("%s: the console has no %q", what, want)
		}
	}
	if strings.Contains(console, "weft: problem") {
		t.Error("there was a problem")
	}
}
