package qemutests

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"weft/boards"
	"weft/builder/disk"
	"weft/builder/rpi"
	"weft/event"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/vmtest"
)

// virtualPi is a machine that stands in for a Raspberry Pi that QEMU does not
// emulate. Its device tree is QEMU's own, and its card a disk on a bus; what it
// starts has its console where QEMU's is.
func virtualPi(t *testing.T, board boards.Board, start rpi.Start, boot fs.FS, disk vm.Disk, nic vm.NIC) vm.Config {
	t.Helper()
	return vm.Config{
		Name: "pi", Arch: "arm64", Accel: vm.TCG, Machine: board.QEMU.Machine, CPU: board.QEMU.CPU, Memory: board.QEMU.Memory,
		Firmware: vm.NoFirmware,
		Kernel:   extract(t, boot, start.Kernel), Initrd: extract(t, boot, start.Initramfs),
		CommandLine: start.CommandLine + " console=ttyAMA0",
		Disks:       []vm.Disk{disk}, NICs: []vm.NIC{nic},
	}
}

func TestRaspberryPi4sImageComesUpOnVirt(t *testing.T) {
	comesUpOnVirt(t, "rpi4", "Raspberry Pi 4 Model B", "vxlan", "usb")
}

// It has another kernel, that of trixie-backports.
func TestNightlyRaspberryPi5sImageComesUpOnVirt(t *testing.T) {
	comesUpOnVirt(t, "rpi5", "Raspberry Pi 5", "wireguard", "nvme")
}

// comesUpOnVirt starts on the machine virt what config.txt of the image for a
// Raspberry Pi names, slot A: its data partition reaches the end of the disk,
// its pod and that of an x86-64 machine reach each other, and all is sound when
// it is off. Then it is started once more, from a disk on another bus that the
// model has, and is the same node.
func comesUpOnVirt(t *testing.T, name, model, profile, bus string) {
	board := shipped(t, name)
	card, pcConfig := piAndPC(t, name, profile)
	was := partition(t, card, disk.Data)
	first, boot := loaded(t, card, model)
	segment, l, frames := piLab(t)
	nic := vm.NIC{Segment: segment}
	pcConfig.NICs = []vm.NIC{nic}
	vms := vmtest.Cluster(t, segment, virtualPi(t, board, first, boot, vm.Disk{Path: card}, nic), pcConfig).VMs
	pi, pc := watch(t, vms[0]), watch(t, vms[1])
	id := pi.identity()
	pi.ready()
	t.Logf("ready with %.1f s of CPU", pi.CPUSeconds())
	pi.reaches(1)
	pc.ready()
	pc.reaches(1)
	if !heard(l, "DISCOVER", 1) {
		t.Errorf("nobody asked for an address: %v", l.Seen())
	}
	pi.powerOff()
	pi.noProblems()
	pc.powerOff()
	pc.noProblems()
	bothSent(t, frames, profile)

	grownCard(t, card)
	soundData(t, card)
	soundBoot(t, card)
	if now := partition(t, card, disk.Data); now.Start != was.Start || now.Size <= was.Size {
		t.Errorf("the data partition was %d long at %d and is %d long at %d", was.Size, was.Start, now.Size, now.Start)
	} else if image := readDisk(t, card); image.Data == nil || !image.Data.Clean || image.Data.Size != now.Size {
		t.Errorf("the file system on %d bytes is %+v", now.Size, image.Data)
	}

	again := start(t, virtualPi(t, board, first, boot, vm.Disk{Path: card, Bus: bus}, nic))
	if now := again.identity(); now.UUID != id.UUID || now.Hostname != id.Hostname || now.MachineID != id.MachineID {
		t.Errorf("the node is %+v, was %+v", now, id)
	}
	again.ready()
	if slices.ContainsFunc(again.Events(), func(e event.Event) bool { return strings.HasPrefix(e.Name, "grow") }) {
		t.Error("it grows again")
	}
	again.Kill()
}
