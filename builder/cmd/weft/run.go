package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/builder/guest"
	"weft/event"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/hub"

	"github.com/spf13/cobra"
)

// stopLimit is how long nodes get to shut down in order.
const stopLimit = 20 * time.Second

// The values of --until.
const (
	untilStopped = ""
	untilReady   = "ready"
	untilPods    = "pods"
)

// A runner is one run of weft run.
type runner struct {
	*app
	nodes      int
	uefi, bios bool
	accel      string
	memory     int
	keep       string
	until      string
	timeout    time.Duration
	asJSON     bool
	// For a cluster file: what its images are built from, and where.
	supply supply
	images string

	mu    sync.Mutex
	ready map[string]float64      // seconds to ready, by node
	pings map[string][]guest.Ping // the last of each node that answers all
}

// runCommand is weft run.
func (a *app) runCommand() *cobra.Command {
	r := &runner{app: a, ready: map[string]float64{}, pings: map[string][]guest.Ping{}}
	cmd := &cobra.Command{
		Use:   "run IMAGE|CLUSTER.yaml",
		Short: "Boot an image, or the nodes of a cluster file, in QEMU",
		Long: `Boot an image in QEMU, on one node or several, or the nodes of a cluster file.
The image itself is not changed: every node gets a copy.

Every node has a card with DHCP and the way to the outside. Several nodes have
a second one on a network of their own, and a node file with a name, addresses,
pod subnets and peers. Nothing needs root. KVM is used where a guest really
runs under it, software emulation otherwise. Images for Raspberry Pis do not
run: QEMU does not have their firmware.

Of a cluster file the image is built first, as weft build does. Its nodes have
their names, keys and addresses from the file, and an address in its networks
when it gives none. They share one link, whatever the networks are, and the
links that the file gives them for real cards do not count.

The consoles are shown until the nodes stop; an interrupt shuts them down, a
second one ends them at once.`,
		Example: `  weft run out/x86-64-cloud-vxlan.img
  weft run --uefi --nodes 3 out/x86-64-cloud-vxlan.img
  weft run --nodes 2 --until pods out/x86-64-cloud-vxlan.img
  weft run --keep my-cluster --nodes 2 out/x86-64-cloud-vxlan.img
  weft run home.yaml --until pods`,
		Args:              oneArg("image or cluster file"),
		ValidArgsFunction: completeFiles("img", "yaml", "yml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !isClusterFile(args[0]) {
				if err := r.check(); err != nil {
					return err
				}
				if err := there(args[0]); err != nil {
					return err
				}
				return r.run(cmd.Context(), r.imageMachines(args[0]))
			}
			if cmd.Flags().Changed("nodes") {
				return usage("--nodes: a cluster file has its nodes itself\nsee: weft run --help")
			}
			if err := there(args[0]); err != nil {
				return err
			}
			f, err := a.fleet(args[0])
			if err != nil {
				return err
			}
			r.nodes = len(f.Cluster.Nodes)
			if err := r.check(); err != nil {
				return err
			}
			machines, err := r.clusterMachines(cmd.Context(), f)
			if err != nil {
				return err
			}
			return r.run(cmd.Context(), machines)
		},
	}
	cmd.Flags().IntVar(&r.nodes, "nodes", 1, "how many nodes to boot")
	cmd.Flags().BoolVar(&r.uefi, "uefi", false, "boot by UEFI")
	cmd.Flags().BoolVar(&r.bios, "bios", false, "boot by BIOS (the default where the machine has one)")
	cmd.Flags().StringVar(&r.accel, "accel", "auto", "auto, kvm, hvf or tcg (software emulation)")
	cmd.Flags().IntVar(&r.memory, "memory", 0, "memory of a node in MiB (default the board's)")
	cmd.Flags().StringVar(&r.keep, "keep", "", "folder that keeps the nodes' disks for the next run")
	cmd.Flags().StringVar(&r.until, "until", untilStopped, `stop when all nodes are "ready", or when their "pods" ping each other`)
	cmd.Flags().DurationVar(&r.timeout, "timeout", 10*time.Minute, "how long --until waits")
	cmd.Flags().BoolVar(&r.asJSON, "json", false, "print the nodes' events as JSON, a line each, instead of their consoles")
	r.supply.flags(cmd, "file that pins the packages of a cluster's image (default OUT/weft.lock)")
	cmd.Flags().StringVar(&r.images, "out", "out", "folder that a cluster's image is built in")
	for flag, values := range map[string][]string{
		"until": {untilReady, untilPods},
		"accel": accelerators(),
	} {
		// The flag was just defined, the only reason this can fail.
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	a.identityFlag(cmd)
	return cmd
}

// accelerators are the values of --accel.
func accelerators() []string {
	return []string{string(vm.Auto), string(vm.KVM), string(vm.HVF), string(vm.TCG)}
}

// there refuses a file that is not there, and says how one is made.
func there(file string) error {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return usage("there is no %s; weft build makes images, weft new a cluster file\nsee: weft run --help", file)
	}
	return nil
}

// check refuses flags that make no sense.
func (r *runner) check() error {
	if !slices.Contains([]string{untilStopped, untilReady, untilPods}, r.until) {
		return usage("--until %s: use ready or pods", r.until)
	}
	if r.until == untilPods && r.nodes < 2 {
		return usage("--until pods needs at least two nodes: --nodes 2, or a cluster file with more")
	}
	if r.uefi && r.bios {
		return usage("--uefi and --bios: use one of them")
	}
	if r.nodes < 1 || r.nodes > 64 {
		return usage("--nodes %d: use 1 to 64", r.nodes)
	}
	if !slices.Contains(accelerators(), r.accel) {
		return usage("--accel %s: use one of %s", r.accel, strings.Join(accelerators(), ", "))
	}
	if r.memory != 0 && (r.memory < vm.MinMemory || r.memory > vm.MaxMemory) {
		return usage("--memory %d: use %d to %d MiB", r.memory, vm.MinMemory, vm.MaxMemory)
	}
	return nil
}

// A machinist prepares the machines of a run: o has all that images do not say.
type machinist func(ctx context.Context, o guest.Options) ([]vm.Config, error)

// imageMachines prepares numbered nodes that run one image.
func (r *runner) imageMachines(image string) machinist {
	return func(ctx context.Context, o guest.Options) ([]vm.Config, error) {
		o.Image, o.Nodes = image, r.nodes
		return guest.Machines(ctx, o)
	}
}

// run boots the nodes and shows them until the end.
func (r *runner) run(ctx context.Context, prepare machinist) error {
	dir, done, err := r.folder()
	if err != nil {
		return err
	}
	defer done()
	segment := hub.New("cluster")
	defer segment.Close()
	machine := vm.Config{
		Accel:  vm.Accel(r.accel),
		Memory: r.memory,
		Log:    r.log(),
		// A warning of the kernel is not the end: people want to see the rest.
		Faults: vm.FatalFaults(),
	}
	if r.keep != "" {
		machine.StateDir = dir
	}
	if r.uefi {
		machine.Firmware = vm.UEFI
	}
	if r.bios {
		machine.Firmware = vm.BIOS
	}
	machines, err := prepare(ctx, guest.Options{Dir: dir, Segment: segment, Machine: machine, Now: time.Now()})
	if err != nil {
		return named(err)
	}
	screen := newScreen(r.out, r.nodes > 1, colour(r.out))
	for i := range machines {
		if !r.asJSON {
			machines[i].Console = screen.console(machines[i].Name, i)
		}
	}
	// An interrupt shuts the nodes down in order, so it must not reach the
	// machines by the context.
	guests, err := vm.StartCluster(context.WithoutCancel(ctx), segment, machines...)
	if err != nil {
		return err
	}
	defer guests.Kill()
	return r.watch(ctx, guests)
}

// folder is where the nodes' disks are; done removes what is not to be kept.
func (r *runner) folder() (dir string, done func(), err error) {
	if r.keep != "" {
		return r.keep, func() {}, os.MkdirAll(r.keep, 0o700)
	}
	dir, err = os.MkdirTemp("", "weft-run-")
	return dir, func() { os.RemoveAll(dir) }, err
}

// watch follows the nodes until they stop, what --until asks for is there, or
// the context ends; then it shuts them down.
func (r *runner) watch(ctx context.Context, guests *vm.Cluster) error {
	limited, cancel := context.WithTimeout(ctx, r.timeout)
	if r.until == untilStopped {
		cancel()
		limited, cancel = context.WithCancel(ctx)
	}
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- guests.Wait(context.WithoutCancel(ctx)) }()
	reached := make(chan struct{})
	var once sync.Once
	for _, v := range guests.VMs {
		go r.follow(limited, v, func() {
			if r.reached(len(guests.VMs)) {
				once.Do(func() { close(reached) })
			}
		})
	}
	select {
	case err := <-stopped:
		if err == nil && r.until != untilStopped {
			return nodeError{fmt.Errorf("the nodes stopped before --until %s was reached", r.until)}
		}
		return err
	case <-reached:
		r.summary(guests)
		return shutDown(guests, stopped)
	case <-limited.Done():
		if ctx.Err() == nil {
			return nodeError{fmt.Errorf("--until %s was not reached within %s:\n%s", r.until, r.timeout, r.missing(guests))}
		}
		return shutDown(guests, stopped)
	}
}

// shutDown presses the power buttons and waits, but not for ever.
func shutDown(guests *vm.Cluster, stopped <-chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	for _, v := range guests.VMs {
		// A node that does not listen is ended below.
		_ = v.PowerDown(ctx)
	}
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
		guests.Kill()
		return nil
	}
}

// follow takes note of a node's events and calls changed after each.
func (r *runner) follow(ctx context.Context, v *vm.VM, changed func()) {
	// WaitEvent returns an event again until it no longer matches, so count.
	for seen := 0; ; seen++ {
		at := 0
		e, err := v.WaitEvent(ctx, func(event.Event) bool {
			at++
			return at > seen
		})
		if err != nil {
			return
		}
		r.note(v.Name(), e)
		changed()
	}
}

// note remembers what an event says, and prints it if asked to.
func (r *runner) note(node string, e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asJSON {
		line, err := json.Marshal(struct {
			Node string `json:"node"`
			event.Event
		}{node, e})
		if err == nil {
			fmt.Fprintf(r.out, "%s\n", line)
		}
	}
	switch {
	case e.Kind == event.Ready:
		r.ready[node] = e.Uptime
	case e.Kind == event.Status && e.Name == guest.NetdService:
		pings, complete, err := guest.Pings(e)
		if err == nil && complete {
			r.pings[node] = pings
		}
	}
}

// reached reports whether what --until asks for is there on all nodes.
func (r *runner) reached(nodes int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.until {
	case untilReady:
		return len(r.ready) == nodes
	case untilPods:
		return len(r.ready) == nodes && len(r.pings) == nodes
	}
	return false
}

// summary prints what was reached.
func (r *runner) summary(guests *vm.Cluster) {
	if r.asJSON {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(r.out)
	for _, v := range guests.VMs {
		fmt.Fprintf(r.out, "%s was ready after %.2f s (%s, %.1f s of CPU so far)\n",
			v.Name(), r.ready[v.Name()], v.Accel(), v.CPUSeconds())
	}
	for _, v := range guests.VMs {
		for _, ping := range r.pings[v.Name()] {
			fmt.Fprintf(r.out, "%s: %s\n", v.Name(), ping)
		}
	}
}

// missing says which nodes are not there yet.
func (r *runner) missing(guests *vm.Cluster) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var text string
	for _, v := range guests.VMs {
		_, ready := r.ready[v.Name()]
		_, pods := r.pings[v.Name()]
		text += fmt.Sprintf("  %s: ready %v, its pods reach all others %v\n", v.Name(), ready, pods)
	}
	return text
}
