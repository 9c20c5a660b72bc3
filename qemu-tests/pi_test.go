package qemutests

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weft/boards"
	"weft/builder/disk"
	"weft/builder/fleet"
	"weft/builder/guest"
	"weft/builder/inspect"
	"weft/builder/rpi"
	"weft/profiles"
	"weft/qemu-tests/lab"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/hub"
	"weft/qemu-tests/vm/vmtest"
)

// piCluster is a Raspberry Pi, which gets its address by DHCP, and a machine
// that has one. The profile and the board are still to be put in.
const piCluster = `weft: cluster/v1
name: pis
profile: %s
networks:
  - {name: lab, prefixes: [192.0.2.0/24]}
nodes:
  - {name: pi, board: %s, addresses: [%s]}
  - name: pc
    board: x86-64-cloud
    addresses: [192.0.2.20]
    links:
      - {match: {mac: "%s"}, dhcp4: false, dhcp6: false, routerAdvertisements: false, addresses: [192.0.2.20/24]}
`

const (
	// cardSize is that of the card: QEMU wants a power of two.
	cardSize = 512 << 20
	// piPatience and piCPU bound a boot of the emulated Raspberry Pi, which
	// costs several times what one of another machine does.
	piPatience = 15 * time.Minute
	piCPU      = 6 * time.Minute
)

// loaded is what the firmware of a model would load from a card, found in the
// card itself.
func loaded(t *testing.T, path, model string) (start rpi.Start, boot fs.FS) {
	t.Helper()
	f, size := openDisk(t, path)
	i, err := inspect.Open(f, size)
	if err != nil || len(i.Faults) > 0 {
		t.Fatalf("%v, faults %v", err, i.Faults)
	}
	for _, s := range i.Starts {
		if s.Model == model {
			return s, i.Boot
		}
	}
	t.Fatalf("the image is not for %s", model)
	return rpi.Start{}, nil
}

// extract copies a file of a boot partition.
func extract(t *testing.T, boot fs.FS, name string) string {
	t.Helper()
	data, err := fs.ReadFile(boot, name)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), filepath.Base(name))
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// shipped is a board that weft ships.
func shipped(t *testing.T, name string) boards.Board {
	t.Helper()
	board, _, problems, err := boards.Find(name)
	if err != nil || problems.Errors() != nil {
		t.Fatal(err, problems)
	}
	return board
}

// pi is the emulated Raspberry Pi 3 that starts kernel, initramfs, device tree and
// command line of the slot that a card's boot stage would start, byte for byte.
func pi(t *testing.T, disk string, nic vm.NIC) vm.Config {
	t.Helper()
	board := shipped(t, "rpi3")
	start, boot := loaded(t, disk, "Raspberry Pi 3 Model B")
	return vm.Config{
		Name: "pi", Arch: "arm64", Accel: vm.TCG, Machine: board.QEMU.Machine, CPU: board.QEMU.CPU, Firmware: vm.NoFirmware,
		Kernel: extract(t, boot, start.Kernel), Initrd: extract(t, boot, start.Initramfs), DeviceTree: extract(t, boot, start.DeviceTree),
		CommandLine: strings.Join(append([]string{start.CommandLine}, board.QEMU.Append...), " "),
		// Fewer than four CPUs QEMU refuses for this machine.
		CPUs: 4, Memory: board.QEMU.Memory, SerialPort: board.QEMU.Serial, NoReboot: true,
		Disks: []vm.Disk{{Path: disk}}, NICs: []vm.NIC{nic},
		CPULimit: piCPU, WallLimit: piPatience,
		// The drivers of what QEMU does not emulate complain.
		Faults: vm.FatalFaults(),
	}
}

// A Raspberry Pi 3 boots the system of its card, has its
// address by DHCP and the time, and its pod and that of an x86-64 machine reach
// each other through the network of the profile.
func TestNightlyRaspberryPi3ReachesPods(t *testing.T) {
	for _, profile := range []string{"vxlan", "wireguard"} {
		t.Run(profile, func(t *testing.T) { raspberryPi3(t, profile) })
	}
}

// piAndPC builds the images of a Raspberry Pi and of a machine beside it, and
// returns the Raspberry Pi's card, which is longer than its image, and the
// machine.
func piAndPC(t *testing.T, board, profile string) (card string, pc vm.Config) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "pis.yaml")
	text := fmt.Sprintf(piCluster, profile, board, lab.Node4.Addr(), macFor("pc", 0))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := fleet.Finder{Version: "test"}.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	secrets, _, err := f.Complete(fleet.Secrets{}, fleet.Rotation{}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	members, err := f.Members(secrets)
	if err != nil {
		t.Fatal(err)
	}
	images := basesOf(t, f)
	path := func(name string) string { return filepath.Join(dir, name+".img") }
	for _, m := range members {
		if err := guest.NodeImage(t.Context(), images[m.Base], path(m.Name), m.Node, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(path("pi"), cardSize); err != nil {
		t.Fatal(err)
	}
	return path("pi"), vm.Config{Name: "pc", Accel: vm.TCG, Memory: clusterMemory, Disks: []vm.Disk{{Path: path("pc")}}}
}

// piLab is a segment with what gives a Raspberry Pi its address and the time, and
// the file that its frames are written to.
func piLab(t *testing.T) (segment *hub.Segment, l *lab.Lab, frames string) {
	t.Helper()
	segment = vmtest.Segment(t)
	return segment, lab.New(t, segment, lab.Config{DHCP4: &lab.DHCP4{Time: true}, Clock: new(time.Duration)}), capture(t, segment)
}

// grownCard wants the data partition of a card to end where the card does.
func grownCard(t *testing.T, card string) {
	t.Helper()
	if p := partition(t, card, disk.Data); p.Start+p.Size != cardSize {
		t.Errorf("the data partition ends at %d, not at the end of the card, %d", p.Start+p.Size, cardSize)
	}
	tool(t, "fdisk", "sfdisk", "--verify", "--quiet", card)
}

// bothSent wants tunnel packets of both nodes on the wire, and no packet of a pod
// outside.
func bothSent(t *testing.T, frames, profile string) {
	t.Helper()
	port := map[string]uint16{"vxlan": profiles.DefaultPort, "wireguard": profiles.DefaultListenPort}[profile]
	sent := datagrams(t, frames, port)
	t.Logf("datagrams to port %d: %v", port, sent)
	for _, from := range []netip.Addr{lab.Node4.Addr(), netip.MustParseAddr("192.0.2.20")} {
		// A ping and an answer.
		if sent[from] < 2 {
			t.Errorf("%d datagrams of %s from %s", sent[from], profile, from)
		}
	}
}

func raspberryPi3(t *testing.T, profile string) {
	reachesPods(t, "rpi3", profile, "mmcblk0p", "usb0", pi)
}

// reachesPods boots an emulated Raspberry Pi, which emulated makes of a disk and
// a network card, and an x86-64 machine beside it. The Raspberry Pi calls the
// partitions of the disk disk and their numbers, and the network card card.
func reachesPods(t *testing.T, board, profile, disk, card string, emulated func(*testing.T, string, vm.NIC) vm.Config) {
	t.Helper()
	image, pcConfig := piAndPC(t, board, profile)
	segment, l, frames := piLab(t)
	nic := vm.NIC{Segment: segment}
	pcConfig.NICs = []vm.NIC{nic}
	vms := vmtest.Cluster(t, segment, emulated(t, image, nic), pcConfig).VMs
	pi, pc := watch(t, vms[0]), watch(t, vms[1])
	ctx, cancel := context.WithTimeout(vmtest.Context(t), piPatience)
	defer cancel()
	if _, err := pi.Expect(ctx, regexp.MustCompile(`weft: ready in \d+\.\d\d s`)); err != nil {
		t.Fatal(err)
	}
	t.Logf("ready with %.1f s of CPU", pi.CPUSeconds())
	pc.ready()
	pc.reaches(1)
	piSays(t, pi, map[string]string{
		"the root on the card":         `root \d+ ms: ` + disk + `2`,
		"the data partition":           `data partition \d+ ms: ` + disk + `4`,
		"the data partition grown":     `grow data \d+ ms: ` + disk + `4 is now 124 MiB`,
		"the file system grown":        `grow file system \d+ ms: 60 MiB more`,
		"its node file":                `node pi \(node file\)`,
		"an address by DHCP over USB":  `dhcp ` + card + ` \d+ ms: ` + lab.Node4.String() + ` from ` + lab.Router4.String(),
		"the driver of the USB device": `link ` + card + ` \d+ ms: .* cdc_ether`,
		"the network":                  `module ` + profile + ` \d+ ms`,
		"its peer":                     `netd: 1 peers? programmed`,
	})
	if !heard(l, "NTP", 1) {
		t.Errorf("nobody asked for the time: %v", l.Seen())
	}
	pi.Kill()
	grownCard(t, image)
	bothSent(t, frames, profile)
	pc.powerOff()
}

// piSays wants a Raspberry Pi's console to have said all of this, and to have
// told of no problem but the watchdog that is kept from it.
func piSays(t *testing.T, n node, said map[string]string) {
	t.Helper()
	console := n.Console()
	for what, want := range said {
		if !regexp.MustCompile(want).MatchString(console) {
			t.Errorf("%s: the console has no %q", what, want)
		}
	}
	for _, line := range regexp.MustCompile(`weft: \[[^\]]*\] problem: [^\r\n]*`).FindAllString(console, -1) {
		if !strings.Contains(line, "driver bcm2835_wdt") {
			t.Error(line)
		}
	}
}

// datagrams counts the UDP datagrams to a port by their senders, and fails the
// test when a packet of a pod is bare on the wire: not even a node that is not
// yet done, and has no way to its own pods, sends what comes for them on.
func datagrams(t *testing.T, pcap string, port uint16) map[netip.Addr]int {
	t.Helper()
	f, err := os.Open(pcap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	count := map[netip.Addr]int{}
	if err := eachFrame(f, func(frame []byte) {
		p, ok := parse(frame)
		switch {
		case !ok:
		case isPod(p.from) || isPod(p.to):
			t.Errorf("a packet of a pod is bare on the wire: %s to %s, from MAC %x", p.from, p.to, frame[6:12])
		case p.protocol == 17 && len(p.payload) >= 8 && binary.BigEndian.Uint16(p.payload[2:]) == port:
			count[p.from]++
		}
	}); err != nil {
		t.Fatal(err)
	}
	return count
}
