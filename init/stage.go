package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/choose"
	"weft/init/cmdline"
	"weft/init/keep"
	"weft/init/kexec"
	"weft/init/modules"
	"weft/init/power"
	"weft/init/watchdog"
	"weft/profiles"
	"weft/slot"
)

// stage is the boot stage: in a small kernel of its own, which the firmware
// starts, it chooses a slot and starts that one's kernel in place of its own.
//
// It returns only when the kernel cannot do that, as far as known on no
// supported machine: then the slot is entered with the kernel that runs, since
// a node without a choice of slots is better than none.
func (n *node) stage() {
	n.log.Note("boot stage starts")
	step := n.log.Start("boot stage")
	id, ok := n.args.PartUUID(profiles.ArgBoot)
	if !ok {
		n.giveUp("%v; %s/cmdline.txt on the boot partition must name it", errNoBoot, slot.StageDir)
	}
	devices, err := n.watchDevices()
	if err != nil {
		n.giveUp("%v", err)
	}
	loader, err := newLoader(n.args.ModuleOptions)
	if err != nil {
		n.log.Problem("%v; only drivers built into the kernel work", err)
	} else {
		if mode, _ := keep.Read(bootMode, 64); fromUSB(mode) {
			devices.use(loader)
		} else {
			devices.useBut(loader, usbDrivers)
		}
		loader.LoadAll(listed(modulesLoad), modules.Urgent, n.driverLoaded)
	}
	part, err := devices.partition(n.ctx, id, withoutUSB)
	if err != nil && loader != nil {
		devices.use(loader)
		part, err = devices.partition(n.ctx, id, rootWithin)
	}
	if err != nil {
		n.giveUp("the boot partition did not appear within %d s: %v", int(rootWithin.Seconds()), err)
	}
	if err := os.MkdirAll(bootDir, 0o755); err != nil {
		n.giveUp("%v", err)
	}
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount(part.Device(), bootDir, "vfat", flags, ""); err != nil {
		n.giveUp("mount the boot partition %s: %v%s", part.Name, err, fatHint(err))
	}
	disk, err := openDisk(part.DiskDevice())
	if err != nil {
		n.giveUp("%v", err)
	}
	var line string
	var refused error
	choice, err := choose.Choose(disk, os.DirFS(bootDir), func(name slot.Name) (err error) {
		line, err = loadSlot(name)
		if errors.Is(err, kexec.ErrRefused) {
			refused, err = err, nil
		}
		return err
	})
	disk.Close()
	if err != nil {
		n.giveUp("%v", err)
	}
	for _, err := range choice.Problems {
		n.log.Problem("%v", err)
	}
	if err := unix.Unmount(bootDir, 0); err != nil {
		n.log.Problem("unmount the boot partition: %v", err)
	}
	step.Done(describe(choice))
	if refused == nil {
		if choice.Counted {
			devices.awaitWatchdog(watchdogComes)
		}
		timer, err := guardTry(choice, watchdogDevice)
		if err != nil {
			n.log.Note("%v; a slot that hangs early waits for somebody to switch off", err)
		} else if timer != nil {
			n.log.Note("watchdog %s resets the node unless slot %s takes over within %s", timer.Identity, choice.Slot, timer.Within)
		}
		n.console.Flush(time.Second)
		refused = power.Do(power.Kexec)
		if timer != nil {
			if err := timer.Release(); err != nil {
				n.log.Problem("%v", err)
			}
		}
	}
	devices.hold()
	n.log.Problem("%v; slot %s is entered with the kernel of the boot stage", refused, choice.Slot)
	n.args = cmdline.Parse(line)
}

// The boot stage leaves USB alone unless the boot partition is there: what was
// never in use, the slot's kernel finds as the firmware left it. A controller
// that was has to be reset, which not every one does (QEMU's of a Raspberry Pi
// 3 does not), and on some models the network is behind it.
const (
	usbDrivers = "kernel/drivers/usb/"
	// withoutUSB is how long the boot partition may take without. A card needs
	// a second.
	withoutUSB = 5 * time.Second
	// bootMode says what the firmware of a Raspberry Pi 4 or 5 has started from
	// (Raspberry Pi documentation, "Device trees", /chosen/bootloader).
	bootMode = "/proc/device-tree/chosen/bootloader/boot-mode"
)

// fromUSB reports whether a boot mode is a USB disk (the same documentation,
// BOOT_ORDER: 4 is USB-MSD, 5 BCM-USB-MSD).
func fromUSB(mode []byte) bool {
	if len(mode) != 4 {
		return false
	}
	n := binary.BigEndian.Uint32(mode)
	return n == 4 || n == 5
}

// tryWithin is how long a slot's kernel may take until its own driver of the
// watchdog goes on with it, from when on the kernel pets it until init does. It
// is the most that the hardware of a Raspberry Pi can do
// (drivers/watchdog/bcm2835_wdt.c, PM_WDOG_TIME_SET).
const tryWithin = 15 * time.Second

// watchdogComes is how long the boot stage waits for a watchdog before it
// starts a slot on trial. Its driver is loaded like all others, at the same
// time.
const watchdogComes = 5 * time.Second

// awaitWatchdog waits until there is a watchdog, for limit at most.
func (d *devices) awaitWatchdog(limit time.Duration) {
	if _, err := os.Stat(watchdogDevice); err == nil {
		return
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-d.watchdogs:
	case <-timer.C:
	}
}

// guardTry starts the hardware's watchdog at path for a slot on trial: one
// whose kernel hangs before it has a driver is reset and has used up a try. It
// goes on across kexec by the kernel argument watchdog.stop_on_reboot=0. A slot
// that is good is not guarded, nor one that is the last resort, nor one whose
// try the disk does not have: they would be reset for ever should they need
// longer. The watchdog runs as long as the value returned is kept.
func guardTry(c choose.Choice, path string) (*watchdog.Device, error) {
	if !c.Counted {
		return nil, nil
	}
	return watchdog.Open(path, tryWithin)
}

// openDisk opens the disk with the slot record. One that takes no writes still
// tells what it holds.
func openDisk(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		f, err = os.Open(path)
	}
	return f, err
}

// loadSlot makes a slot's kernel ready to be started and returns its command
// line. The boot partition is mounted.
func loadSlot(name slot.Name) (line string, err error) {
	text, err := keep.Read(filepath.Join(bootDir, name.CommandLine()), slot.MaxCommandLine+2)
	if err != nil {
		return "", err
	}
	line, err = choose.CommandLine(text, name, profiles.ArgRecord+"="+profiles.RecordInGap, profiles.OpenTimeout)
	if err != nil {
		return "", err
	}
	kernel, err := os.Open(filepath.Join(bootDir, name.Kernel()))
	if err != nil {
		return "", err
	}
	defer kernel.Close()
	initrd, err := os.Open(filepath.Join(bootDir, name.Initrd()))
	if err != nil {
		return "", err
	}
	defer initrd.Close()
	machine, err := thisMachine()
	if err != nil {
		return "", err
	}
	return line, kexec.Load(kexec.Kernel{Image: kernel, Initrd: initrd, CommandLine: line}, machine)
}

// thisMachine asks the running kernel about the machine.
func thisMachine() (m kexec.Machine, err error) {
	if m.Tree, err = keep.Read("/sys/firmware/fdt", 2<<20); err != nil {
		return m, err
	}
	memory, err := keep.Read("/proc/iomem", 1<<20)
	if err != nil {
		return m, err
	}
	m.Memory = string(memory)
	// Without waiting: when there is no randomness yet, the next kernel finds
	// its own.
	seed := make([]byte, 8+64)
	n, _ := unix.Getrandom(seed, unix.GRND_NONBLOCK)
	m.Seed = seed[:max(n, 0)]
	return m, nil
}

// describe says what was chosen, for people.
func describe(c choose.Choice) string {
	switch s := c.State; {
	case s.Good:
		return fmt.Sprintf("slot %s, which is good", c.Slot)
	case s.TriesLeft == 0 && s.TriesDone == 0:
		return fmt.Sprintf("slot %s, which the record does not know", c.Slot)
	default:
		return fmt.Sprintf("slot %s, try %d, %d left", c.Slot, s.TriesDone, s.TriesLeft)
	}
}
