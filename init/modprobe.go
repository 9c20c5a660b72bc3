package main

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"weft/init/cmdline"
	"weft/init/keep"
	"weft/init/modules"
	"weft/init/status"
	"weft/init/sysctl"
	"weft/profiles"
)

// modprobeName is what this program is called as when it answers the kernel's
// and other programs' requests for modules: a link in the root leads from
// /usr/sbin/modprobe here. The kernel starts it by the path in
// /proc/sys/kernel/modprobe, /sbin/modprobe unless told otherwise
// (CONFIG_MODPROBE_PATH).
const (
	modprobeName = "modprobe"
	modprobePath = "/sbin/" + modprobeName
)

// answerKernel tells the kernel whom to start when it needs a module; with no
// path it starts nobody. While the node boots nobody is started: init loads
// what it needs itself, and each question that the kernel asks on the way, for
// what it does not have, would cost a tenth of a second of an emulated boot.
func (s *system) answerKernel(path string) {
	err := sysctl.Write("/proc/sys", sysctl.Setting{Name: "kernel.modprobe", Value: path, Reason: "the kernel cannot load modules when it needs them"})
	if err != nil && path != "" && s.theLoader() != nil {
		s.log.Problem("sysctl %v", err)
	}
}

// modprobe answers one request and returns the exit code: 0 when everything
// asked for is there, 1 otherwise, as modprobe(8) does.
func modprobe(args []string) int {
	request, err := modules.ParseModprobe(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "modprobe: %v\n", err)
		return 1
	}
	loader, err := newLoader(modules.Options(writtenOptions(), modules.OptionsOf(entries(request))))
	if err == nil {
		err = request.Serve(loader)
	}
	if err == nil {
		return 0
	}
	if request.Quiet && errors.Is(err, modules.ErrUnknown) {
		return 1 // the kernel asks for much that may exist
	}
	text := fmt.Sprintf("modprobe: %v\n", err)
	fmt.Fprint(os.Stderr, text)
	// What the kernel asks for has no standard error that anybody reads.
	if log, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		fmt.Fprintf(log, "weft %s", text)
		log.Close()
	}
	return 1
}

// entries gives a request's options to its module.
func entries(r modules.Request) []string {
	if r.Options == "" {
		return nil
	}
	return []string{r.Names[0] + " " + r.Options}
}

// writtenOptions are the options that the contract and the kernel's command
// line give to modules.
func writtenOptions() func(string) string {
	var contract profiles.Contract
	if err := readJSON(profiles.ContractFile, &contract); err != nil {
		contract = profiles.Contract{} // the node's own boot tells of it
	}
	line, err := keep.Read("/proc/cmdline", 64<<10)
	if err != nil {
		line = nil
	}
	return modules.Options(optionsIn(contract), cmdline.Parse(string(line)).ModuleOptions)
}

// optionsIn are the options that a contract gives to modules.
func optionsIn(contract profiles.Contract) func(string) string {
	var list []string
	for _, need := range contract.Modules {
		list = append(list, need.Name+" "+need.Options)
	}
	return modules.OptionsOf(list)
}

// contractOptions are the options of the running node.
func (s *system) contractOptions() func(string) string {
	return modules.Options(optionsIn(s.contract), s.args.ModuleOptions)
}

// moduleNotes keep what came of the contract's modules.
type moduleNotes struct {
	mu   sync.Mutex
	list []status.Module
}

// note keeps one result; reason is what the module is for.
func (n *moduleNotes) note(r modules.Result, reason string) {
	m := status.Module{Name: r.Name, State: "loaded", For: reason}
	switch {
	case r.Err != nil:
		m.State, m.Error = "failed", r.Err.Error()
	case r.Builtin:
		m.State = "builtin"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, m)
}

// all lists what is kept.
func (n *moduleNotes) all() []status.Module {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]status.Module{}, n.list...)
}
