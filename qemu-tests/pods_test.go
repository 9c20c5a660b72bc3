package qemutests

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"weft/builder/guest"
	"weft/event"
	"weft/netd/status"
	"weft/netd/wanted"
	"weft/profiles"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/vmtest"
)

// segmentCard is the place of the card that leads to the other nodes.
const segmentCard = 1

func TestPodsOfTwoNodesPingEachOtherThroughVXLAN(t *testing.T) {
	segment := vmtest.Segment(t)
	configs, err := guest.Machines(vmtest.Context(t), guest.Options{
		Image: buildOf(t, dualStack), Dir: t.TempDir(), Nodes: 2, Segment: segment, Now: time.Now(),
		Machine: vm.Config{Accel: vm.TCG},
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
	nodes := []node{watch(t, cluster.VMs[0]), watch(t, cluster.VMs[1])}
	for i, n := range nodes {
		n.ready()
		n.pings(true)
		if got, want := n.kernelState(), golden(i+1, 2-i); got != want {
			t.Errorf("%s holds\n%s\nwant\n%s", n.Name(), got, want)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	onlyTunnelled(t, frames.Name())

	// The guest of a pulled cable is not told; only the pings tell.
	for _, up := range []bool{false, true} {
		for _, n := range nodes {
			n.Mark()
		}
		nodes[0].Port(segmentCard).SetUp(up)
		for _, n := range nodes {
			n.pings(up)
		}
	}
	for _, n := range nodes {
		n.powerOff()
		n.noProblems()
	}
}

// pings waits until the pod of the node reaches those of all other nodes by
// both families, or, with false, none of them.
func (n node) pings(answers bool) {
	n.t.Helper()
	n.wait(fmt.Sprintf("pings that answer: %v", answers), func(e event.Event) bool {
		if e.Kind != event.Status || e.Name != guest.NetdService {
			return false
		}
		pings, _, err := guest.Pings(e)
		if err != nil {
			n.t.Error(err)
			return true
		}
		var families [2]bool
		for _, p := range pings {
			if p.Answers != answers {
				return false
			}
			families[p.To.BitLen()/128] = true
		}
		return families == [2]bool{true, true}
	})
}

// kernelState is what the kernel holds of netd's according to its last
// status, without the numbers that the kernel hands out.
func (n node) kernelState() string {
	n.t.Helper()
	events := n.Events()
	slices.Reverse(events)
	i := slices.IndexFunc(events, func(e event.Event) bool {
		return e.Kind == event.Status && e.Name == guest.NetdService
	})
	var report status.Report
	n.decode(events[i], &report)
	if report.Kernel == nil {
		n.t.Fatalf("%s: no kernel state in %s", n.Name(), events[i].Data)
	}
	for i := range report.Kernel.Links {
		link := &report.Kernel.Links[i]
		link.Index, link.VXLAN.Underlay = 0, 0
	}
	return text(*report.Kernel)
}

// text is kernel state for people and for comparison.
func text(s wanted.State) string {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// golden is what the kernel of node own must hold to reach node peer: what
// flannel makes, one device a family, and the route that keeps what is for its
// own pods from going elsewhere, in the places that package cluster
// gives the nodes.
func golden(own, peer int) string {
	addr := func(format string, k int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(format, k)) }
	mac := func(k int) wanted.MAC { return wanted.MAC(profiles.VTEPMAC(fmt.Sprintf("node-%d", k))) }
	var s wanted.State
	for _, f := range []struct {
		device           string
		mtu              int // the card's 1500 less the headers
		underlay, subnet string
		bits             int
		metric           uint32
	}{
		{"flannel-v6.1", 1430, "fd77::%d", "fd42:0:0:%d::", 64, 1024},
		{"flannel.1", 1450, "10.77.0.%d", "10.244.%d.0", 24, 0},
	} {
		there := addr(f.subnet, peer)
		s.Links = append(s.Links, wanted.Link{
			Name: f.device, Kind: wanted.KindVXLAN, Alias: wanted.Mark, MAC: mac(own), MTU: f.mtu, Up: true, ChecksumOffload: true,
			VXLAN: wanted.VXLAN{VNI: profiles.DefaultVNI, Port: profiles.DefaultPort, Local: addr(f.underlay, own)},
		})
		s.FDB = append(s.FDB, wanted.FDBEntry{Link: f.device, MAC: mac(peer), Dst: addr(f.underlay, peer)})
		// IPv4 sorts before IPv6 where addresses decide.
		here := addr(f.subnet, own)
		s.Addresses = slices.Insert(s.Addresses, 0, wanted.Address{Link: f.device, Prefix: netip.PrefixFrom(here, here.BitLen())})
		subnet := netip.PrefixFrom(there, f.bits)
		s.Routes = slices.Insert(s.Routes, 0, wanted.Route{
			Dst: subnet, Via: there, Link: f.device, OnLink: true, Metric: f.metric, Protocol: wanted.ProtocolFor(subnet),
		})
		ours := netip.PrefixFrom(here, f.bits)
		s.Routes = append(s.Routes, wanted.Route{Dst: ours, Unreachable: true, Metric: math.MaxUint32, Protocol: wanted.ProtocolFor(ours)})
		s.Neighs = slices.Insert(s.Neighs, 0, wanted.Neighbour{Link: f.device, IP: there, MAC: mac(peer)})
	}
	slices.SortFunc(s.Routes, wanted.CompareRoutes)
	return text(s)
}
