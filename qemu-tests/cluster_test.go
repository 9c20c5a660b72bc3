package qemutests

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/builder"
	"weft/builder/fleet"
	"weft/builder/guest"
	"weft/event"
	"weft/netd/status"
	"weft/netd/wireguard"
	"weft/profiles"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/hub"
	"weft/qemu-tests/vm/vmtest"
)

// clusterMemory is the memory of a node of these tests, in MiB.
const clusterMemory = 256

// A booted cluster is the nodes of a cluster file, and what was on the wire
// between them.
type booted struct {
	members []fleet.Member
	configs []vm.Config
	nodes   []node
	frames  string
}

// bootCluster builds the image of a cluster file of testdata and boots its nodes, as
// weft cluster keys and weft run do.
func bootCluster(t *testing.T, file string) booted {
	t.Helper()
	f, err := fleet.Finder{Version: "test", Board: board}.Read(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	secrets, _, err := f.Complete(fleet.Secrets{}, fleet.Rotation{}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.OnSegment(guest.CardsOf); err != nil {
		t.Fatal(err)
	}
	var b booted
	if b.members, err = f.Members(secrets); err != nil {
		t.Fatal(err)
	}
	images := basesOf(t, f)
	segment := vmtest.Segment(t)
	b.configs, err = guest.Members(vmtest.Context(t), guest.Options{
		Dir: t.TempDir(), Segment: segment, Now: time.Now(), Machine: vm.Config{Accel: vm.TCG, Memory: clusterMemory},
	}, images, b.members)
	if err != nil {
		t.Fatal(err)
	}
	b.frames = capture(t, segment)
	for _, v := range vmtest.Cluster(t, segment, b.configs...).VMs {
		b.nodes = append(b.nodes, watch(t, v))
	}
	return b
}

// capture writes the frames of a segment to a file until the end of the test, and
// returns its path.
func capture(t *testing.T, segment *hub.Segment) string {
	t.Helper()
	frames, err := os.Create(filepath.Join(t.TempDir(), "frames.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { frames.Close() })
	stop, err := segment.Capture(frames)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stop() })
	return frames.Name()
}

// basesOf builds the images that the nodes of a cluster share, from one lock,
// and returns their paths in the order of the bases.
func basesOf(t *testing.T, f *fleet.Fleet) (images []string) {
	t.Helper()
	lock := filepath.Join(t.TempDir(), "weft.lock")
	for _, base := range f.Bases {
		o, err := optionsOf(base.Plan, base.Dir)
		if err != nil {
			t.Fatal(err)
		}
		o.LockFile, o.Beside = lock, f.Plans()
		built, err := builder.Build(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, built.Path)
	}
	return images
}

// green waits until the node is ready and its pod reaches those of both other
// nodes by each family, and then wants netd to complain of nothing.
func (n node) green(families ...string) status.Report {
	n.t.Helper()
	n.ready()
	n.reaches(2 * len(families))
	report := n.lastReport()
	if !report.Ready || report.Reason != "" || len(report.Alarms)+len(report.Parts)+len(report.Refusals) > 0 || report.ProbeError != "" {
		n.t.Errorf("%s: ready %v %q, alarms %q, parts %q, refusals %v, probe %q", n.Name(), report.Ready, report.Reason, report.Alarms, report.Parts, report.Refusals, report.ProbeError)
	}
	reached := map[string][]string{}
	for _, p := range report.Peers {
		reached[p.Name] = append(reached[p.Name], p.Family)
		if !p.Programmed || p.State != status.StateReady || p.Error != "" || p.Probe == nil || !p.Probe.Answers {
			n.t.Errorf("%s: peer %s by %s is %s, programmed %v: %s", n.Name(), p.Name, p.Family, p.State, p.Programmed, p.Error)
		}
		if p.Tunnel != nil && p.Tunnel.State != wireguard.Up {
			n.t.Errorf("%s: the tunnel to %s by %s is %s", n.Name(), p.Name, p.Family, p.Tunnel.State)
		}
	}
	if len(reached) != 2 {
		n.t.Errorf("%s has the peers %v", n.Name(), reached)
	}
	for name, have := range reached {
		if slices.Sort(have); !slices.Equal(have, families) {
			n.t.Errorf("%s reaches %s by %v, want %v", n.Name(), name, have, families)
		}
	}
	return report
}

// lastReport is the last status in which netd says that all pods answer.
func (n node) lastReport() status.Report {
	n.t.Helper()
	events := n.Events()
	for i := len(events) - 1; i >= 0; i-- {
		e := events[i]
		if e.Kind != event.Status || e.Name != guest.NetdService {
			continue
		}
		if _, complete, err := guest.Pings(e); err == nil && complete {
			var report status.Report
			n.decode(e, &report)
			return report
		}
	}
	n.t.Fatalf("%s has sent no status in which all pods answer", n.Name())
	return status.Report{}
}

// end powers the nodes off and wants them to have complained of nothing.
func (b booted) end() {
	for _, n := range b.nodes {
		n.powerOff()
		n.noProblems()
	}
}

// There is no IPv4 anywhere: not in the pods, not on the nodes, and no packet
// of it on the wire.
func TestThreeNodesOfAClusterFileWithIPv6Only(t *testing.T) {
	b := bootCluster(t, "cluster-ipv6-only.yaml")
	// The first host of the network that nobody has.
	if got := b.members[2].Node.Addresses; len(got) != 1 || got[0] != netip.MustParseAddr("fd66:6:6::1") {
		t.Errorf("six-3 has the addresses %v", got)
	}
	for _, n := range b.nodes {
		report := n.green("IPv6")
		if len(report.Underlay) != 1 || report.Underlay[0].Address.Is4() {
			t.Errorf("%s: underlay %+v", n.Name(), report.Underlay)
		}
	}
	if n := tunnelled(t, b.frames); n[true] < 6 || n[false] > 0 {
		t.Errorf("packets of pods in VXLAN: %d by IPv6, %d by IPv4", n[true], n[false])
	}
	if n := legacyFrames(t, b.frames); n > 0 {
		t.Errorf("%d frames of IPv4 or ARP on the wire", n)
	}
	b.end()
}

// legacyFrames counts the frames of IPv4 and ARP.
func legacyFrames(t *testing.T, pcap string) (count int) {
	t.Helper()
	f, err := os.Open(pcap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := eachFrame(f, func(frame []byte) {
		if len(frame) < 14 {
			return
		}
		// EtherTypes (IEEE 802 numbers, IANA).
		if kind := binary.BigEndian.Uint16(frame[12:]); kind == 0x0800 || kind == 0x0806 {
			count++
		}
	}); err != nil {
		t.Fatal(err)
	}
	return count
}

// The third node is on another network than the others, and all that is on
// the wire between any two is WireGuard, by both families.
func TestThreeNodesOfAClusterFileWithDualStackWireGuard(t *testing.T) {
	b := bootCluster(t, "cluster-dual-stack.yaml")
	if got := b.members[1].Node.Subnets[0]; got != netip.MustParsePrefix("10.244.20.0/24") {
		t.Errorf("dual-2 has %s, not what the cluster file gives it", got)
	}
	for i, n := range b.nodes {
		n.green("IPv4", "IPv6")
		key := b.members[i].Node.WireGuardKey
		if key == "" || bytes.Contains(bootOf(t, b.configs[i]), []byte(key)) {
			t.Errorf("%s: the key is still on the boot partition", n.Name())
		}
		if strings.Contains(n.Console(), key) {
			t.Errorf("%s: the key is on the console", n.Name())
		}
	}
	onlyWireGuard(t, b.frames, profiles.DefaultListenPort, profiles.DefaultListenPortV6)
	b.end()
}

// An x86-64 machine, which boots by BIOS, and two arm64 machines, which boot by
// UEFI: the pods of each reach those of both others, by both families.
func TestNodesOfTwoArchitecturesAreOneCluster(t *testing.T) {
	b := bootCluster(t, "cluster-mixed.yaml")
	var arches []string
	for i, n := range b.nodes {
		n.green("IPv4", "IPv6")
		arches = append(arches, b.configs[i].Arch)
	}
	if want := []string{"amd64", "arm64", "arm64"}; !slices.Equal(arches, want) {
		t.Errorf("the machines are %v, want %v", arches, want)
	}
	onlyWireGuard(t, b.frames, profiles.DefaultListenPort, profiles.DefaultListenPortV6)
	b.end()
}
