package qemutests

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/builder/guest"
	"weft/event"
	"weft/profiles"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/vmtest"
)

// patience is how long a guest may take for one thing that a test waits for.
// A host that runs other tests too is slow; only a hang takes this long.
const patience = 5 * time.Minute

// machine copies an image for one node and returns what runs it. The UEFI
// variables live as long as the disk does.
func machine(t *testing.T, image string, firmware vm.Firmware) vm.Config {
	t.Helper()
	dir := t.TempDir()
	configs, err := guest.Machines(vmtest.Context(t), guest.Options{
		Image: image, Dir: dir, Nodes: 1, Now: time.Now(),
		Machine: vm.Config{Accel: vm.TCG, Firmware: firmware, StateDir: filepath.Join(dir, "state")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return configs[0]
}

// diskOf is the disk of a machine.
func diskOf(cfg vm.Config) string { return cfg.Disks[0].Path }

// setNodeFile writes a machine's node file.
func setNodeFile(t *testing.T, cfg vm.Config, node profiles.Node) {
	t.Helper()
	node.Weft = profiles.NodeVersion
	if err := guest.SetNodeFile(diskOf(cfg), node, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// A node is a running guest and the test that watches it.
type node struct {
	*vm.VM
	t *testing.T
}

// start starts a machine; it ends with the test.
func start(t *testing.T, cfg vm.Config) node {
	t.Helper()
	return watch(t, vmtest.Start(t, cfg))
}

// watch logs at the end of the test what a guest took.
func watch(t *testing.T, v *vm.VM) node {
	t.Cleanup(func() {
		v.Kill()
		u := v.Usage()
		t.Logf("%s took %.1f s of CPU in %.1f s", v.Name(), u.CPU.Seconds(), u.Wall.Seconds())
	})
	return node{v, t}
}

// within bounds one thing that a test waits for.
func (n node) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(vmtest.Context(n.t), patience)
}

// wait returns the first event since the start or the last Mark that match
// accepts; what says what is waited for.
func (n node) wait(what string, match func(event.Event) bool) event.Event {
	n.t.Helper()
	ctx, cancel := n.within()
	defer cancel()
	e, err := n.WaitEvent(ctx, match)
	if err != nil {
		n.t.Fatalf("%s: waiting for %s: %v", n.Name(), what, err)
	}
	return e
}

// step waits for a step of the timeline.
func (n node) step(name string) event.Event {
	n.t.Helper()
	return n.wait("the step "+name, func(e event.Event) bool { return e.Kind == event.Step && e.Name == name })
}

// problem waits for a problem whose text has all parts.
func (n node) problem(parts ...string) event.Event {
	n.t.Helper()
	return n.wait("a problem with "+strings.Join(parts, ", "), func(e event.Event) bool {
		return e.Kind == event.Problem && hasAll(e.Text, parts)
	})
}

// hasAll reports whether a text has all parts.
func hasAll(text string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}

// recovery is how long a degraded node that only waits for something has to
// become ready: on a busy host things come late.
const recovery = time.Minute

// ready waits until the node is ready.
func (n node) ready() event.Event {
	n.t.Helper()
	e := n.wait("ready", func(e event.Event) bool { return e.Kind == event.Ready || e.Kind == event.Degraded })
	if e.Kind == event.Ready {
		return e
	}
	ctx, cancel := context.WithTimeout(vmtest.Context(n.t), recovery)
	defer cancel()
	again, err := n.WaitEvent(ctx, func(e event.Event) bool { return e.Kind == event.Ready })
	if err != nil {
		n.t.Fatalf("%s is degraded: %s\n%v", n.Name(), e.Text, err)
	}
	return again
}

// degraded waits until the node says that it is degraded, and returns why.
func (n node) degraded() string {
	n.t.Helper()
	e := n.wait("degraded", func(e event.Event) bool { return e.Kind == event.Ready || e.Kind == event.Degraded })
	if e.Kind == event.Ready {
		n.t.Fatalf("%s is ready; it should be degraded", n.Name())
	}
	return e.Text
}

// identity waits until the node knows who it is.
func (n node) identity() event.Identified {
	n.t.Helper()
	e := n.wait("its identity", func(e event.Event) bool { return e.Kind == event.Identity })
	var id event.Identified
	n.decode(e, &id)
	return id
}

// held waits for what init says that the kernel holds.
func (n node) held() event.Held {
	n.t.Helper()
	e := n.wait("init's status", func(e event.Event) bool { return e.Kind == event.Status && e.Name == "init" })
	var held event.Held
	n.decode(e, &held)
	return held
}

// decode reads the data of an event.
func (n node) decode(e event.Event, into any) {
	n.t.Helper()
	if err := json.Unmarshal(e.Data, into); err != nil {
		n.t.Fatalf("%s: data of %s event: %v\n%s", n.Name(), e.Kind, err, e.Data)
	}
}

// blessed waits until init has told the boot loader that the slot works.
func (n node) blessed() {
	n.t.Helper()
	if e := n.step("slot a"); e.Text != "blessed" {
		n.t.Errorf("%s: step slot a says %q, want blessed", n.Name(), e.Text)
	}
}

// powerOff presses the power button and waits for the end.
func (n node) powerOff() {
	n.t.Helper()
	ctx, cancel := n.within()
	defer cancel()
	if err := n.PowerDown(ctx); err != nil {
		n.t.Fatal(err)
	}
	exit, err := n.Wait(ctx)
	if err != nil {
		n.t.Fatalf("%s does not power off: %v", n.Name(), err)
	}
	if exit.Shutdown != "guest-shutdown" {
		n.t.Errorf("%s ended by %q, want guest-shutdown", n.Name(), exit.Shutdown)
	}
}

// problems lists what the node has complained of.
func (n node) problems() []string {
	var list []string
	for _, e := range n.Events() {
		if e.Kind == event.Problem {
			list = append(list, e.Text)
		}
	}
	return list
}

// noProblems fails the test when the node has complained of anything.
func (n node) noProblems() {
	n.t.Helper()
	for _, text := range n.problems() {
		n.t.Errorf("%s has a problem: %s", n.Name(), text)
	}
}
