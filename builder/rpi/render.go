package rpi

import (
	"errors"
	"fmt"
	"strings"

	"weft/boards"
	"weft/slot"
)

// A Config is what config.txt says.
type Config struct {
	// Prefix is the folder, with a slash at its end, of the kernel and of all
	// that belongs to it: initramfs, device trees and command line. To boot
	// something else, another prefix is all that changes.
	Prefix string
	// Kernel and Initramfs are file names in it.
	Kernel, Initramfs string
	// Board is what the board asks for.
	Board boards.RaspberryPi
}

// CommandLineFile is the command line's file below [Config.Prefix].
const CommandLineFile = "cmdline.txt"

// StagePrefix is [Config.Prefix] of the boot stage.
const StagePrefix = "weft/boot/"

// SlotPrefix is [Config.Prefix] of a slot that the firmware itself starts.
func SlotPrefix(n slot.Name) string { return "weft/" + string(n) + "/" }

// StageArguments are what the kernel of the boot stage is told beside what
// every kernel is. One CPU: those of a Raspberry Pi up to 4 that have left the
// spin table of the firmware cannot be handed to the next kernel. And a
// watchdog that the boot stage has started goes on while the slot's kernel
// starts; drivers stop it otherwise (linux drivers/watchdog/watchdog_core.c,
// stop_on_reboot).
const StageArguments = oneCPU + " watchdog.stop_on_reboot=0"

const oneCPU = "nr_cpus=1"

// MemoryCgroup are the kernel arguments that turn the memory controller on,
// which K3s and RKE2 need. The kernels of Raspberry Pi OS have it off; those
// of Debian have it on and ignore them.
const MemoryCgroup = "cgroup_enable=memory cgroup_memory=1"

// Text is config.txt.
func (c Config) Text() (string, error) {
	var b strings.Builder
	b.WriteString(`# Read by the firmware before Linux starts. weft wrote it; what you change here
# stays until the card is written anew. The file ends lines at 98 characters.
[all]
# A 64-bit kernel of Debian, whose device trees are named as Linux names them.
arm_64bit=1
upstream_kernel=1
# Where kernel, initramfs, device trees and cmdline.txt are.
`)
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if c.Prefix == StagePrefix {
		line("# They are the boot stage's, which chooses slot A or B and starts it. The line\n# os_prefix=%s starts slot A without it.", SlotPrefix(slot.A))
	}
	line("os_prefix=%s", c.Prefix)
	line("kernel=%s", c.Kernel)
	line("initramfs %s followkernel", c.Initramfs)
	c.hardware(line)
	if len(c.Board.Config) > 0 {
		line("\n# From the board file.\n[all]")
		for _, text := range c.Board.Config {
			line("%s", text)
		}
	}
	var long []error
	for text := range strings.Lines(b.String()) {
		if text = strings.TrimSuffix(text, "\n"); len(text) > lineLimit && text[0] != '#' {
			long = append(long, fmt.Errorf("config.txt: the firmware reads %d characters of a line and %.40q has %d", lineLimit, text, len(text)))
		}
	}
	return b.String(), errors.Join(long...)
}

// hardware writes the lines of the board's typed fields. A fan and the speed
// of PCI Express are in the device trees: those of Linux do not know the
// parameters that config.txt has for them.
func (c Config) hardware(line func(string, ...any)) {
	p := c.Board
	if p.Serial {
		line("enable_uart=1")
	}
	if p.GPUMemory > 0 {
		line("gpu_mem=%d", p.GPUMemory)
	}
	switch p.HDMI {
	case boards.HDMIOn:
		line("hdmi_force_hotplug=1")
	case boards.HDMIOff:
		line("hdmi_ignore_hotplug=1")
	}
	for _, o := range p.Overlays {
		line("dtoverlay=%s", strings.Join(append([]string{o.Name}, o.Parameters...), ","))
		// What follows belongs to the tree again.
		line("dtoverlay=")
	}
	if p.USBBoot {
		line("[pi3]\n# Burns a fuse: this Raspberry Pi boots from USB from now on.\nprogram_usb_boot_mode=1\n[all]")
	}
}
