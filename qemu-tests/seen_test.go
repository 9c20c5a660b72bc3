package qemutests

import (
	"context"
	"os"
	"regexp"
	"testing"

	"weft/builder"
	"weft/builder/disk"
	"weft/event"
	"weft/init/status"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/vmtest"
)

// inspected is the end of what the inspector says.
var inspected = regexp.MustCompile(`inspector: (done|FAIL[^\r\n]*)[\r\n]`)

// From inside: the status file, socket and commands; the kernel's request for
// a module; settings that others change; a data partition that is full. From
// outside: the document that comes at ready.
func TestANodeShowsItselfAnswersTheKernelAndSurvivesAFullDisk(t *testing.T) {
	t.Parallel()
	o, err := options(board, "dual-stack")
	if err != nil {
		t.Fatal(err)
	}
	o.Program = standsBefore(t, "weft/qemu-tests/inspector")
	result, err := builder.Build(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	cfg := machine(t, result.Path, vm.BIOS)
	n := start(t, cfg)
	e := n.wait("the node's document", func(e event.Event) bool { return e.Kind == event.Status && e.Name == "node" })
	d, err := status.Decode(e.Data)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Contract) == 0 || len(d.Boot) == 0 || d.Node.UUID == "" || d.At.IsZero() {
		t.Errorf("the document is not complete: %s", e.Data)
	}
	end, err := n.Expect(vmtest.Context(t), inspected)
	for _, line := range regexp.MustCompile(`inspector[:|] ?[^\r\n]*`).FindAllString(n.Console(), -1) {
		t.Log(line)
	}
	if err != nil || end[1] != "done" {
		t.Fatalf("the inspector ends with %q, %v", end, err)
	}
	n.powerOff()
	cleanDisk(t, diskOf(cfg))
}

// A large damaged partition is not thrown away: most of it stays as it was,
// in a partition of its own.
func TestALargeDamagedDataPartitionIsSetAside(t *testing.T) {
	t.Parallel()
	cfg := machine(t, buildOf(t, vxlan), vm.BIOS)
	grow(t, diskOf(cfg), 6<<30)
	n := start(t, cfg)
	id := n.identity()
	n.ready()
	n.powerOff()
	f, err := os.OpenFile(diskOf(cfg), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old := partition(t, diskOf(cfg), disk.Data)
	marker := []byte("something that matters")
	if _, err := f.WriteAt(marker, old.Start+1<<30); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(garbage(16*blockSize), old.Start); err != nil {
		t.Fatal(err)
	}

	n = start(t, cfg)
	n.problem("are kept as they were in vda", "weft-damaged")
	n.problem("THE DATA PARTITION vda5 WAS NOT SOUND AND HAS BEEN MADE NEW")
	if now := n.identity(); now.UUID == id.UUID {
		t.Error("the node has its old uuid")
	}
	n.ready()
	n.powerOff()
	cleanDisk(t, diskOf(cfg))
	back := make([]byte, len(marker))
	if _, err := f.ReadAt(back, old.Start+1<<30); err != nil || string(back) != string(marker) {
		t.Errorf("what mattered is %q, %v", back, err)
	}
	if p := partition(t, diskOf(cfg), disk.Data); p.Start <= old.Start || p.Start+p.Size != old.Start+old.Size {
		t.Errorf("the new partition is %+v, the old one was %+v", p, old)
	}
	// And it is found again.
	n = start(t, cfg)
	n.ready()
	n.powerOff()
	n.noProblems()
}
