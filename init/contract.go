package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"weft/profiles"
)

// controllers are what the agents of K3s and RKE2 end without (k3s
// pkg/cgroups/cgroups_linux.go).
var controllers = []string{"cpu", "cpuset", "memory", "pids"}

// lacking says what a contract asks of the root and of the kernel's cgroups,
// and is not there. What modules lack is told as they are loaded. root is the
// mount point of the root, cgroups that of cgroup2.
func lacking(root, cgroups string, c profiles.Contract) []error {
	var errs []error
	for _, f := range c.Files {
		if !f.Program || f.By == profiles.ByDistribution {
			continue // made at boot, or later
		}
		if _, err := os.Stat(filepath.Join(root, f.File)); err != nil {
			errs = append(errs, fmt.Errorf("%w (%s); build the image anew", err, f.Reason))
		}
	}
	needed := slices.ContainsFunc(c.Symbols, func(s profiles.SymbolNeed) bool { return slices.Contains(s.Any, "CONFIG_MEMCG") })
	if !needed {
		return errs
	}
	data, err := os.ReadFile(filepath.Join(cgroups, "cgroup.controllers"))
	if err != nil {
		return append(errs, fmt.Errorf("%w; Kubernetes needs cgroup2", err))
	}
	have := strings.Fields(string(data))
	for _, name := range controllers {
		if slices.Contains(have, name) {
			continue
		}
		fix := "take a kernel that has it"
		if name == "memory" || name == "cpuset" {
			// A Raspberry Pi's firmware turns it off (raspberrypi/linux#5933).
			fix = "add cgroup_enable=" + name + " to the board's commandLine, or " + fix
		}
		errs = append(errs, fmt.Errorf("the kernel has no cgroup controller %s, and Kubernetes does not start without it; fix: %s", name, fix))
	}
	return errs
}
