package vm

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"weft/qemu-tests/vm/hub"
)

// Firmware is what a guest starts with when no kernel is given directly.
type Firmware string

// The firmware of a guest.
const (
	// BIOS is SeaBIOS, which QEMU carries; amd64 only.
	BIOS Firmware = "bios"
	// UEFI is OVMF or AAVMF, a package of the distribution.
	UEFI Firmware = "uefi"
	// NoFirmware is none: QEMU starts Kernel itself.
	NoFirmware Firmware = "none"
)

// Accel is how a guest's instructions are run.
type Accel string

// The accelerators.
const (
	// Auto takes the host's accelerator when a probe guest really runs under
	// it, software emulation otherwise, and changes to software emulation
	// when the guest itself makes no progress; see [Prober].
	Auto Accel = "auto"
	// KVM is the accelerator of Linux hosts.
	KVM Accel = "kvm"
	// HVF is the accelerator of macOS hosts.
	HVF Accel = "hvf"
	// TCG is QEMU's software emulation; it always works.
	TCG Accel = "tcg"
)

// Config is what a guest is. The zero value of a field is its default.
type Config struct {
	// Name is the guest's name: letters, digits, '-', '.' and '_'. MAC
	// addresses and the machine's UUID derive from it, so guests that meet
	// need different names. Default "vm".
	Name string
	// Arch is the Debian architecture, amd64 (default) or arm64.
	Arch string
	// Firmware is BIOS (default on amd64), UEFI (default on arm64) or
	// NoFirmware.
	Firmware Firmware
	// Disks are the disks, in boot order.
	Disks []Disk
	// Kernel, Initrd and CommandLine start a Linux kernel directly. Initrd
	// and CommandLine need Kernel.
	Kernel, Initrd, CommandLine string
	// DeviceTree is the device tree that the kernel is given; for machines
	// that make none themselves.
	DeviceTree string
	// SerialPort is the serial port, counted from 0, that is the console.
	// Those before it lead nowhere.
	SerialPort int

	// Machine is the value of -machine; default q35 on amd64, virt on arm64.
	Machine string
	// CPU is the value of -cpu under software emulation; under KVM and HVF
	// it is always host. Default "max,-cx16" on amd64, cortex-a72 on arm64.
	CPU string
	// CPUs is the number of processors, 1 (default) to 64. Under software
	// emulation more than one costs time and never helps.
	CPUs int
	// Memory is the guest's memory in MiB, 32 to 65536; default 512.
	Memory int
	// NICs are the network cards, in order.
	NICs []NIC
	// SMBIOS are values of -smbios, such as "type=1,serial=X"; amd64 only.
	SMBIOS []string
	// Watchdog adds an Intel 6300ESB watchdog that resets the guest.
	Watchdog bool
	// NoReboot makes a reboot of the guest end QEMU.
	NoReboot bool
	// DebugExit adds the device at port 0xf4 by which an amd64 guest ends
	// QEMU with a number; see [Exit.Guest].
	DebugExit bool
	// ExtraArgs are appended to QEMU's arguments as they are.
	ExtraArgs []string

	// Accel is how the guest runs; default Auto.
	Accel Accel
	// Prober answers Auto; default a Prober with its answers cached in the
	// user's cache directory.
	Prober *Prober
	// QEMU is the path of the QEMU program; default the one of Arch in PATH.
	QEMU string

	// Console gets every byte the guest writes to its first serial port, as
	// it comes. It must not block for long: a guest waits for its console.
	Console io.Writer
	// Log gets a line about what the package decided; default none.
	Log *slog.Logger
	// StateDir keeps the guest's UEFI variables from one start to the next.
	// It is created when missing. Default a fresh directory, removed at the
	// end.
	StateDir string

	// CPULimit ends the guest when QEMU has used so much CPU time: the limit
	// that means the same on a busy and on an idle host. 0 is no limit.
	CPULimit time.Duration
	// WallLimit ends the guest after so much time, as a wide net below
	// CPULimit. 0 is no limit.
	WallLimit time.Duration
	// StallLimit is how long a guest under an accelerator that Auto chose
	// may stay within its firmware, by having printed at most 512 bytes and
	// sent no event, before it is restarted under TCG; default 30 s.
	StallLimit time.Duration
	// Faults are the console lines that end the guest. Default (nil)
	// [DefaultFaults]; empty but not nil for none.
	Faults []FaultPattern
}

// A Disk is a raw disk image.
type Disk struct {
	// Path is the image.
	Path string
	// Throwaway leaves the image as it is: what the guest writes is lost
	// when QEMU ends. Several guests can share such an image.
	Throwaway bool
	// Bus is how the guest sees the disk: virtio (default), sata, nvme,
	// scsi or usb; or sd, the slot for a card that machines without PCI
	// have. QEMU wants cards to have a power of two as size.
	Bus string
}

// A NIC is a network card: on Segment, or, with none, on a user-mode uplink
// of its own with DHCP, DNS and the host's network behind it.
type NIC struct {
	// Segment is the segment the card is plugged into; nil is the uplink.
	Segment *hub.Segment
	// MAC is the card's address; default derived from the guest's name and
	// the card's place.
	MAC net.HardwareAddr
	// Model is the device; default virtio-net-pci, or usb-net on machines
	// without PCI.
	Model string
	// Forwards are ports of the host's loopback that lead to ports of the
	// guest; uplink only.
	Forwards []Forward
	// BootROM lets the firmware boot from the card, which costs time.
	BootROM bool
}

// A Forward leads from a port of the host's loopback to a port of the guest.
type Forward struct {
	// Protocol is tcp (default) or udp.
	Protocol string
	// Host and Guest are ports, 1 to 65535.
	Host, Guest int
}

// MissingError says that a program or file the guest needs is not installed.
type MissingError struct {
	// What is missing and Where it was looked for.
	What, Where string
	// Fix is what to do.
	Fix string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s not found in %s\nfix: %s", e.What, e.Where, e.Fix)
}

// withDefaults returns c with every default filled in, or all that is wrong
// with it at once.
func (c Config) withDefaults() (Config, arch, error) {
	if c.Arch == "" {
		c.Arch = "amd64"
	}
	a, ok := arches[c.Arch]
	if !ok {
		return c, a, fmt.Errorf("vm %s: architecture %q is not known; use amd64 or arm64", c.Name, c.Arch)
	}
	setDefault(&c.Name, "vm")
	setDefault(&c.Firmware, a.firmware)
	setDefault(&c.Machine, a.machine)
	setDefault(&c.CPU, a.cpu)
	setDefault(&c.CPUs, 1)
	setDefault(&c.Memory, 512)
	setDefault(&c.Accel, Auto)
	setDefault(&c.StallLimit, 30*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Faults == nil {
		c.Faults = DefaultFaults()
	}
	c.Disks = append([]Disk(nil), c.Disks...)
	for i := range c.Disks {
		setDefault(&c.Disks[i].Bus, c.bus().disk)
	}
	c.NICs = append([]NIC(nil), c.NICs...)
	for i := range c.NICs {
		setDefault(&c.NICs[i].Model, c.bus().nic)
		if c.NICs[i].MAC == nil {
			c.NICs[i].MAC = MACFor(c.Name, i)
		}
		c.NICs[i].Forwards = append([]Forward(nil), c.NICs[i].Forwards...)
		for j := range c.NICs[i].Forwards {
			setDefault(&c.NICs[i].Forwards[j].Protocol, "tcp")
		}
	}
	return c, a, c.check()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// The memory of a machine, in MiB.
const (
	MinMemory = 32
	MaxMemory = 65536
)

// check lists everything wrong with a configuration whose defaults are set.
func (c Config) check() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("vm %s: "+format, append([]any{c.Name}, args...)...))
	}
	if strings.Trim(c.Name, nameBytes) != "" || len(c.Name) > 64 {
		wrong("the name may hold up to 64 letters, digits, '-', '.' and '_'")
	}
	switch c.Firmware {
	case BIOS, UEFI:
	case NoFirmware:
		if c.Kernel == "" {
			wrong("without firmware there must be a kernel")
		}
	default:
		wrong("firmware %q is not known; use bios, uefi or none", c.Firmware)
	}
	if c.Arch != "amd64" {
		if c.Firmware == BIOS {
			wrong("%s has no BIOS; use uefi", c.Arch)
		}
		if c.DebugExit {
			wrong("%s has no isa-debug-exit device", c.Arch)
		}
	}
	switch c.Accel {
	case Auto, TCG:
	case KVM, HVF:
		if c.Arch != runtime.GOARCH {
			wrong("%s runs guests of this host's architecture, %s, and this one is for %s; use auto or tcg", c.Accel, runtime.GOARCH, c.Arch)
		}
	default:
		wrong("accelerator %q is not known; use auto, kvm, hvf or tcg", c.Accel)
	}
	if c.CPUs < 1 || c.CPUs > 64 {
		wrong("%d processors; use 1 to 64", c.CPUs)
	}
	if c.Memory < MinMemory || c.Memory > MaxMemory {
		wrong("%d MiB of memory; use %d to %d", c.Memory, MinMemory, MaxMemory)
	}
	if c.Kernel == "" && (c.Initrd != "" || c.CommandLine != "") {
		wrong("an initrd or a kernel command line needs a kernel")
	}
	if c.DeviceTree != "" && c.Kernel == "" {
		wrong("a device tree needs a kernel")
	}
	if c.SerialPort < 0 || c.SerialPort > 3 {
		wrong("serial port %d; use 0 to 3", c.SerialPort)
	}
	for _, path := range []string{c.Kernel, c.Initrd, c.DeviceTree} {
		if path != "" {
			if _, err := os.Stat(path); err != nil {
				wrong("%w", err)
			}
		}
	}
	for _, d := range c.Disks {
		if _, ok := buses[d.Bus]; !ok {
			wrong("disk %s: bus %q is not known; use virtio, sata, nvme, scsi, usb or sd", d.Path, d.Bus)
		} else if (d.Bus == "sd") == c.bus().pci {
			wrong("disk %s: machine %s has no bus %s; use %s", d.Path, c.Machine, d.Bus, c.bus().disk)
		}
		if _, err := os.Stat(d.Path); err != nil {
			wrong("disk: %w", err)
		}
	}
	errs = append(errs, c.checkNICs()...)
	return errors.Join(errs...)
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"

func (c Config) checkNICs() []error {
	var errs []error
	seen := map[string]int{}
	for i, n := range c.NICs {
		wrong := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("vm %s: network card %d: "+format, append([]any{c.Name, i}, args...)...))
		}
		if len(n.MAC) != 6 || n.MAC[0]&1 != 0 {
			wrong("%s is not the address of one card; use six bytes, the first even", n.MAC)
		}
		if j, ok := seen[n.MAC.String()]; ok {
			wrong("has the address %s of card %d", n.MAC, j)
		}
		seen[n.MAC.String()] = i
		if n.Segment != nil && len(n.Forwards) > 0 {
			wrong("forwards need the uplink, not a segment")
		}
		for _, f := range n.Forwards {
			if f.Protocol != "tcp" && f.Protocol != "udp" || f.Host < 1 || f.Host > 65535 || f.Guest < 1 || f.Guest > 65535 {
				wrong("forward %s %d to %d: use tcp or udp and ports 1 to 65535", f.Protocol, f.Host, f.Guest)
			}
		}
	}
	return errs
}
