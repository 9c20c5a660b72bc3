// The runtime looks for limits of its cgroup at the start and every second
// from then on (runtime package, GOMAXPROCS). PID 1 is in the root's, which
// has none.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command init is PID 1 of a weft node.
//
// In the initramfs it loads what the root file system needs, waits for its
// partition, mounts it and makes it the root (early.go). There it goes on as
// the same program and brings the node up: mounts, modules, kernel settings,
// the data partition, identity and name, links, netd (boot.go), says when the
// node is ready, and stays to supervise, to reap and to stop the node in
// order.
//
// It does not start itself again from the root: that costs a third of a
// second of an emulated boot, to give back the few megabytes that the program
// takes in the initramfs. All else there is freed.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"weft/event"
	"weft/init/cmdline"
	"weft/init/console"
	"weft/init/keep"
	"weft/init/power"
	"weft/init/report"
	"weft/init/status"
	"weft/init/switchroot"
	"weft/init/timeline"
	"weft/profiles"
)

const usage = `init is the first program of a weft node; the kernel starts it.

Usage:
  init status [--json]   print what the node knows of itself
  init check             print what is wrong; exit code 1 when something is
  init sysctl            print the kernel settings, wanted against actual
  init --version         print the version
  init --help            print this text

Called as modprobe it loads kernel modules, as modprobe(8) does. The codes of
its other exits are those of sysexits(3).
`

// Exit codes of sysexits(3).
const (
	exitUsage    = 64
	exitSoftware = 70
)

func main() {
	if os.Getpid() != 1 {
		if filepath.Base(os.Args[0]) == modprobeName {
			os.Exit(modprobe(os.Args[1:]))
		}
		os.Exit(outside(os.Args[1:]))
	}
	debug.SetGCPercent(bootGC)
	n := newNode()
	defer n.caught()
	n.openConsoles()
	n.attachPort()
	early, err := switchroot.InInitramfs()
	if err != nil {
		n.log.Problem("%v", err)
	}
	var d *devices
	if early {
		if _, stage := n.args.Get(profiles.ArgStage); stage {
			n.stage()
		}
		d = n.early()
	}
	n.boot(d)
}

// bootGC keeps the garbage of a boot, some 3 MB, until the node is ready: the
// runtime collects first at bootGC percent of 4 MB, and doing so costs an
// emulated CPU a tenth of a second. Afterwards the usual percentage holds.
const (
	bootGC  = 200
	usualGC = 100
)

// outside is what init does when it is not PID 1.
func outside(args []string) int {
	if len(args) == 1 {
		switch args[0] {
		case "--version":
			version := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
			}
			fmt.Println("weft init", version)
			return 0
		case "--help", "-h":
			fmt.Print(usage)
			return 0
		case "status", "check", "sysctl":
			return show(args[0], false)
		}
	}
	if slices.Equal(args, []string{"status", "--json"}) {
		return show("status", true)
	}
	fmt.Fprint(os.Stderr, "init: this is not PID 1, nothing was done\n\n"+usage)
	return exitUsage
}

// node is the running system, as both stages see it.
type node struct {
	ctx     context.Context
	cancel  context.CancelFunc
	console *console.Console
	port    *report.Port
	log     *timeline.Log
	args    cmdline.Args
	// history keeps what the log told, publisher has it shown.
	history   *status.History
	publisher *status.Publisher

	mu      sync.Mutex
	drivers map[string]bool // reported by driverLoaded
	words   func(string)    // keeps why init gives up; nil when there is nowhere
}

// newNode makes the kernel's file systems appear and reads the command line.
func newNode() *node {
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{ctx: ctx, cancel: cancel, console: console.New(), port: report.New(), drivers: make(map[string]bool)}
	n.publisher = status.NewPublisher()
	n.history = status.NewHistory(n.publisher.Poke)
	n.log = timeline.New(timeline.Uptime, n.console.Line, func(e event.Event) {
		n.history.Add(e)
		n.port.Send(e)
	})
	mountErrs := mountEarly()
	line, err := keep.Read("/proc/cmdline", 64<<10)
	if err != nil {
		mountErrs = append(mountErrs, err)
	}
	n.args = cmdline.Parse(string(line))
	// There is no console before /dev and /sys are mounted; the messages wait.
	for _, err := range mountErrs {
		defer n.log.Problem("%v", err)
	}
	return n
}

// openConsoles opens every console of the kernel. When it names none that can
// be opened, lines go to the kernel's log.
func (n *node) openConsoles() {
	active, _ := keep.Read("/sys/class/tty/console/active", 4096)
	for _, name := range console.Names(string(active)) {
		if w, err := console.OpenDevice("/dev/" + name); err == nil {
			n.console.Add(name, w)
		}
	}
	if n.console.Len() > 0 {
		return
	}
	for _, path := range []string{"/dev/console", "/dev/kmsg"} {
		if w, err := console.OpenDevice(path); err == nil {
			n.console.Add(path, w)
			return
		}
	}
}

// attachPort opens the event port, if there is one by now.
func (n *node) attachPort() {
	if n.port.Attached() {
		return
	}
	name, ok := report.Find("/sys", event.Port)
	if !ok {
		return
	}
	w, err := console.OpenDevice("/dev/" + name) // never waits either
	if err != nil {
		return
	}
	if !n.port.Attach(w) {
		w.Close()
	}
}

// goes starts a goroutine whose panic ends the node in order.
func (n *node) goes(f func()) {
	go func() {
		defer n.caught()
		f()
	}()
}

// beforeReboot is how long a person has to read why the node gave up.
const beforeReboot = 10 * time.Second

// caught turns a panic of PID 1 into its reason on every console and a reboot
// a little later. The kernel itself would only say that init was killed. What
// the runtime does not let a program catch still ends in the kernel's panic,
// which reboots too (kernel.panic, see boot.go).
func (n *node) caught() {
	r := recover()
	if r == nil {
		return
	}
	n.log.Problem("init has a bug: %v\n%s", r, debug.Stack())
	n.keepWords(fmt.Sprintf("init has a bug: %v\n%s", r, debug.Stack()))
	n.giveUp("init cannot go on; please report the lines above")
}

// onGiveUp has keep called with the reason when init gives up.
func (n *node) onGiveUp(keep func(string)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.words = keep
}

// wordsWithin is how long keeping the reason may take.
const wordsWithin = 3 * time.Second

// keepWords keeps why init gives up, if there is somewhere to keep it. Init is
// broken by then: whatever hangs or breaks here must not keep it from ending.
func (n *node) keepWords(why string) {
	n.mu.Lock()
	keep := n.words
	n.words = nil
	n.mu.Unlock()
	if keep == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		keep(why)
	}()
	select {
	case <-done:
	case <-time.After(wordsWithin):
	}
}

// giveUp says why the boot ends, leaves time to read it, and reboots, so that
// the boot loader's counting can fall back to the other slot.
func (n *node) giveUp(format string, args ...any) {
	n.log.Degraded(fmt.Sprintf(format, args...))
	n.keepWords(fmt.Sprintf(format, args...))
	n.log.Note("rebooting in %d s", int(beforeReboot.Seconds()))
	n.console.Flush(beforeReboot)
	time.Sleep(beforeReboot)
	if err := power.Do(power.Reboot); err != nil {
		n.log.Problem("%v", err)
		n.console.Flush(time.Second)
	}
	os.Exit(exitSoftware) // the kernel panics, and reboots if told so
}
