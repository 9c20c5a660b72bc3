package boards

import (
	"weft/document"
)

// Disks and Networks are the values of [QEMU.Disk] and [QEMU.Network].
var (
	Disks    = []string{VirtIO, SD}
	Networks = []string{VirtIO, USB}
)

// VirtIO is the value of [QEMU.Disk] and [QEMU.Network] that stands when they
// are empty.
const VirtIO = "virtio"

// maxSerial is the last serial port of a machine: raspi3b has two, virt four.
const maxSerial = 3

func checkQEMU(b Board, d *document.Document) document.Problems {
	var found document.Problems
	if !machinePattern.MatchString(b.QEMU.Machine) {
		found = append(found, d.Problem("qemu.machine", "qemu.machine must be a machine of QEMU").
			WithFix("write machine: q35, or virt for arm64"))
	}
	if !machinePattern.MatchString(b.QEMU.CPU) {
		found = append(found, d.Problem("qemu.cpu", "qemu.cpu must be a CPU of QEMU").
			WithFix("write cpu: max"))
	}
	if t := b.QEMU.DeviceTree; t != "" {
		found = append(found, checkTree(b, d, "qemu.deviceTree", t)...)
	}
	if b.QEMU.Serial != 0 {
		found = append(found, inRange(d, "qemu.serial", b.QEMU.Serial, 0, maxSerial, "as the number of a port", "")...)
	}
	if b.QEMU.Disk != "" {
		found = append(found, oneOf(d, "qemu.disk", b.QEMU.Disk, Disks)...)
	}
	if b.QEMU.Network != "" {
		found = append(found, oneOf(d, "qemu.network", b.QEMU.Network, Networks)...)
	}
	return append(found, inRange(d, "qemu.memory", b.QEMU.Memory, MinMemory, 1<<20, "MiB", "")...)
}
