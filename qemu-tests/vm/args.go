package vm

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"weft/event"
)

// buses says how a disk of each bus is attached: its device, and the
// controller it needs.
var buses = map[string]struct{ device, controller string }{
	"virtio": {device: "virtio-blk-pci"},
	"nvme":   {device: "nvme,serial=weft%d"},
	"sata":   {device: "ide-hd,bus=sata.%d", controller: "ahci,id=sata"},
	"scsi":   {device: "scsi-hd,bus=scsi.0", controller: "virtio-scsi-pci,id=scsi"},
	"usb":    {device: "usb-storage,bus=usb.0", controller: "qemu-xhci,id=usb"},
	"sd":     {}, // of the machine itself
}

// A bus is what a machine's devices sit on.
type bus struct {
	// pci says that there is PCI, and with it virtio: randomness and the
	// event channel.
	pci bool
	// disk and nic are the bus of a disk and the network card that fit.
	disk, nic string
}

// bus returns what the machine has. QEMU's Raspberry Pis have a slot for a
// card, USB, and randomness of their own; they tell no events.
func (c Config) bus() bus {
	if strings.HasPrefix(c.Machine, "raspi") {
		return bus{disk: "sd", nic: "usb-net"}
	}
	return bus{pci: true, disk: "virtio", nic: "virtio-net-pci"}
}

// wiring is how a guest's channels reach their other ends: either descriptors
// that QEMU inherits, or what a person at a shell can use instead.
type wiring struct {
	// console and qmp are values of -chardev for the ids console and qmp,
	// events likewise; an empty qmp is none.
	console, qmp, events string
	// segment returns the value of -netdev, without its id, for a card.
	segment func(nic int) string
	// vars is the -drive value that names the UEFI variables.
	vars string
}

// arguments returns QEMU's arguments for a configuration whose defaults are
// set. It is pure: equal arguments give equal results.
func arguments(c Config, accel Accel, fw firmwarePair, w wiring) []string {
	machine := c.Machine
	if c.Arch == "amd64" && !strings.Contains(machine, "graphics=") {
		// Without a screen SeaBIOS shows its messages on the serial port.
		machine += ",graphics=off"
	}
	cpu := c.CPU
	if accel != TCG {
		cpu = "host"
	}
	args := []string{
		"-name", "guest=" + c.Name, "-uuid", UUIDFor(c.Name),
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", machine, "-accel", string(accel), "-cpu", cpu,
		"-smp", strconv.Itoa(c.CPUs), "-m", strconv.Itoa(c.Memory),
	}
	pci := c.bus().pci
	if pci {
		// Without a source of randomness a guest hangs in getrandom(2).
		args = append(args, "-device", "virtio-rng-pci")
	}
	args = append(args, "-chardev", w.console)
	for range c.SerialPort {
		args = append(args, "-serial", "null")
	}
	args = append(args, "-serial", "chardev:console")
	if pci {
		args = append(args, "-chardev", w.events, "-device", "virtio-serial-pci",
			"-device", "virtserialport,chardev=events,name="+event.Port)
	}
	if w.qmp != "" {
		args = append(args, "-chardev", w.qmp, "-mon", "chardev=qmp,mode=control")
	}
	if c.Firmware == UEFI {
		args = append(args,
			"-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+escape(fw.code),
			"-drive", w.vars)
	}
	if c.Kernel != "" {
		args = append(args, "-kernel", c.Kernel)
		if c.Initrd != "" {
			args = append(args, "-initrd", c.Initrd)
		}
		if c.DeviceTree != "" {
			args = append(args, "-dtb", c.DeviceTree)
		}
		if c.CommandLine != "" {
			args = append(args, "-append", c.CommandLine)
		}
	}
	args = append(args, diskArguments(c.Disks)...)
	args = append(args, nicArguments(c.NICs, w)...)
	for _, s := range c.SMBIOS {
		args = append(args, "-smbios", s)
	}
	if c.Watchdog {
		args = append(args, "-device", "i6300esb", "-action", "watchdog=reset")
	}
	if c.NoReboot {
		args = append(args, "-no-reboot")
	}
	if c.DebugExit {
		args = append(args, "-device", "isa-debug-exit,iobase=0xf4,iosize=1")
	}
	return append(args, c.ExtraArgs...)
}

func diskArguments(disks []Disk) []string {
	var args []string
	controllers := map[string]bool{}
	for i, d := range disks {
		bus := buses[d.Bus]
		if bus.controller != "" && !controllers[d.Bus] {
			controllers[d.Bus] = true
			args = append(args, "-device", bus.controller)
		}
		// What a throw-away disk holds need not survive the host, so its
		// flushes are not passed on.
		mode := "cache=writeback"
		if d.Throwaway {
			mode = "snapshot=on,cache=unsafe"
		}
		if d.Bus == "sd" {
			args = append(args, "-drive", fmt.Sprintf("if=sd,index=%d,format=raw,%s,file=%s", i, mode, escape(d.Path)))
			continue
		}
		device := bus.device
		if strings.Contains(device, "%d") {
			device = fmt.Sprintf(device, i)
		}
		args = append(args,
			"-drive", fmt.Sprintf("if=none,id=disk%d,format=raw,%s,file=%s", i, mode, escape(d.Path)),
			"-device", fmt.Sprintf("%s,drive=disk%d,bootindex=%d", device, i, i+1))
	}
	return args
}

func nicArguments(nics []NIC, w wiring) []string {
	var args []string
	for i, n := range nics {
		netdev := "user"
		if n.Segment != nil {
			netdev = w.segment(i)
		}
		for _, f := range n.Forwards {
			netdev += fmt.Sprintf(",hostfwd=%s:127.0.0.1:%d-:%d", f.Protocol, f.Host, f.Guest)
		}
		device := fmt.Sprintf("%s,id=nic%d,netdev=net%d,mac=%s", n.Model, i, i, n.MAC)
		if !n.BootROM && !strings.HasPrefix(n.Model, "usb-") {
			device += ",romfile="
		}
		// The type comes first and the id second in QEMU's syntax.
		kind, rest, _ := strings.Cut(netdev, ",")
		if rest != "" {
			rest = "," + rest
		}
		args = append(args, "-netdev", fmt.Sprintf("%s,id=net%d%s", kind, i, rest), "-device", device)
	}
	if len(nics) == 0 {
		args = append(args, "-nic", "none")
	}
	return args
}

// inherited is the wiring by descriptors, which QEMU has from 3 on.
func inherited(console, qmp, events int, cables map[int]int, vars string) wiring {
	socket := func(id string, fd int) string { return fmt.Sprintf("socket,id=%s,fd=%d", id, fd) }
	return wiring{
		console: socket("console", console),
		qmp:     socket("qmp", qmp),
		events:  socket("events", events),
		segment: func(nic int) string { return fmt.Sprintf("dgram,local.type=fd,local.str=%d", cables[nic]) },
		vars:    "if=pflash,unit=1,format=raw,file=" + escape(vars),
	}
}

// byHand is the wiring of a command line for people: the console on the
// terminal, events thrown away, guests of one segment joined by multicast on
// the loopback, UEFI variables as from the factory.
func byHand(c Config, fw firmwarePair) wiring {
	return wiring{
		console: "stdio,id=console,signal=off",
		events:  "null,id=events",
		segment: func(nic int) string {
			name := c.NICs[nic].Segment.Name()
			port := 20000 + crc32.ChecksumIEEE([]byte(name))%20000
			return fmt.Sprintf("socket,mcast=230.0.0.1:%d,localaddr=127.0.0.1", port)
		},
		vars: "if=pflash,unit=1,format=raw,snapshot=on,file=" + escape(fw.vars),
	}
}

// escape doubles commas, which end a value in QEMU's option syntax.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// shellLine returns a command line that a POSIX shell reads as words.
func shellLine(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = shellQuote(word)
	}
	return strings.Join(quoted, " ")
}

func shellQuote(word string) string {
	const plain = nameBytes + "/,=:+@%"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
