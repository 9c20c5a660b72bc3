package boards

// A Model is one machine that a device tree describes.
type Model struct {
	// Name is what its maker calls it, such as Raspberry Pi 4 Model B.
	Name string `yaml:"name"`
	// DeviceTrees are the trees of the kernel's that describe it, as the
	// kernel's package has them: broadcom/bcm2711-rpi-4-b.dtb. There are
	// several when revisions differ; the first is the one to take when the
	// revision is not known.
	DeviceTrees []string `yaml:"deviceTrees"`
	// Devices are those that must work: sd, ethernet, usb, nvme. The build
	// fails when the kernel has no driver for one of them, or for something
	// it depends on.
	Devices []string `yaml:"devices"`
	// Filter is the section of config.txt that only this model reads, without
	// its brackets, such as pi4; for the Raspberry Pi.
	Filter string `yaml:"filter,omitempty"`
	// Firmware are the files of the firmware package that the model boots
	// with, such as start4.elf and fixup4.dat. A Raspberry Pi 5 has all of it
	// in its EEPROM.
	Firmware []string `yaml:"firmware,omitempty"`
}

// The values of [Model.Devices].
const (
	// SD is a slot for SD cards, or the eMMC soldered in its place.
	SD = "sd"
	// Ethernet is the wired network socket.
	Ethernet = "ethernet"
	// USB are the USB sockets, and disks in them.
	USB = "usb"
	// NVMe is a disk behind PCI Express.
	NVMe = "nvme"
)

// RaspberryPi is what the firmware of a Raspberry Pi is told, by config.txt,
// and what is changed in the device trees it hands over.
// What is not set is left to the firmware.
type RaspberryPi struct {
	// Package is the Debian package that holds the firmware: raspi-firmware.
	Package string `yaml:"package"`
	// Serial is whether the serial console on pins 8 and 10 of the header
	// (on a Raspberry Pi 5, the socket between the two of HDMI) is on.
	Serial bool `yaml:"serial"`
	// HDMI is on to send a picture though no screen was found, off to send
	// none, or auto; auto when empty. A Raspberry Pi 5 always decides itself.
	HDMI string `yaml:"hdmi,omitempty"`
	// GPUMemory is the memory that the graphics processor takes, in MiB; a
	// Raspberry Pi 5 takes what it needs and ignores this.
	GPUMemory int `yaml:"gpuMemory,omitempty"`
	// Fan is a fan that a pin of the header switches. It is written into the
	// device trees that the image carries. The socket that a Raspberry Pi 5
	// has for a fan is not in Linux' tree of it.
	Fan *Fan `yaml:"fan,omitempty"`
	// PCIe is the PCI Express socket that NVMe disks sit on. It is on by
	// itself; its speed is written into the device trees.
	PCIe *PCIe `yaml:"pcie,omitempty"`
	// BootStage is on to have a small system start first, which chooses the
	// slot, counts its tries and starts its kernel, so that a slot that does
	// not come up loses to the other; off to have the firmware start slot A.
	// Off when empty: it costs the start of a second kernel, and no hardware
	// has been seen to do it.
	BootStage string `yaml:"bootStage,omitempty"`
	// USBBoot lets a Raspberry Pi 3 boot from USB disks. It burns a fuse in
	// the chip at the first boot, which cannot be undone. Others do not need
	// it: there it is a setting of the EEPROM.
	USBBoot bool `yaml:"usbBoot,omitempty"`
	// Overlays change the device tree.
	Overlays []Overlay `yaml:"overlays,omitempty"`
	// Config are further lines for the end of config.txt.
	Config []string `yaml:"config,omitempty"`
}

// The values of [RaspberryPi.HDMI].
const (
	HDMIAuto = "auto"
	HDMIOn   = "on"
	HDMIOff  = "off"
)

// The values of [RaspberryPi.BootStage].
const (
	BootStageOn  = "on"
	BootStageOff = "off"
)

// Staged reports whether the boot stage chooses the slot.
func (r RaspberryPi) Staged() bool { return r.BootStage == BootStageOn }

// An Overlay is a change to the device tree that the firmware applies.
type Overlay struct {
	// Name is its file's without .dtbo, such as gpio-fan.
	Name string `yaml:"name"`
	// File is the path of the .dtbo file, relative to the board file; the one
	// of the firmware package when empty. An overlay must fit the trees of
	// the kernel, which those made for Raspberry Pi OS often do not.
	File string `yaml:"file,omitempty"`
	// Parameters are what it is given, such as gpiopin=14.
	Parameters []string `yaml:"parameters,omitempty"`
}

// A Fan is switched by a pin of the header.
type Fan struct {
	// GPIO is the number of the pin, as the chip counts.
	GPIO int `yaml:"gpio"`
	// Temperature is the one it turns on at, in degrees Celsius.
	Temperature int `yaml:"temperature"`
}

// PCIe is a PCI Express socket.
type PCIe struct {
	// Generation is the speed: 1, 2 or 3. The maker vouches for 2.
	Generation int `yaml:"generation"`
}
