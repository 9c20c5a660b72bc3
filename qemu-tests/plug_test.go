package qemutests

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"weft/builder/inspect"
	"weft/event"
	"weft/qemu-tests/vm"
	"weft/slot"
)

// moments is how often the plug is pulled.
var moments = flag.Int("moments", 8, "how often a node's plug is pulled in its first boot")

const (
	// uefiEach says that every so many-th boot is by UEFI.
	uefiEach = 4
	// beyond is how much longer than to ready the plug may be in: what goes
	// on then, blessing and growing, writes to the disk too. A share of the
	// CPU time to ready.
	beyond = 0.15
	// early is the share of the moments that fall before init starts: there
	// is more to break afterwards.
	early = 0.25
	// growth is how much larger than the image the disks are, so that the
	// partition table and the file system change too, in bytes.
	growth = 256 << 20
	// settled is how long after ready the plug is pulled at the latest.
	settled = 5 * time.Second
	// resolution is how often a guest's CPU time is looked at. There is no
	// event for it; the moment itself is random.
	resolution = 2 * time.Millisecond
)

func TestNodeWhosePlugIsPulledInItsFirstBootComesUpInTheNext(t *testing.T) {
	random := seeded(t)
	count := *moments
	image := buildOf(t, vxlan)
	boots := map[vm.Firmware]boot{}
	for _, firmware := range []vm.Firmware{vm.BIOS, vm.UEFI} {
		boots[firmware] = measure(t, image, firmware)
	}
	for i := range count {
		firmware := vm.BIOS
		if i%uefiEach == uefiEach-1 {
			firmware = vm.UEFI
		}
		// Spread evenly, each at random within its share.
		at := boots[firmware].at((float64(i) + random.Float64()) / float64(count))
		t.Run(fmt.Sprintf("%s, %s", firmware, at), func(t *testing.T) {
			t.Parallel()
			pullPlug(t, image, firmware, at)
		})
	}
}

// A boot is how long a boot takes, in CPU seconds of QEMU: until init starts,
// and from then until all that it writes is written.
type boot struct{ before, after float64 }

// measure boots a node once, undisturbed.
func measure(t *testing.T, image string, firmware vm.Firmware) boot {
	t.Helper()
	n := start(t, machine(t, image, firmware))
	defer n.Kill()
	n.starts()
	before := n.CPUSeconds()
	n.ready()
	return boot{before, n.CPUSeconds()*(1+beyond) - before}
}

// starts waits until init has started.
func (n node) starts() {
	n.t.Helper()
	ctx, cancel := n.within()
	defer cancel()
	if _, err := n.Expect(ctx, regexp.MustCompile("weft starts")); err != nil {
		n.t.Fatal(err)
	}
}

// A moment is a point of a boot: so many CPU seconds after the start of the
// machine or, with init, of init. A busy host makes CPU seconds longer, so
// they are counted from the nearest thing that can be seen.
type moment struct {
	init    bool
	seconds float64
}

// at is the moment at a share of the boot, 0 to 1.
func (b boot) at(share float64) moment {
	if share < early {
		return moment{false, b.before * share / early}
	}
	return moment{true, b.after * (share - early) / (1 - early)}
}

func (m moment) String() string {
	if m.init {
		return fmt.Sprintf("init and %.2f s", m.seconds)
	}
	return fmt.Sprintf("%.2f s", m.seconds)
}

// pullPlug kills the first boot of a node at a moment, and checks the next.
func pullPlug(t *testing.T, image string, firmware vm.Firmware, at moment) {
	cfg := machine(t, image, firmware)
	grow(t, diskOf(cfg), growth)
	n := start(t, cfg)
	n.killAt(at)
	last := "the kernel"
	if events := n.Events(); len(events) > 0 {
		last = fmt.Sprintf("%s %s", events[len(events)-1].Kind, events[len(events)-1].Name)
	}
	t.Logf("killed after %.2f s of CPU; the last thing told was: %s", n.CPUSeconds(), last)

	already := isBlessed(t, diskOf(cfg), firmware)
	n = start(t, cfg)
	n.ready()
	if !already {
		n.blessed()
	}
	n.powerOff()
	if !isBlessed(t, diskOf(cfg), firmware) {
		t.Error("the slot is not blessed")
	}
	for _, text := range n.problems() {
		t.Logf("told of the pulled plug: %s", text)
	}
	soundData(t, diskOf(cfg))
	soundTable(t, diskOf(cfg))
	readDisk(t, diskOf(cfg))
}

// isBlessed reports whether the boot loader knows that slot A works. Whatever
// else a pulled plug has left of the disk is not judged.
func isBlessed(t *testing.T, path string, firmware vm.Firmware) bool {
	t.Helper()
	if firmware == vm.BIOS {
		return readRecord(t, path).A.Good
	}
	f, size := openDisk(t, path)
	image, err := inspect.Open(f, size)
	if err != nil {
		t.Fatal(err)
	}
	blessed := slot.NewEntry(slot.A).Blessed().File()
	return image.Boot != nil && slices.Contains(image.Entries(), blessed)
}

// killAt kills the guest at a moment of its boot.
func (n node) killAt(m moment) {
	n.t.Helper()
	var from float64
	if m.init {
		n.starts()
		from = n.CPUSeconds()
	}
	// A node that has nothing left to do uses no CPU time.
	ctx, cancel := n.within()
	defer cancel()
	idle := make(chan struct{})
	go func() {
		ready := func(e event.Event) bool { return e.Kind == event.Ready }
		if _, err := n.WaitEvent(ctx, ready); err == nil {
			time.AfterFunc(settled, func() { close(idle) })
		}
	}()
	tick := time.NewTicker(resolution)
	defer tick.Stop()
	for n.CPUSeconds() < from+m.seconds {
		select {
		case <-tick.C:
		case <-idle:
			n.Kill()
			return
		case <-n.Done():
			n.t.Fatalf("%s ended before %s:\n%s", n.Name(), m, n.Console())
		}
	}
	n.Kill()
}
