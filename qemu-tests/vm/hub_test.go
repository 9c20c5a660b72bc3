package vm_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/hub"
	"weft/qemu-tests/vm/vmtest"
)

// pxeGuest is a guest that boots from its network card: the card's iPXE asks
// for an address by DHCP, a source of real frames without a kernel.
func pxeGuest(name string, segment *hub.Segment) vm.Config {
	return vm.Config{
		Name: name, Accel: vm.TCG, Memory: 64, Faults: []vm.FaultPattern{},
		NICs:     []vm.NIC{{Segment: segment, BootROM: true}},
		CPULimit: 20 * time.Second, WallLimit: 5 * time.Minute,
	}
}

// isDiscover says whether a frame is a DHCP request, IPv4 and UDP to port 67,
// from a card.
func isDiscover(frame []byte, from net.HardwareAddr) bool {
	return len(frame) > 42 && net.HardwareAddr(frame[6:12]).String() == from.String() &&
		binary.BigEndian.Uint16(frame[12:]) == 0x0800 && frame[23] == 17 &&
		binary.BigEndian.Uint16(frame[36:]) == 67
}

func TestGuestsAndTheHarnessMeetOnASegment(t *testing.T) {
	segment := vmtest.Segment(t)
	tap, err := segment.Tap("harness")
	if err != nil {
		t.Fatal(err)
	}
	cluster := vmtest.Cluster(t, segment, pxeGuest("one", segment), pxeGuest("two", segment))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	// Each guest's request reaches the harness.
	waiting := map[string]bool{"one": true, "two": true}
	for len(waiting) > 0 {
		frame, err := tap.ReadFrame(ctx)
		if err != nil {
			t.Fatalf("no request from %v: %v", waiting, err)
		}
		for name := range waiting {
			if isDiscover(frame, vm.MACFor(name, 0)) {
				delete(waiting, name)
			}
		}
	}
	// What one sends reaches the other, and what the harness sends reaches
	// the one it is for.
	one, two := cluster.VM("one"), cluster.VM("two")
	before := two.Port(0).Counters()
	if err := tap.WriteFrame(arpRequest(vm.MACFor("two", 0))); err != nil {
		t.Fatal(err)
	}
	if in := one.Port(0).Counters().FramesIn; in == 0 {
		t.Error("port of guest one counted no frame")
	}
	for two.Port(0).Counters().FramesOut == before.FramesOut {
		// iPXE repeats its requests, each of which is flooded to us: wait by
		// reading them.
		if _, err := tap.ReadFrame(ctx); err != nil {
			t.Fatalf("nothing was handed to guest two: %v", err)
		}
	}
	cluster.Kill()
	if err := cluster.Wait(t.Context()); err != nil {
		t.Errorf("after Kill: %v", err)
	}
	if n := len(segment.Ports()); n != 1 {
		t.Errorf("%d ports after the guests ended, want the tap's", n)
	}
}

// arpRequest is an ARP request to a card (RFC 826).
func arpRequest(to net.HardwareAddr) []byte {
	from := []byte{2, 0, 0, 0, 0, 1}
	frame := append(append([]byte{}, to...), from...)
	frame = append(frame, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
	frame = append(append(frame, from...), 10, 0, 0, 1)
	return append(append(frame, 0, 0, 0, 0, 0, 0), 10, 0, 0, 2)
}

func TestOneFailedGuestEndsTheCluster(t *testing.T) {
	segment := vmtest.Segment(t)
	well := guest(t, say+stop+text("well\n"))
	well.Name = "well"
	ill := guest(t, say+stop+text("\nKernel panic - not syncing: ill\n"))
	ill.Name = "ill"
	cluster := vmtest.Cluster(t, segment, well, ill)
	err := cluster.Wait(t.Context())
	var failure *vm.Failure
	if !errors.As(err, &failure) || failure.VM != "ill" {
		t.Errorf("error %v, want the failure of the ill guest", err)
	}
	if exit, err := cluster.VM("well").Wait(t.Context()); err == nil || !exit.Killed {
		t.Errorf("the other guest: %+v, %v; want it ended", exit, err)
	}
}

func TestOrderlyEndLeavesTheOthersRunning(t *testing.T) {
	segment := vmtest.Segment(t)
	stays := guest(t, say+stop+text("stays\n"))
	stays.Name = "stays"
	leaves := guest(t, say+powerOff+text("leaves\n"))
	leaves.Name = "leaves"
	cluster := vmtest.Cluster(t, segment, stays, leaves)
	if _, err := cluster.VM("leaves").Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-cluster.VM("stays").Done():
		t.Error("the other guest ended too")
	default:
	}
}

func TestGuestsThatCannotBeToldApartAreRefused(t *testing.T) {
	segment := vmtest.Segment(t)
	if _, err := vm.StartCluster(t.Context(), segment, vm.Config{Name: "twin"}, vm.Config{Name: "twin"}); err == nil {
		t.Error("two guests of one name were started")
	}
	same := []vm.NIC{{MAC: vm.MACFor("one", 0), Segment: segment}}
	if _, err := vm.StartCluster(t.Context(), segment, vm.Config{Name: "one"}, vm.Config{Name: "two", NICs: same}); err == nil {
		t.Error("two guests of one address were started")
	}
}
