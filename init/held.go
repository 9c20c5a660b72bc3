package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weft/event"
	"weft/init/keep"
	"weft/init/sysctl"
)

// maxProcFile bounds the files of the kernel that are read back, in bytes.
const maxProcFile = 1 << 20

// tellHeld reads back from the kernel what the node has made of it and tells
// the host. Nobody reads while no host listens.
func (s *system) tellHeld() {
	if !s.port.Attached() {
		return
	}
	data, err := json.Marshal(event.Held{Modules: heldModules(), Sysctls: s.heldSysctls(), Resident: heldMemory("/proc")})
	if err != nil {
		return // strings always marshal
	}
	s.log.Status("init", data)
}

// heldModules lists the modules that have been loaded, sorted.
func heldModules() []string {
	text, err := keep.Read("/proc/modules", maxProcFile)
	if err != nil {
		return nil // a kernel without modules
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		// Name, size, users, their names, state, address (proc_modules(5));
		// one that is still starting, or on its way out, does not work.
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == "Live" {
			names = append(names, fields[0])
		}
	}
	slices.Sort(names)
	return names
}

// heldSysctls are the present values of what the contract asks for, and of
// what decides on each device who may configure IPv6 and whether it routes.
func (s *system) heldSysctls() map[string]string {
	var names []string
	for _, need := range s.contract.Sysctls {
		names = append(names, need.Name)
	}
	for _, key := range []string{"accept_ra", "forwarding"} {
		files, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/" + key)
		if err != nil {
			continue // a constant pattern; it is well formed
		}
		for _, file := range files {
			device := filepath.Base(filepath.Dir(file))
			names = append(names, "net.ipv6.conf."+strings.ReplaceAll(device, ".", "/")+"."+key)
		}
	}
	values := make(map[string]string, len(names))
	for _, name := range names {
		path, err := sysctl.Path("/proc/sys", name)
		if err != nil {
			continue
		}
		// What is not there is left out, and missed by whoever looks for it.
		if text, err := keep.Read(path, maxProcFile); err == nil {
			values[name] = strings.TrimSpace(string(text))
		}
	}
	return values
}

// heldMemory adds up the resident sets of the processes below proc by their
// names. The kernel's own threads have none.
func heldMemory(proc string) map[string]int64 {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "status"))
	if err != nil {
		return nil // a constant pattern; it is well formed
	}
	held := map[string]int64{}
	for _, file := range files {
		text, err := keep.Read(file, maxProcFile)
		if err != nil {
			continue // it has ended meanwhile
		}
		if name, resident := parseStatus(string(text)); resident > 0 {
			held[name] += resident
		}
	}
	return held
}

// parseStatus takes a process's name and its resident set, in bytes, out of
// its status file [proc_pid_status(5)].
func parseStatus(text string) (name string, resident int64) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); key {
		case "Name":
			name = value
		case "VmRSS":
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
			if err == nil {
				resident = kilobytes << 10
			}
		}
	}
	return name, resident
}
