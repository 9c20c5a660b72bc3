package qemutests

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/builder/disk"
	"weft/builder/rpi"
	"weft/event"
	"weft/profiles"
	"weft/qemu-tests/vm"
	"weft/slot"
)

// A staged is a Raspberry Pi 4 whose card the builder made, and that QEMU's
// machine virt stands in for: it starts what the firmware would, the boot stage.
type staged struct {
	cfg vm.Config
	// start is what the firmware loads, slot what the boot stage does.
	start rpi.Start
	boot  fs.FS
}

// stage makes a card. The board is the one that weft ships with a console and a
// watchdog that QEMU has.
func stage(t *testing.T) staged {
	t.Helper()
	text, err := os.ReadFile("../boards/rpi4.yaml")
	if err != nil {
		t.Fatal(err)
	}
	own := strings.NewReplacer(
		"name: rpi4\n", "name: virtual\n", "raspberryPi:\n", "raspberryPi:\n  bootStage: on\n",
		"    - bcm2835_wdt\n", "    - bcm2835_wdt\n    - i6300esb\n",
		"consoles: [tty0, ", `consoles: [tty0, "ttyAMA0,115200", `,
	).Replace(string(text))
	board := filepath.Join(t.TempDir(), "virtual.yaml")
	if err := os.WriteFile(board, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	image, err := build(board, "vxlan")
	if err != nil {
		t.Fatal(err)
	}
	i := readDisk(t, image)
	s := staged{start: i.Starts[0], boot: i.Boot}
	if len(s.start.Slots) != 1 {
		t.Fatalf("the image has %d slots: %+v", len(s.start.Slots), s.start)
	}
	s.cfg = s.machine(t, s.start)
	s.cfg.Disks = []vm.Disk{{Path: image}}
	return s
}

// machine starts what the firmware would.
func (s staged) machine(t *testing.T, start rpi.Start) vm.Config {
	t.Helper()
	return vm.Config{
		Name: "pi", Arch: "arm64", Accel: vm.TCG, Firmware: vm.NoFirmware,
		Kernel: extract(t, s.boot, start.Kernel), Initrd: extract(t, s.boot, start.Initramfs), CommandLine: start.CommandLine,
		Disks: s.cfg.Disks, NICs: []vm.NIC{{}},
	}
}

// read reads a file of the boot partition.
func (s staged) read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := fs.ReadFile(s.boot, strings.TrimPrefix(path, "/"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// install writes slot B: a kernel with all else of slot A.
func (s staged) install(t *testing.T, kernel []byte) {
	t.Helper()
	path := diskOf(s.cfg)
	f, size := openDisk(t, path)
	image, err := disk.Open(f, size)
	if err != nil {
		t.Fatal(err)
	}
	a, b := partition(t, path, disk.RootA), partition(t, path, disk.RootB)
	if _, err := io.Copy(io.NewOffsetWriter(f, b.Start), io.NewSectionReader(f, a.Start, a.Size)); err != nil {
		t.Fatal(err)
	}
	line := strings.NewReplacer(
		profiles.ArgSlot+"=a", profiles.ArgSlot+"=b", image.Layout.PartUUID(a), image.Layout.PartUUID(b),
	).Replace(string(s.read(t, slot.A.CommandLine())))
	boot := fmt.Sprintf("%s@@%d", path, partition(t, path, disk.Boot).Start)
	if !strings.Contains(tool(t, "mtools", "mdir", "-b", "-i", boot, "::weft"), "weft/b/") {
		tool(t, "mtools", "mmd", "-i", boot, "::weft/b")
	}
	for name, data := range map[string][]byte{
		slot.B.Kernel(): kernel, slot.B.Initrd(): s.read(t, slot.A.Initrd()), slot.B.CommandLine(): []byte(line),
	} {
		from := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(from, data, 0o600); err != nil {
			t.Fatal(err)
		}
		tool(t, "mtools", "mcopy", "-o", "-i", boot, from, "::"+name)
	}
}

// prefer has slot B tried before A, tries more times.
func (s staged) prefer(t *testing.T, tries uint8) slot.Record {
	t.Helper()
	record := s.record(t)
	record.A.Priority = slot.MaxPriority - 1
	record.B = slot.State{Present: true, Priority: slot.MaxPriority, TriesLeft: tries}
	f, _ := openDisk(t, diskOf(s.cfg))
	saved, err := slot.InGap.Save(f, record)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

// cutPower leaves the record as a power cut does in the middle of writing one
// with the next number.
func (s staged) cutPower(t *testing.T, r slot.Record) {
	t.Helper()
	f, _ := openDisk(t, diskOf(s.cfg))
	r.B = slot.State{}
	if _, err := slot.InGap.Save(f, r); err != nil {
		t.Fatal(err)
	}
	at := int64(slot.GapOffset1)
	if sequenceAt(t, f, slot.GapOffset2) > sequenceAt(t, f, slot.GapOffset1) {
		at = slot.GapOffset2
	}
	if _, err := f.WriteAt(make([]byte, slot.SectorSize/2), at+slot.SectorSize/2); err != nil {
		t.Fatal(err)
	}
	if got := s.record(t); got.B.TriesLeft == 0 {
		t.Fatalf("the record of before is not in force: %+v", got)
	}
}

// sequenceAt is the number of a copy of the record.
func sequenceAt(t *testing.T, f io.ReaderAt, at int64) uint32 {
	t.Helper()
	sector := make([]byte, slot.SectorSize)
	if _, err := f.ReadAt(sector, at); err != nil {
		t.Fatal(err)
	}
	record, err := slot.Decode(sector)
	if err != nil {
		t.Fatal(err)
	}
	return record.Sequence
}

// record reads the record that is in force.
func (s staged) record(t *testing.T) slot.Record {
	t.Helper()
	f, _ := openDisk(t, diskOf(s.cfg))
	record, err := slot.InGap.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// chosen returns what the boot stage has chosen so far, boot by boot.
func (n node) chosen() []string {
	var texts []string
	for _, e := range n.Events() {
		if e.Kind == event.Step && e.Name == "boot stage" {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

// chooses wants the boot stage to choose this in turn and the node to become
// ready.
func (n node) chooses(want ...string) {
	n.t.Helper()
	last := want[len(want)-1]
	n.wait(last, func(e event.Event) bool { return e.Name == "boot stage" && e.Text == last })
	n.ready()
	if got := n.chosen(); !slices.Equal(got, want) {
		n.t.Errorf("chosen: %q, want %q", got, want)
	}
}

// hanging is a kernel that waits for ever.
func hanging() []byte {
	image := make([]byte, 4096)
	le := binary.LittleEndian
	le.PutUint32(image, 0x14000010)      // b to 64
	le.PutUint64(image[16:], 4096)       // image_size
	le.PutUint64(image[24:], 0xa)        // pages of 4 KiB, anywhere
	copy(image[56:], "ARM\x64")          // the magic number
	le.PutUint32(image[64:], 0xd503207f) // wfi
	le.PutUint32(image[68:], 0x17ffffff) // b to 64
	return image
}

// The card as the builder made it boots slot A by way of the boot stage, and that
// is blessed. What the boot stage costs is the difference to a start of the slot
// itself.
func TestNightlyBootStageStartsAndBlessesTheSlotOfACard(t *testing.T) {
	s := stage(t)
	n := start(t, s.cfg)
	n.step("boot stage")
	stageCPU, stageWall := n.CPUSeconds(), n.Usage().Wall.Seconds()
	n.chooses("slot a, try 1, 2 left")
	staged, wall := n.CPUSeconds(), n.Usage().Wall.Seconds()
	n.blessed()
	n.powerOff()
	n.noProblems()
	if r := s.record(t); !r.A.Good || r.B.Present {
		t.Errorf("the record is %+v", r)
	}
	if i := readDisk(t, diskOf(s.cfg)); i.Starts[0].Staged() != true || !i.Slots.A.Good {
		t.Errorf("%+v", i.Slots)
	}
	soundBoot(t, diskOf(s.cfg))
	soundData(t, diskOf(s.cfg))

	direct := start(t, s.machine(t, s.start.WithoutStage()))
	direct.ready()
	cpu, alone := direct.CPUSeconds(), direct.Usage().Wall.Seconds()
	direct.noProblems()
	direct.Kill()
	for _, line := range []struct {
		name  string
		value float64
	}{
		{"boot_stage_chosen_cpu", stageCPU}, {"boot_stage_chosen_wall", stageWall},
		{"boot_staged_ready_cpu", staged}, {"boot_staged_ready_wall", wall},
		{"boot_slot_alone_ready_cpu", cpu}, {"boot_slot_alone_ready_wall", alone},
		{"boot_stage_cost_cpu", staged - cpu}, {"boot_stage_cost_wall", wall - alone},
	} {
		t.Logf("%s %.1f s", line.name, line.value)
	}

	// From a USB disk, which the boot stage takes in use when there is no other.
	usb := s.cfg
	usb.Disks = []vm.Disk{{Path: diskOf(s.cfg), Bus: "usb"}}
	n = start(t, usb)
	n.chooses("slot a, which is good")
	n.powerOff()
	n.noProblems()
}

// A slot B that hangs is given up after its tries, and slot A, which is good,
// comes up: the watchdog that the boot stage has started resets what hangs. The
// power was cut while the record was written. Then a slot B that works is
// installed, and stays.
func TestNightlyBootStageGivesUpASlotThatHangs(t *testing.T) {
	s := stage(t)
	f, _ := openDisk(t, diskOf(s.cfg))
	record, _ := s.record(t).Bless(slot.A)
	if _, err := slot.InGap.Save(f, record); err != nil {
		t.Fatal(err)
	}
	s.install(t, hanging())
	s.cutPower(t, s.prefer(t, 2))

	watched := s.cfg
	watched.Watchdog = true
	n := start(t, watched)
	n.chooses("slot b, try 1, 1 left", "slot b, try 2, 0 left", "slot a, which is good")
	n.powerOff()
	if r := s.record(t); !r.A.Good || r.B.Good || r.B.TriesLeft != 0 {
		t.Errorf("the record is %+v", r)
	}

	s.install(t, s.read(t, slot.A.Kernel()))
	s.prefer(t, slot.DefaultTries)
	n = start(t, s.cfg)
	n.chooses("slot b, try 1, 2 left")
	if e := n.step("slot b"); e.Text != "blessed" {
		t.Errorf("step slot b says %q, want blessed", e.Text)
	}
	n.powerOff()
	n.noProblems()
	if r := s.record(t); !r.A.Good || !r.B.Good {
		t.Errorf("the record is %+v", r)
	}
	if i := readDisk(t, diskOf(s.cfg)); len(i.Starts[0].Slots) != 2 {
		t.Errorf("the proof of a card with two slots finds %+v", i.Starts[0].Slots)
	}
}
