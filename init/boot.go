package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"weft/document"
	"weft/init/clock"
	"weft/init/keep"
	"weft/init/link"
	"weft/init/modules"
	"weft/init/mounts"
	"weft/init/ntp"
	"weft/init/power"
	"weft/init/ready"
	"weft/init/service"
	"weft/init/sysctl"
	"weft/init/trace"
	"weft/profiles"
)

// What has to work for the node to be ready.
const (
	itemProfile  = "profile"
	itemNodeFile = "node file"
	itemModules  = "modules"
	itemSysctls  = "sysctls"
	itemData     = "data partition"
	itemHostname = "hostname"
	itemNetwork  = "network"
	itemNetd     = "netd"
)

// readyWithin is how long the node may take before it says what is missing.
const readyWithin = 60 * time.Second

// system is the node on its root.
type system struct {
	*node
	devices *devices
	board   *ready.Board
	reaper  *service.Reaper

	image    profiles.System
	profile  profiles.Profile
	contract profiles.Contract
	conf     profiles.Node // the node file

	// Each channel is closed when its stage is over, well or not.
	loaderDone, nodeDone, modulesDone, sysctlsDone, dataDone, nameDone chan struct{}
	judged                                                             chan struct{} // closed when it is first known whether the node is ready
	judgedOnce                                                         sync.Once

	state    sync.Mutex      // guards what follows
	loader   *modules.Loader // nil when there is none
	hostname string          // once nameDone
	uuid     string
	leased   chan string // the first name a DHCP server gave
	uplinks  []link.Uplink
	seen     chan struct{} // closed when the first uplink was seen
	clock    clockKeeper
	cloud    cloud       // set before anything runs side by side
	leaving  atomic.Bool // the node is being stopped
	// addressed is closed when the first uplink has an address.
	addressed chan struct{}
	stateDir  string // where state is kept; empty when nowhere lasting

	// blessing is held while the slot is blessed, and for good once the node
	// leaves its disks: no boot partition is mounted behind its back.
	blessing sync.Mutex
	// keeping is held while state is written to the data partition.
	keeping sync.Mutex

	modules    moduleNotes
	disk       diskNotes
	advertised chan struct{} // the settings of IPv6 should be looked at

	supervisor *service.Supervisor
	journals   *service.Journals
	watcher    *serviceWatcher
	networked  chan struct{} // closed when the network was first reached
	guard      guard
	hangs      bool   // netd has shown no life; guarded by state
	memory     memory // guarded by state
	recording  sync.Mutex
}

// boot brings the node up and keeps it up. d hears of devices; nil when nobody
// does yet. It never returns.
func (n *node) boot(d *devices) {
	s := &system{
		node:   n,
		reaper: service.NewReaper(),
		board: ready.NewBoard(itemProfile, itemNodeFile, itemModules, itemSysctls, itemData, itemHostname,
			itemNetwork, itemNetd),
		loaderDone: make(chan struct{}), nodeDone: make(chan struct{}), modulesDone: make(chan struct{}),
		sysctlsDone: make(chan struct{}), dataDone: make(chan struct{}), nameDone: make(chan struct{}),
		leased: make(chan string, 1), advertised: make(chan struct{}, 1), seen: make(chan struct{}), addressed: make(chan struct{}),
		clock:     clockKeeper{servers: ntp.NewServers(), sane: make(chan struct{})},
		networked: make(chan struct{}), judged: make(chan struct{}),
	}
	n.onGiveUp(s.lastWords)
	requests := s.listenForStop()
	s.goes(func() { s.reaper.Run(s.ctx) })
	s.goes(func() { s.board.Watch(s.ctx.Done(), time.After(readyWithin), s) })

	step := s.log.Start("mounts")
	s.mountAll()
	step.Done("")
	if s.devices = d; d == nil {
		var err error
		if s.devices, err = s.watchDevices(); err != nil {
			s.log.Problem("%v; devices that appear from now on are not seen", err)
		}
	}
	s.makeSupervisor()
	s.goes(s.keepAlive)
	s.devices.watchButtons(func() { request(requests, power.Request{Action: power.Off, Why: "power button"}) })
	s.readImage()
	s.setClock(time.Time{})
	s.detectCloud()

	// From here on everything goes on side by side; what needs another's
	// result waits for it.
	s.goes(s.loadDrivers)
	s.goes(s.readNodeFile)
	s.goes(s.loadContract)
	s.goes(s.writeSysctls)
	s.goes(s.openData)
	s.goes(s.runLinks)
	s.goes(s.runClock)
	s.goes(s.takeName)
	s.goes(s.startServices)
	s.goes(s.recall)
	s.goes(s.showStatus)
	s.goes(s.watchSettings)

	s.stop(<-requests)
}

// listenForStop takes signals as requests to stop.
func (s *system) listenForStop() chan power.Request {
	requests := make(chan power.Request, 1)
	signals := make(chan os.Signal, 4)
	for sig := range power.Signals {
		signal.Notify(signals, sig)
	}
	s.goes(func() {
		for sig := range signals {
			request(requests, power.Signals[sig.(syscall.Signal)])
		}
	})
	if err := power.CatchCtrlAltDel(); err != nil {
		s.log.Problem("%v", err)
	}
	return requests
}

// request asks to stop; the first request counts.
func request(to chan power.Request, r power.Request) {
	select {
	case to <- r:
	default:
	}
}

// mountAll makes what is left of the mounts and what belongs to them.
func (s *system) mountAll() {
	s.answerKernel("")
	kernel := mounts.Kernel{}
	for _, err := range mounts.All(kernel, mounts.Late()) {
		s.log.Problem("%v", err)
	}
	if err := mounts.Share(kernel); err != nil {
		s.log.Problem("%v; containers will complain", err)
	}
	for name, target := range mounts.Links {
		if err := os.Symlink(target, name); err != nil && !errors.Is(err, fs.ErrExist) {
			s.log.Problem("%v", err)
		}
	}
	for _, dir := range []string{runDir, runDir + "/etc", runDir + "/notify", "/run/cni/net.d", "/run/flannel", "/run/lock"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			s.log.Problem("%v", err)
		}
	}
	s.panicReboots()
}

// panicReboots makes the kernel reboot 10 s after a panic, the value kubelet
// asks for too, unless the command line says otherwise: a node that hangs in
// a panic helps nobody, and init's own death is one.
func (s *system) panicReboots() {
	if _, told := s.args.Get("panic"); told {
		return
	}
	if err := sysctl.Write("/proc/sys", sysctl.Setting{Name: "kernel.panic", Value: "10", Reason: "a panicked node hangs"}); err != nil {
		s.log.Problem("%v", err)
	}
}

// runDir holds what is made anew at each boot.
const runDir = "/run/weft"

// maxImageFile bounds the files of the image that are read, in bytes.
const maxImageFile = 4 << 20

// readImage reads what the builder says of the image. A node without it still
// comes up as far as it can.
func (s *system) readImage() {
	bad := func(err error) {
		s.log.Problem("%v; the image is damaged or was not built by weft", err)
		s.board.Set(itemProfile, ready.Failed, err.Error())
	}
	s.board.Set(itemProfile, ready.Good, "")
	if err := readJSON(profiles.SystemFile, &s.image); err != nil {
		bad(err)
	}
	if err := readJSON(profiles.ContractFile, &s.contract); err != nil {
		bad(err)
	}
	for _, err := range lacking("/", "/sys/fs/cgroup", s.contract) {
		s.log.Problem("%v", err)
		s.board.Set(itemProfile, ready.Failed, err.Error())
	}
	data, err := keep.Read(profiles.ProfileFile, maxImageFile)
	if err == nil {
		var problems document.Problems
		s.profile, _, problems = profiles.Read(profiles.ProfileFile, data)
		err = problems.Errors()
	}
	if err != nil {
		bad(err)
	}
	s.log.Note("weft %s, image %s: %s on %s, kernel %s", s.image.Version, short(s.image.ID), s.image.Profile, s.image.Board, s.image.Kernel)
}

// readJSON reads a JSON file of the image.
func readJSON(path string, into any) error {
	data, err := keep.Read(path, maxImageFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// short is the start of an id, for people.
func short(id string) string { return id[:min(len(id), 12)] }

// setClock moves the clock forward to the least it can be.
func (s *system) setClock(kept time.Time) {
	now := time.Now()
	floor, behind := clock.Floor(now, time.Unix(s.image.Epoch, 0), kept)
	if !behind {
		return
	}
	if err := clock.Set(floor); err != nil {
		s.log.Problem("%v", err)
		return
	}
	s.log.Note("clock was %s, set to the earliest it can be, %s", now.UTC().Format(time.RFC3339), floor.UTC().Format(time.RFC3339))
}

// loadDrivers gives drivers to the devices of the node.
func (s *system) loadDrivers() {
	loader, err := newLoader(s.contractOptions())
	if err != nil {
		s.log.Problem("%v; only what is built into the kernel works", err)
	}
	s.state.Lock()
	s.loader = loader
	s.state.Unlock()
	close(s.loaderDone)
	if loader == nil {
		return
	}
	// The network is what a node is waited for. A driver that probes in its
	// own time, as those of disks do, holds up every module loaded after it
	// (kernel/module/main.c, do_init_module: async_synchronize_full), so all
	// others come once the contract is there.
	found := s.devices.useFor(loader, netDrivers)
	s.devices.useFor(loader, buttonDrivers...)
	<-s.modulesDone
	if found {
		s.waitForVerdict(restWithin)
	}
	s.devices.use(loader)
}

// buttonDrivers is where those of power buttons are: a node that is ready
// hears when its button is pressed.
var buttonDrivers = []string{"kernel/drivers/acpi/", "kernel/drivers/input/"}

// restWithin is how long devices that the network does not need wait for
// their drivers while the node gets ready, watchdogs among them. Where no network card could be served, it may sit behind one of
// those, as on USB, and nothing waits.
const restWithin = 5 * time.Second

// waitForVerdict waits until it is known whether the node is ready, or for a
// while.
func (s *system) waitForVerdict(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.judged:
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// netDrivers is where the kernel has the drivers of network cards.
const netDrivers = "kernel/drivers/net/"

// theLoader waits for the loader; nil when there is none.
func (s *system) theLoader() *modules.Loader {
	<-s.loaderDone
	s.state.Lock()
	defer s.state.Unlock()
	return s.loader
}

// loadContract loads the modules the profile needs.
func (s *system) loadContract() {
	defer close(s.modulesDone)
	loader := s.theLoader()
	has := func(string) bool { return true }
	if loader != nil {
		has = loader.Has
	}
	reasons := make(map[string]string)
	var names []string
	for _, need := range s.contract.Modules {
		for _, name := range need.Choose(has) {
			if _, twice := reasons[name]; !twice {
				names = append(names, name)
			}
			reasons[name] = need.Reason
		}
	}
	if loader == nil {
		if len(names) > 0 {
			s.board.Set(itemModules, ready.Failed, "the root has no module index")
			return
		}
		s.board.Set(itemModules, ready.Good, "")
		return
	}
	var failed []error
	loader.LoadAll(names, modules.Patient, func(r modules.Result) {
		s.modules.note(r, reasons[r.Name])
		switch {
		case r.Err != nil:
			failed = append(failed, fmt.Errorf("%s: %w (%s)", r.Name, r.Err, reasons[r.Name]))
			s.log.Problem("module %s: %v: %s", r.Name, r.Err, reasons[r.Name])
		case !r.Builtin:
			s.log.Took("module "+r.Name, r.Took, "")
		}
	})
	s.settle(itemModules, errors.Join(failed...))
	s.answerKernel(modprobePath)
}

// settle puts what came of an item on the board.
func (s *system) settle(item string, err error) {
	if err != nil {
		s.board.Set(item, ready.Failed, err.Error())
		return
	}
	s.board.Set(item, ready.Good, "")
}

// Ready is called when everything works.
func (s *system) Ready() {
	s.judgedOnce.Do(func() { close(s.judged) })
	if s.log.Ready() {
		debug.SetGCPercent(usualGC)
		s.goes(s.bless)
		s.goes(s.measureDisk)
	}
	s.history.Well()
	s.goes(s.tellHeld)
	s.goes(func() {
		// Who reads the status may count on the node remembering that it was
		// ready, whatever happens to it next.
		s.verdict(trace.Ready, "")
		s.tellStatus()
	})
}

// Degraded is called when something does not.
func (s *system) Degraded(reason string) {
	s.judgedOnce.Do(func() { close(s.judged) })
	s.log.Degraded(reason)
	s.goes(func() { s.verdict(trace.Degraded, reason) })
	s.goes(s.tellHeld)
	s.goes(s.tellStatus)
}
