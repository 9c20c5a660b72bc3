package qemutests

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weft/builder"
	"weft/builder/disk"
	"weft/builder/guest"
	"weft/event"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/vmtest"
)

const ipsecProfile = `weft: profile/v1
name: ipsec
description: pods reach each other through IPsec
network:
  pods: [10.244.0.0/16]
  backend: {type: ipsec}
  probe: true
`

// protocolESP is the number of ESP (RFC 4303).
const protocolESP = 50

// The image has charon from Debian's packages in it. On the first node,
// something disturbs what netd keeps (see saboteur); all the time, the pods of
// the others reach each other, and nothing of them is on the wire in clear.
func TestPodsReachEachOtherThroughIPsecWhateverHappensToIt(t *testing.T) {
	o, err := options(board, profileFile(t, "ipsec", ipsecProfile))
	if err != nil {
		t.Fatal(err)
	}
	o.Program = sabotaged(t)
	built, err := builder.Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("userland %d KiB, root %d KiB", built.Userland>>10, built.Root>>10)
	segment := vmtest.Segment(t)
	configs, err := guest.Machines(vmtest.Context(t), guest.Options{
		Image: built.Path, Dir: t.TempDir(), Nodes: 3, Segment: segment, Now: time.Now(), Machine: vm.Config{Accel: vm.TCG}, PSK: testPSK,
	})
	if err != nil {
		t.Fatal(err)
	}
	frames, err := os.Create(filepath.Join(t.TempDir(), "frames.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	defer frames.Close()
	stop, err := segment.Capture(frames)
	if err != nil {
		t.Fatal(err)
	}
	cluster := vmtest.Cluster(t, segment, configs...)
	var nodes []node
	for _, v := range cluster.VMs {
		nodes = append(nodes, watch(t, v))
	}
	for _, n := range nodes {
		n.ready()
		n.reaches(2)
	}
	end, err := nodes[0].Expect(vmtest.Context(t), regexp.MustCompile(`saboteur: (done|FAIL.*)`))
	for _, line := range regexp.MustCompile(`saboteur: .*`).FindAllString(nodes[0].Console(), -1) {
		t.Log(line)
	}
	if err != nil || !strings.HasPrefix(end[1], "done") {
		t.Fatalf("the first node: %v %v", end, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	onlyESP(t, frames.Name())
	for _, n := range nodes[1:] {
		n.noLossBetween("node-2", "node-3")
	}
	for i, n := range nodes {
		n.powerOff()
		if i > 0 {
			n.noProblems()
		}
		forgetsPSK(t, configs[i])
	}
}

// reaches waits until the pod of the node reaches those of so many others.
func (n node) reaches(peers int) {
	n.t.Helper()
	n.wait(fmt.Sprintf("pings that %d peers answer", peers), func(e event.Event) bool {
		if e.Kind != event.Status || e.Name != guest.NetdService {
			return false
		}
		pings, complete, err := guest.Pings(e)
		return err == nil && complete && len(pings) == peers
	})
}

// noLossBetween checks that, once they did, pods of two nodes have answered
// each other all the time: what happens to a third does not concern them. One
// ping may be lost at the beginning: when both nodes begin at once, a second
// association replaces the first, and the one that answers has it a moment
// before the other.
func (n node) noLossBetween(nodes ...string) {
	n.t.Helper()
	answered, lost := map[string]bool{}, map[string]int{}
	for _, e := range n.Events() {
		if e.Kind != event.Status || e.Name != guest.NetdService {
			continue
		}
		pings, _, err := guest.Pings(e)
		if err != nil {
			n.t.Error(err)
		}
		for _, p := range pings {
			for _, name := range nodes {
				if p.Peer != name || !answered[name] || p.Answers {
					continue
				}
				if lost[name]++; lost[name] > 1 {
					n.t.Errorf("%s: the pod on %s has not answered for a while", n.Name(), name)
				}
			}
			answered[p.Peer] = p.Answers
		}
	}
}

// sabotaged gives the programs of a node, with the saboteur before netd.
func sabotaged(t *testing.T) func(arch, name string) ([]byte, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "saboteur")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, "weft/qemu-tests/saboteur")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile the saboteur: %v\n%s", err, said)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return func(arch, name string) ([]byte, error) {
		data, err := program(arch, name)
		if err != nil || name != "netd" {
			return data, err
		}
		whole := append(append([]byte{}, before...), data...)
		return binary.BigEndian.AppendUint64(whole, uint64(len(data))), nil
	}
}

// onlyESP checks the frames on the wire between the nodes: packets are
// encrypted, and no packet of a pod is there in clear.
func onlyESP(t *testing.T, pcap string) {
	t.Helper()
	f, err := os.Open(pcap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	encrypted, bare := 0, 0
	if err := eachFrame(f, func(frame []byte) {
		p, ok := parse(frame)
		switch {
		case !ok:
		case isPod(p.from) || isPod(p.to):
			if bare++; bare < 5 {
				t.Errorf("a packet of a pod is bare on the wire: %s to %s, protocol %d", p.from, p.to, p.protocol)
			}
		case p.protocol == protocolESP:
			encrypted++
		}
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d packets of ESP", encrypted)
	if encrypted < 6 {
		t.Errorf("%d packets of ESP; want some of each pair of nodes", encrypted)
	}
	if bare > 0 {
		t.Errorf("%d packets of pods are bare on the wire", bare)
	}
}

// testPSK is the key all nodes share.
var testPSK = strings.Repeat("5eed", 24)

// forgetsPSK checks that the key is not on the boot partition any more.
func forgetsPSK(t *testing.T, c vm.Config) {
	t.Helper()
	f, _ := openDisk(t, diskOf(c))
	boot := partition(t, diskOf(c), disk.Boot)
	data := make([]byte, boot.Size)
	if _, err := f.ReadAt(data, boot.Start); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(testPSK[:16])) {
		t.Error("the pre-shared key is still on the boot partition")
	}
}
