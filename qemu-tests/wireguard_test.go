package qemutests

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"weft/builder"
	"weft/builder/disk"
	"weft/builder/guest"
	"weft/event"
	"weft/netd/status"
	"weft/netd/store/etcd/etcdtest"
	"weft/netd/wanted"
	"weft/netd/wireguard"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/vmtest"
)

const wireguardProfile = `weft: profile/v1
name: wireguard
description: pods reach each other through WireGuard, IPv4 and IPv6
network:
  pods: [10.244.0.0/16, "fd42:0:0::/48"]
  backend: {type: wireguard}
  probe: true
`

// wireguardMachines are three nodes of an image in which the wanderer stands
// before netd; edit is given each node file, numbered, and may change it.
func wireguardMachines(t *testing.T, name, profile string, edit func(i int, node *profiles.Node)) (configs []vm.Config, frames *os.File, start func() []node) {
	t.Helper()
	o, err := options(board, profileFile(t, name, profile))
	if err != nil {
		t.Fatal(err)
	}
	o.Program = standsBefore(t, "weft/qemu-tests/wanderer")
	built, err := builder.Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	segment := vmtest.Segment(t)
	configs, err = guest.Machines(vmtest.Context(t), guest.Options{
		Image: built.Path, Dir: t.TempDir(), Nodes: 3, Segment: segment, Now: time.Now(), Machine: vm.Config{Accel: vm.TCG},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, node := range numbered(t, configs) {
		edit(i, &node)
		setNodeFile(t, configs[i], node)
	}
	frames, err = os.Create(filepath.Join(t.TempDir(), "frames.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { frames.Close() })
	stop, err := segment.Capture(frames)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stop() })
	return configs, frames, func() (nodes []node) {
		for _, v := range vmtest.Cluster(t, segment, configs...).VMs {
			nodes = append(nodes, watch(t, v))
		}
		return nodes
	}
}

// numbered are the node files of machines, as package cluster numbers them.
func numbered(t *testing.T, configs []vm.Config) []profiles.Node {
	t.Helper()
	under := cluster.Underlay{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24"), netip.MustParsePrefix("fd77::/64")}}
	for _, c := range configs {
		under.Uplinks = append(under.Uplinks, macFor(c.Name, 0))
		under.MACs = append(under.MACs, macFor(c.Name, segmentCard))
	}
	network := profiles.Network{Pods: pods}
	nodes, err := cluster.Plan(network.WithDefaults(), under)
	if err != nil {
		t.Fatal(err)
	}
	return nodes
}

func macFor(name string, card int) net.HardwareAddr { return vm.MACFor(name, card) }

// keyOf is the key of node i in this test, always the same.
func keyOf(t *testing.T, i int) wireguard.Private {
	t.Helper()
	key, err := wireguard.Generate(strings.NewReader(strings.Repeat(string(rune('a'+i)), 32)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// giveKeys gives what puts the key of node i into its node file, and those of the
// peers into its list.
func giveKeys(t *testing.T) func(i int, node *profiles.Node) {
	return func(i int, node *profiles.Node) {
		node.WireGuardKey = keyOf(t, i).Reveal()
		for k := range node.Peers {
			node.Peers[k].PublicKey = keyOf(t, k).Public().String()
		}
	}
}

// fromStore leaves to the store what nodes otherwise have in a list.
func fromStore(_ int, node *profiles.Node) { node.Subnets, node.Peers = nil, nil }

// withSecret is edit, and gives every node the same pre-shared key.
func withSecret(edit func(int, *profiles.Node)) func(int, *profiles.Node) {
	return func(i int, node *profiles.Node) {
		edit(i, node)
		node.PSK = sharedSecret
	}
}

// sharedSecret is the pre-shared key of tests: 32 bytes.
const sharedSecret = "d2VmdCB0ZXN0cyBzaGFyZSB0aGlzIHNlY3JldCBrZXk="

// bootOf is the whole boot partition of a machine, free sectors too.
func bootOf(t *testing.T, cfg vm.Config) []byte {
	t.Helper()
	p := partition(t, diskOf(cfg), disk.Boot)
	f, err := os.Open(diskOf(cfg))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, p.Size)
	if _, err := f.ReadAt(data, int64(p.Start)); err != nil {
		t.Fatal(err)
	}
	return data
}

// standsBefore gives the programs of a node, with another one before netd:
// netd, and its length in the last eight bytes, is appended to it.
func standsBefore(t *testing.T, pkg string) func(arch, name string) ([]byte, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "before")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", pkg, err, said)
	}
	head, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return func(arch, name string) ([]byte, error) {
		data, err := program(arch, name)
		if err != nil || name != "netd" {
			return data, err
		}
		whole := append(append([]byte{}, head...), data...)
		return binary.BigEndian.AppendUint64(whole, uint64(len(data))), nil
	}
}

// loses waits until the pods on a peer no longer answer.
func (n node) loses(peer string) {
	n.t.Helper()
	n.wait("pings to "+peer+" that do not answer", func(e event.Event) bool {
		if e.Kind != event.Status || e.Name != guest.NetdService {
			return false
		}
		pings, _, err := guest.Pings(e)
		silent := 0
		for _, p := range pings {
			if p.Peer == peer && !p.Answers {
				silent++
			}
		}
		return err == nil && silent == 2
	})
}

// wandered waits for the end of what the wanderer does on a node.
func (n node) wandered() {
	n.t.Helper()
	end, err := n.Expect(vmtest.Context(n.t), regexp.MustCompile(`wanderer: (done|FAIL[^\r\n]*)[\r\n]`))
	for _, line := range regexp.MustCompile(`wanderer: [^\r\n]*`).FindAllString(n.Console(), -1) {
		n.t.Log(n.Name(), line)
	}
	if err != nil || end[1] != "done" {
		n.t.Fatalf("%s: %v %v", n.Name(), end, err)
	}
}

// Three nodes with a list of peers and their keys. On the first one netd is
// killed, the third moves to another address; nothing of the pods is on the
// wire in clear.
func TestPodsReachEachOtherThroughWireGuardWhateverHappensToIt(t *testing.T) {
	configs, frames, start := wireguardMachines(t, "wireguard", wireguardProfile, giveKeys(t))
	nodes := start()
	for i, n := range nodes {
		n.ready()
		n.reaches(4)
		if bytes.Contains(bootOf(t, configs[i]), []byte(keyOf(t, i).Reveal())) {
			t.Errorf("%s: the key is still on the boot partition", n.Name())
		}
		if strings.Contains(n.Console(), keyOf(t, i).Reveal()) {
			t.Errorf("%s: the key is on the console", n.Name())
		}
	}
	for _, i := range []int{2, 0, 1} {
		nodes[i].wandered()
	}
	// A peer is lost and returns.
	for _, up := range []bool{false, true} {
		nodes[0].Mark()
		nodes[1].Port(segmentCard).SetUp(up)
		if up {
			nodes[0].reaches(4)
		} else {
			nodes[0].loses("node-2")
		}
	}
	onlyWireGuard(t, frames.Name(), profiles.DefaultListenPort, profiles.DefaultListenPortV6)
	for i, n := range nodes {
		if i > 0 { // on the first one, netd was killed
			n.onlyNoClock()
		}
		n.powerOff()
	}
}

// tablesAreReadable checks that what netd says last fits a terminal, and logs it.
func (n node) tablesAreReadable() {
	n.t.Helper()
	var last event.Event
	for _, e := range n.Events() {
		if e.Kind == event.Status && e.Name == guest.NetdService {
			last = e
		}
	}
	var report status.Report
	if err := json.Unmarshal(last.Data, &report); err != nil {
		n.t.Fatalf("%s: netd's status: %v", n.Name(), err)
	}
	var text bytes.Buffer
	for _, write := range []func(io.Writer, status.Report, status.Style) error{status.WriteStatus, status.WritePeers} {
		if err := write(&text, report, status.Style{}); err != nil {
			n.t.Fatal(err)
		}
	}
	n.t.Logf("%s: netd says\n%s", n.Name(), &text)
	for line := range strings.Lines(text.String()) {
		if columns := utf8.RuneCountInString(strings.TrimSpace(line)); columns > 80 {
			n.t.Errorf("%s: %d columns: %s", n.Name(), columns, line)
		}
	}
	if dir := os.Getenv("WEFT_KEEP_STATUS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, n.Name()+".json"), last.Data, 0o644); err != nil {
			n.t.Error(err)
		}
	}
}

// onlyNoClock is noProblems for a test that lasts: there is no time server, and
// after a while a node says so.
func (n node) onlyNoClock() {
	n.t.Helper()
	for _, text := range n.problems() {
		if !strings.HasPrefix(text, "clock: no time server") {
			n.t.Errorf("%s has a problem: %s", n.Name(), text)
		}
	}
}

const rotationProfile = `weft: profile/v1
name: rotation
description: pods reach each other through WireGuard, leases are in etcd
network:
  pods: [10.244.0.0/16, "fd42:0:0::/48"]
  backend: {type: wireguard}
  store:
    type: etcd
    etcd: {endpoints: ["http://10.0.2.2:%d"]}
  probe: true
`

// The first node replaces its key, and netd is killed on the second in the
// middle of it, while all nodes ping the pods of all others, at least 300 times
// each by each family; nobody loses a ping, and packets took the second devices meanwhile.
func TestKeyIsReplacedWithoutLosingAPing(t *testing.T) {
	// The guests reach the loopback of this host at the gateway of their
	// first cards (QEMU's user networking).
	_, frames, start := wireguardMachines(t, "rotation", fmt.Sprintf(rotationProfile, etcdPort(t, etcdtest.Start(t))), fromStore)
	nodes := start()
	for _, n := range nodes {
		n.ready()
		n.reaches(4)
	}
	for _, n := range nodes {
		n.wandered()
	}
	port, portV6 := wanted.LanePorts(profiles.Backend{})
	onlyWireGuard(t, frames.Name(), profiles.DefaultListenPort, profiles.DefaultListenPortV6, port, portV6)
	for i, n := range nodes {
		n.tablesAreReadable()
		if i != 1 { // on the second one, netd was killed
			n.onlyNoClock()
		}
		n.powerOff()
	}
}

const oneDeviceProfile = `weft: profile/v1
name: one-device
description: one WireGuard device carries both families of pods
network:
  pods: [10.244.0.0/16, "fd42:0:0::/48"]
  backend: {type: wireguard, mode: %s, pskFile: ` + profiles.DefaultPSKFile + `}
  probe: true
`

// Mode ipv6 and a pre-shared key; leases are in etcd. Two nodes replace their
// keys at the same time and nobody loses a ping. Then the third moves, and what
// the others learn of that is in the store.
func TestTwoKeysAreReplacedAtOnceInOneDevice(t *testing.T) {
	server := etcdtest.Start(t)
	profile := fmt.Sprintf(oneDeviceProfile+"  store: {type: etcd, etcd: {endpoints: [\"http://10.0.2.2:%d\"]}}\n", profiles.ModeIPv6, etcdPort(t, server))
	_, frames, start := wireguardMachines(t, "one-device", profile, withSecret(fromStore))
	nodes := start()
	for _, n := range nodes {
		n.ready()
		n.reaches(4)
	}
	for _, n := range nodes {
		n.wandered()
	}
	if leases := fmt.Sprint(server.Etcdctl(t, "get", "--prefix", "/coreos.com/network/subnets/")); !strings.Contains(leases, "[fd77::43]:51820") {
		t.Errorf("nobody tells of the third node's new address:\n%s", leases)
	}
	lane, _ := wanted.LanePorts(profiles.Backend{})
	onlyWireGuard(t, frames.Name(), profiles.DefaultListenPort, lane)
	for _, n := range nodes {
		n.tablesAreReadable()
		n.onlyNoClock()
		n.powerOff()
	}
}

// Mode auto, a list of peers and a pre-shared key: both families of pods take one
// device over IPv4, since the nodes' IPv6 addresses are private too.
func TestOneDeviceCarriesBothFamilies(t *testing.T) {
	_, frames, start := wireguardMachines(t, "auto", fmt.Sprintf(oneDeviceProfile, profiles.ModeAuto), withSecret(giveKeys(t)))
	nodes := start()
	for _, n := range nodes {
		n.ready()
		n.reaches(4)
	}
	for _, n := range nodes {
		n.wandered()
	}
	onlyWireGuard(t, frames.Name(), profiles.DefaultListenPort)
	for _, n := range nodes {
		n.tablesAreReadable()
		n.onlyNoClock()
		n.powerOff()
	}
}

// etcdPort is the port of an etcd's clients.
func etcdPort(t *testing.T, server *etcdtest.Server) int {
	t.Helper()
	endpoint, err := url.Parse(server.Store().Endpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(endpoint.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
