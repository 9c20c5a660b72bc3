// Package boards says what weft's hardware targets are: it holds the type of
// a board file, reads such files strictly, and carries the boards weft ships.
//
// It does not fetch, check or build anything; package builder/plan combines a
// board with a profile, and builder/kmod checks the kernel it names.
package boards

import "slices"

// Version is what the weft key of every board file must say.
const Version = "board/v1"

// A Board is a hardware target: what a board file says.
type Board struct {
	// Weft names the kind and version of the file; always [Version].
	Weft string `yaml:"weft"`
	// Name is the board's name, the same as its file's without ".yaml".
	Name string `yaml:"name"`
	// Description says in one line which machines the board is.
	Description string `yaml:"description"`
	// Arch is the Debian architecture, amd64 or arm64.
	Arch string `yaml:"arch"`
	// Suite is the Debian suite that kernel, boot loader and firmware come
	// from, for example trixie.
	Suite string `yaml:"suite"`
	// Components are the archive areas of Suite that are read; main when empty.
	Components []string `yaml:"components,omitempty"`
	// Kernel says where the kernel comes from.
	Kernel Kernel `yaml:"kernel"`
	// Boot is what the initramfs carries to find the root file system.
	Boot Boot `yaml:"boot"`
	// Models are the machines that the board is, when a device tree describes
	// them. The drivers of what the trees name are found in the kernel, and a
	// device that must work and has none is a build error.
	Models []Model `yaml:"models,omitempty"`
	// Drivers are the modules, by name, that the root carries and init loads
	// when a device asks for one by its modalias. Names that a kernel does
	// not have are build errors. What the trees of the models name need not
	// be repeated here.
	Drivers []string `yaml:"drivers,omitempty"`
	// Firmware are the Debian packages searched for the firmware files that
	// the carried drivers name in their .modinfo. Files no carried driver
	// names are left out.
	Firmware []string `yaml:"firmware,omitempty"`
	// Consoles are the kernel's console= values in order; the last becomes
	// /dev/console, all of them get init's log.
	Consoles []string `yaml:"consoles"`
	// CommandLine holds further kernel arguments.
	CommandLine []string `yaml:"commandLine,omitempty"`
	// Disk is the layout of the image.
	Disk Disk `yaml:"disk"`
	// RaspberryPi is what the firmware of a Raspberry Pi is told; for the
	// loader raspberrypi.
	RaspberryPi *RaspberryPi `yaml:"raspberryPi,omitempty"`
	// QEMU is the virtual machine that stands in for the board.
	QEMU QEMU `yaml:"qemu"`
}

// ForRaspberryPi reports whether the board boots by the firmware of a Raspberry
// Pi.
func (b Board) ForRaspberryPi() bool { return slices.Contains(b.Disk.Loaders, RaspberryPiLoader) }

// Kernel names one source of the kernel; exactly one of Package, Deb and Dir
// is set.
type Kernel struct {
	// Package is a Debian package, usually a meta package such as
	// linux-image-cloud-amd64; its dependencies are followed to those that
	// hold the kernel.
	Package string `yaml:"package,omitempty"`
	// Suite is the suite that Package is taken from, such as
	// trixie-backports; the board's when empty.
	Suite string `yaml:"suite,omitempty"`
	// Deb is the path of a .deb file, relative to the board file.
	Deb string `yaml:"deb,omitempty"`
	// Dir is the path, relative to the board file, of a folder laid out like
	// an unpacked kernel package: boot/vmlinuz-*, boot/config-*,
	// usr/lib/modules/RELEASE.
	Dir string `yaml:"dir,omitempty"`
	// Signatures is keep or strip; keep when empty. A kernel verifies the
	// signature of every module that has one, even when it does not insist on
	// any; on an emulated processor that is a third of the boot. Without
	// signatures the kernel calls itself tainted (E), and Secure Boot's
	// lockdown would refuse the modules.
	Signatures string `yaml:"signatures,omitempty"`
}

// Boot is what the initramfs carries beside init.
type Boot struct {
	// Load are modules that init loads in every boot before it looks for the
	// root file system.
	Load []string `yaml:"load"`
	// Drivers are modules that init loads when a device asks for one by its
	// modalias: disks and the buses they sit on.
	Drivers []string `yaml:"drivers,omitempty"`
}

// Disk is the layout of an image.
type Disk struct {
	// Table is the partition table: gpt, or mbr for the Raspberry Pi, of which
	// not all read GPT.
	Table string `yaml:"table"`
	// Loaders are the firmware interfaces the disk boots from: uefi, bios, or
	// raspberrypi alone.
	Loaders []string `yaml:"loaders"`
	// Boot is the size of the boot partition (FAT), in MiB.
	Boot int `yaml:"boot"`
	// Slot is the size of each of the two root partitions, in MiB. The build
	// fails when the root does not fit.
	Slot int `yaml:"slot"`
	// Data is the size of the data partition in the image, in MiB, 32..128;
	// init grows it to the end of the disk at first boot.
	Data int `yaml:"data"`
}

// QEMU is the virtual machine that stands in for a board.
type QEMU struct {
	// Machine is the value of -machine, such as q35, virt or raspi3b.
	Machine string `yaml:"machine"`
	// CPU is the value of -cpu under software emulation.
	CPU string `yaml:"cpu"`
	// Memory is the guest's memory in MiB.
	Memory int `yaml:"memory"`
	// DeviceTree is the tree of the kernel's that the machine is given (-dtb),
	// such as broadcom/bcm2837-rpi-3-b.dtb; empty for machines that make
	// their own.
	DeviceTree string `yaml:"deviceTree,omitempty"`
	// Serial is the serial port, counted from 0, that carries the console.
	Serial int `yaml:"serial,omitempty"`
	// Disk is what the image is attached as: virtio, or sd for the slot of
	// a machine that has one; virtio when empty.
	Disk string `yaml:"disk,omitempty"`
	// Network is what the network card is: virtio, or usb for machines without
	// PCI; virtio when empty.
	Network string `yaml:"network,omitempty"`
	// Append holds kernel arguments that the virtual machine is given and that
	// are not in the image. It works where QEMU itself starts the kernel
	// (-append), as for raspi3b.
	Append []string `yaml:"append,omitempty"`
	// CommandLine holds kernel arguments that only a virtual machine needs.
	// They are part of the image, since the image does not know where it
	// will run; keep them harmless on real hardware.
	CommandLine []string `yaml:"commandLine,omitempty"`
}
