// Package rpi writes what the firmware of a Raspberry Pi reads, and proves
// from a finished disk what that firmware would do with it.
//
// [Config.Text] makes config.txt. [Find] follows the firmware through a boot
// partition, model by model: its own files, config.txt with filters, prefixes
// and includes, kernel, initramfs, device tree and command line; and [Prove]
// adds the partition table and the file system. No emulator runs that
// firmware, so what neither has met is not covered: the bits of the firmware
// itself, its EEPROM's settings, and the hardware.
//
// What the firmware does follows the Raspberry Pi documentation, "config.txt"
// and "Device trees, overlays and parameters", cited as [config.txt]. The
// package makes no file systems and fetches nothing.
package rpi

import "slices"

// A Machine is a model, as its firmware sees it.
type Machine struct {
	// Name is what its maker calls it.
	Name string
	// Tree is the file of the device tree that Linux has for it.
	Tree string
	// asks are the files that the firmware looks for when config.txt names no
	// tree: the name in Linux, and the one in Raspberry Pi's own kernels, which
	// comes first unless upstream_kernel is set.
	asks, vendor string
	// compatible is what the tree's root must name.
	compatible string
	// filters are the sections of config.txt that it reads [config.txt, "Model
	// filters"].
	filters []string
	// firmware are the files that it starts with; a Raspberry Pi 5 has all of
	// it in its EEPROM.
	firmware []string
	// wide says that it starts 64-bit kernels without being told; kernels are
	// the names it looks for in turn when config.txt has none.
	wide    bool
	kernels []string
	// hint says what is worth knowing before the model is switched on.
	hint string
}

// The files that models start with (Raspberry Pi documentation, "Boot folder
// contents").
var (
	firmware3 = []string{"bootcode.bin", "start.elf", "fixup.dat"}
	firmware4 = []string{"start4.elf", "fixup4.dat"}
	kernels8  = []string{"kernel8.img"}
	kernels5  = []string{"kernel_2712.img", "kernel8.img"}
)

// The revision of the chip of a Raspberry Pi 5 is no filter, and the firmware
// asks for the same tree on both: see the boot log in
// github.com/NumberOneGit/rpi5-uefi issue 8.
const steppingHint = "chips of stepping D0 need the line device_tree=bcm2712-d-rpi-5-b.dtb (raspberryPi.config)"

// machines are the models that boot a 64-bit kernel and have a tree in Linux.
var machines = []Machine{
	{Name: "Raspberry Pi 3 Model B", Tree: "bcm2837-rpi-3-b.dtb", vendor: "bcm2710-rpi-3-b.dtb", compatible: "raspberrypi,3-model-b",
		filters: []string{"pi3"}, firmware: firmware3, kernels: kernels8},
	{Name: "Raspberry Pi 3 Model B+", Tree: "bcm2837-rpi-3-b-plus.dtb", vendor: "bcm2710-rpi-3-b-plus.dtb", compatible: "raspberrypi,3-model-b-plus",
		filters: []string{"pi3", "pi3+"}, firmware: firmware3, kernels: kernels8},
	{Name: "Raspberry Pi 3 Model A+", Tree: "bcm2837-rpi-3-a-plus.dtb", vendor: "bcm2710-rpi-3-b-plus.dtb", compatible: "raspberrypi,3-model-a-plus",
		filters: []string{"pi3", "pi3+"}, firmware: firmware3, kernels: kernels8},
	{Name: "Raspberry Pi Zero 2 W", Tree: "bcm2837-rpi-zero-2-w.dtb", vendor: "bcm2710-rpi-zero-2-w.dtb", compatible: "raspberrypi,model-zero-2-w",
		filters: []string{"pi0", "pi0w", "pi02"}, firmware: firmware3, kernels: kernels8},
	{Name: "Raspberry Pi 4 Model B", Tree: "bcm2711-rpi-4-b.dtb", compatible: "raspberrypi,4-model-b",
		filters: []string{"pi4"}, firmware: firmware4, wide: true, kernels: kernels8},
	{Name: "Raspberry Pi 400", Tree: "bcm2711-rpi-400.dtb", compatible: "raspberrypi,400",
		filters: []string{"pi4", "pi400"}, firmware: firmware4, wide: true, kernels: kernels8},
	{Name: "Raspberry Pi Compute Module 4", Tree: "bcm2711-rpi-cm4-io.dtb", asks: "bcm2711-rpi-cm4.dtb", compatible: "raspberrypi,4-compute-module",
		filters: []string{"pi4", "cm4"}, firmware: firmware4, wide: true, kernels: kernels8},
	{Name: "Raspberry Pi 5", Tree: "bcm2712-rpi-5-b.dtb", compatible: "raspberrypi,5-model-b",
		filters: []string{"pi5"}, wide: true, kernels: kernels5},
	{Name: "Raspberry Pi 5 (stepping D0)", Tree: "bcm2712-d-rpi-5-b.dtb", asks: "bcm2712-rpi-5-b.dtb", compatible: "raspberrypi,5-model-b",
		filters: []string{"pi5"}, wide: true, kernels: kernels5, hint: steppingHint},
	{Name: "Raspberry Pi 500", Tree: "bcm2712-rpi-500.dtb", compatible: "raspberrypi,500",
		filters: []string{"pi5", "pi500"}, wide: true, kernels: kernels5},
	{Name: "Raspberry Pi Compute Module 5", Tree: "bcm2712-rpi-cm5-cm5io.dtb", compatible: "raspberrypi,5-compute-module",
		filters: []string{"pi5", "cm5"}, wide: true, kernels: kernels5},
}

// ByTree returns the machine of a device tree's file, and whether there is
// one.
func ByTree(tree string) (Machine, bool) {
	i := slices.IndexFunc(machines, func(m Machine) bool { return m.Tree == tree })
	if i < 0 {
		return Machine{}, false
	}
	return machines[i], true
}

// Machines are the models that the package knows.
func Machines() []Machine { return slices.Clone(machines) }

// FileNames are the names under which the firmware looks for the machine's
// tree on the boot partition. The first is the tree's own.
func (m Machine) FileNames() []string {
	if m.asks == "" || m.hint != "" {
		return []string{m.Tree}
	}
	return []string{m.Tree, m.asks}
}

// ask is the tree that the firmware looks for first.
func (m Machine) ask(upstream bool) string {
	switch {
	case m.vendor != "" && !upstream:
		return m.vendor
	case m.asks != "":
		return m.asks
	}
	return m.Tree
}
