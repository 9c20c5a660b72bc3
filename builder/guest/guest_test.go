package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/builder/buildtest"
	"weft/builder/disk"
	"weft/builder/fleet"
	"weft/builder/inspect"
	"weft/event"
	"weft/netd/status"
	"weft/profiles"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/hub"
)

// now is the time of the files that tests write.
var now = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// onDisk is how many bytes of a file are not in holes.
func onDisk(t *testing.T, path string) int64 {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks * 512
}

// sparse makes a file with content at both ends and a hole between.
func sparse(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("head"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("tail"), size-4); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestACopyHasTheContentAndTheHoles(t *testing.T) {
	const size = 64<<20 + 12345
	from := sparse(t, size)
	to := filepath.Join(t.TempDir(), "copy")
	if err := CopyDisk(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the copy differs: %d bytes, %v", len(got), err)
	}
	if blocks := onDisk(t, to); blocks > 4<<20 {
		t.Errorf("%d bytes on disk for 8 bytes of content", blocks)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a disk that may hold secrets has mode %v, %v", info.Mode(), err)
	}
}

// What systems and file systems without the quick ways do.
func TestReadingAndWritingCopiesTheSame(t *testing.T) {
	from := sparse(t, 8<<20+123)
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	to := filepath.Join(t.TempDir(), "copy")
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := copySparse(t.Context(), out, in); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the copy differs: %d bytes, %v", len(got), err)
	}
}

func TestAZeroTailIsPartOfTheCopy(t *testing.T) {
	from := filepath.Join(t.TempDir(), "zeros")
	if err := os.WriteFile(from, make([]byte, 3<<20+1), 0o644); err != nil {
		t.Fatal(err)
	}
	to := from + ".copy"
	if err := CopyDisk(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(to); err != nil || info.Size() != 3<<20+1 {
		t.Errorf("the copy: %v, %v", info, err)
	}
}

func TestACopyReplacesNothing(t *testing.T) {
	from := sparse(t, 4096)
	to := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(to, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := CopyDisk(t.Context(), from, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(to); err != nil || string(data) != "precious" {
		t.Errorf("what was there is %q, %v", data, err)
	}
}

func TestACancelledCopyLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	to := filepath.Join(t.TempDir(), "copy")
	if err := CopyDisk(ctx, sparse(t, 4096), to); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// report inspects a disk.
func report(t *testing.T, path string) (*inspect.Image, inspect.Report) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	i, err := inspect.Open(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	r := i.Report()
	if len(r.Faults) > 0 {
		t.Fatalf("faults: %q", r.Faults)
	}
	return i, r
}

func TestOnARealImage(t *testing.T) {
	image := buildtest.Image(t, "x86-64-cloud", "dual-stack").Path
	before, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a node file is written and replaced", func(t *testing.T) { nodeFile(t, image) })
	t.Run("one machine has no node file", func(t *testing.T) { alone(t, image) })
	t.Run("three machines know each other", func(t *testing.T) { together(t, image) })
	t.Run("members of a cluster have their own disks", func(t *testing.T) { members(t, image) })
	t.Run("a pod network too small for the nodes is said", func(t *testing.T) { crowded(t, image) })
	if after, err := os.ReadFile(image); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the image was changed: %v", err)
	}
}

// nodeFile puts three node files after each other onto a disk.
func nodeFile(t *testing.T, image string) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := CopyDisk(t.Context(), image, path); err != nil {
		t.Fatal(err)
	}
	// Sizes on both sides of a cluster, so that chains grow and shrink.
	for _, peers := range []int{0, 200, 1} {
		node := profiles.Node{Weft: profiles.NodeVersion, Hostname: "n"}
		for i := range peers {
			node.Peers = append(node.Peers, profiles.Peer{
				Name:      strings.Repeat("p", 1+i%50),
				Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 77, byte(i >> 8), byte(i)})},
			})
		}
		want, err := node.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if err := SetNodeFile(path, node, now); err != nil {
			t.Fatal(err)
		}
		i, r := report(t, path)
		if r.NodeFile != string(want) {
			t.Errorf("with %d peers the node file is %q", peers, r.NodeFile)
		}
		boot, _ := i.Disk.Layout.Partition(disk.Boot)
		buildtest.Tool(t, "fsck.vfat", "-n", buildtest.Partition(t, path, boot.Start, boot.Size))
	}
}

func alone(t *testing.T, image string) {
	dir := t.TempDir()
	machines, err := Machines(t.Context(), Options{Image: image, Dir: dir, Nodes: 1, Now: now})
	if err != nil || len(machines) != 1 {
		t.Fatalf("%d machines, %v", len(machines), err)
	}
	m := machines[0]
	if len(m.NICs) != 1 || m.NICs[0].Segment != nil || m.Arch != "amd64" || m.Memory == 0 || m.Machine == "" {
		t.Errorf("machine: %+v", m)
	}
	if _, r := report(t, m.Disks[0].Path); r.NodeFile != "" {
		t.Errorf("node file: %s", r.NodeFile)
	}
}

// together checks machines against each other and the files on their disks.
func together(t *testing.T, image string) {
	dir := t.TempDir()
	segment := hub.New("test")
	defer segment.Close()
	options := Options{Image: image, Dir: dir, Nodes: 3, Segment: segment, Now: now, Machine: vm.Config{StateDir: dir, Memory: 300}}
	machines, err := Machines(t.Context(), options)
	if err != nil || len(machines) != 3 {
		t.Fatalf("%d machines, %v", len(machines), err)
	}
	seen := map[string]bool{}
	fresh := func(what string) {
		t.Helper()
		if seen[what] {
			t.Errorf("%s is there twice", what)
		}
		seen[what] = true
	}
	var nodes []profiles.Node
	for _, m := range machines {
		fresh(m.Name)
		fresh(m.Disks[0].Path)
		fresh(m.StateDir)
		if m.Memory != 300 || len(m.NICs) != 2 || m.NICs[1].Segment != segment {
			t.Errorf("machine: %+v", m)
		}
		_, r := report(t, m.Disks[0].Path)
		node, _, problems := profiles.ReadNode("node.yaml", []byte(r.NodeFile))
		if len(problems) > 0 {
			t.Fatalf("the node file has problems:\n%v", problems)
		}
		if node.Hostname != m.Name || len(node.Addresses) != 2 || len(node.Subnets) != 2 {
			t.Errorf("node file of %s:\n%s", m.Name, r.NodeFile)
		}
		for _, i := range []int{0, 1} {
			mac := vm.MACFor(m.Name, i).String()
			fresh(mac)
			if !strings.Contains(r.NodeFile, mac) {
				t.Errorf("the node file of %s does not know its card %s", m.Name, mac)
			}
		}
		nodes = append(nodes, node)
	}
	for i, node := range nodes {
		if !reflect.DeepEqual(node.Peers, nodes[0].Peers) || len(node.Peers) != 3 {
			t.Errorf("%s has other peers: %+v", node.Hostname, node.Peers)
		}
		self := node.Peers[i]
		if self.Name != node.Hostname || !reflect.DeepEqual(self.Addresses, node.Addresses) || !reflect.DeepEqual(self.Subnets, node.Subnets) {
			t.Errorf("%s is %+v to its peers", node.Hostname, self)
		}
	}
	keepsDisks(t, options, machines)
}

// members checks the machines of a cluster's nodes, and the files on their
// disks.
func members(t *testing.T, image string) {
	segment := hub.New("test")
	defer segment.Close()
	nodes := []fleet.Member{
		{Name: "pi-1", Node: profiles.Node{Weft: profiles.NodeVersion, Hostname: "pi-1"}},
		{Name: "pi-2", Node: profiles.Node{Weft: profiles.NodeVersion, Hostname: "pi-2"}},
	}
	machines, err := Members(t.Context(), Options{Dir: t.TempDir(), Segment: segment, Now: now, Machine: vm.Config{Memory: 300}}, []string{image}, nodes)
	if err != nil || len(machines) != 2 {
		t.Fatalf("%d machines, %v", len(machines), err)
	}
	for i, m := range machines {
		if m.Name != nodes[i].Name || m.Memory != 300 || m.Machine == "" || len(m.NICs) != 2 || m.NICs[1].Segment != segment {
			t.Errorf("machine: %+v", m)
		}
		if _, r := report(t, m.Disks[0].Path); !strings.Contains(r.NodeFile, "hostname: "+m.Name) {
			t.Errorf("node file of %s:\n%s", m.Name, r.NodeFile)
		}
		if info, err := os.Stat(m.Disks[0].Path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the disk of %s has mode %v, %v", m.Name, info.Mode(), err)
		}
	}
	if cards := CardsOf("pi-1"); cards.Segment.String() != vm.MACFor("pi-1", 1).String() {
		t.Errorf("cards: %v", cards)
	}
}

// keepsDisks: what a node wrote to its disk is there in the next run.
func keepsDisks(t *testing.T, options Options, machines []vm.Config) {
	t.Helper()
	path := machines[1].Disks[0].Path
	if err := SetNodeFileData(path, []byte("weft: node/v1\nhostname: kept\n"), now); err != nil {
		t.Fatal(err)
	}
	again, err := Machines(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if _, r := report(t, again[1].Disks[0].Path); !strings.Contains(r.NodeFile, "kept") {
		t.Errorf("the disk was made anew:\n%s", r.NodeFile)
	}
}

func crowded(t *testing.T, image string) {
	dir := t.TempDir()
	_, err := Machines(t.Context(), Options{Image: image, Dir: dir, Nodes: 5000, Now: now})
	var wrong *ImageError
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "5000 nodes") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWhatIsNoImageIsRefused(t *testing.T) {
	for name, path := range map[string]string{"a small file": sparse(t, 4096), "a folder": t.TempDir()} {
		_, err := Machines(t.Context(), Options{Image: path, Dir: t.TempDir(), Nodes: 1})
		var wrong *ImageError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := SetNodeFile(sparse(t, 4096), profiles.Node{Weft: profiles.NodeVersion}, now); !errors.Is(err, disk.ErrNoTable) {
		t.Errorf("a node file on no disk: %v", err)
	}
}

// statusOf is an event of netd with a status as netd itself makes it.
func statusOf(t *testing.T, peers ...status.Peer) event.Event {
	t.Helper()
	data, err := json.Marshal(status.Report{Ready: true, Peers: peers})
	if err != nil {
		t.Fatal(err)
	}
	return event.Event{Kind: event.Status, Name: NetdService, Data: data}
}

// peer is a peer whose pod answers or does not.
func peer(name string, answers bool) status.Peer {
	return status.Peer{Name: name, Programmed: true, Probe: &status.Probe{
		From: netip.MustParseAddr("10.244.1.1"), To: netip.MustParseAddr("fd00::1"), Answers: answers, RTT: 1.25,
	}}
}

func TestPingsAreReadFromNetdsStatus(t *testing.T) {
	unprobed := peer("c", true)
	unprobed.Probe = nil
	for _, c := range []struct {
		name     string
		peers    []status.Peer
		pings    int
		complete bool
	}{
		{"no peers", nil, 0, false},
		{"all answer", []status.Peer{peer("a", true), peer("b", true)}, 2, true},
		{"one does not answer", []status.Peer{peer("a", true), peer("b", false)}, 2, false},
		{"one is not probed yet", []status.Peer{peer("a", true), unprobed}, 1, false},
	} {
		pings, complete, err := Pings(statusOf(t, c.peers...))
		if err != nil || len(pings) != c.pings || complete != c.complete {
			t.Errorf("%s: %v, complete %v, %v", c.name, pings, complete, err)
		}
	}
	pings, _, err := Pings(statusOf(t, peer("a", true), peer("b", false)))
	if err != nil {
		t.Fatal(err)
	}
	if got := pings[0].String(); got != "pod 10.244.1.1 -> pod fd00::1 on a: 1.25 ms" {
		t.Errorf("printed as %q", got)
	}
	if got := pings[1].String(); got != "pod 10.244.1.1 -> pod fd00::1 on b: no answer" {
		t.Errorf("printed as %q", got)
	}
	if _, _, err := Pings(event.Event{Data: []byte("{")}); err == nil {
		t.Error("half a status was taken")
	}
}
