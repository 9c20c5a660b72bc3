package service

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Cgroups is the cgroup2 hierarchy. PID 1 stays in its root: Kubernetes
// distributions take any other place for a container.
type Cgroups struct{ root string }

// Controllers are switched on for services where the kernel has them.
var Controllers = []string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb"}

// Services is the name of the cgroup that holds those of all services.
const Services = "services"

// NewCgroups prepares the hierarchy mounted at root. The error tells which
// controllers could not be switched on; services start all the same.
func NewCgroups(root string) (*Cgroups, error) {
	c := &Cgroups{root}
	errs := []error{enable(root)}
	if err := os.Mkdir(filepath.Join(root, Services), 0o755); err != nil && !os.IsExist(err) {
		return c, fmt.Errorf("cgroup: %w", err)
	}
	errs = append(errs, enable(filepath.Join(root, Services)))
	return c, errors.Join(errs...)
}

// enable switches on, for the children of dir, the controllers it has.
func enable(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	var errs []error
	for _, name := range wanted(string(have)) {
		// One at a time: one refusal would undo all of a joint write.
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("cgroup: controller %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// wanted lists the controllers of the kernel's list that are to be used.
func wanted(have string) []string {
	var names []string
	for _, name := range Controllers {
		for _, h := range strings.Fields(have) {
			if h == name {
				names = append(names, name)
			}
		}
	}
	return names
}

// Make makes the cgroup of a service and opens it, for starting the service
// right inside.
func (c *Cgroups) Make(name string) (*os.File, error) {
	dir := c.dir(name)
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		return nil, fmt.Errorf("cgroup of %s: %w", name, err)
	}
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("cgroup of %s: %w", name, err)
	}
	return f, nil
}

// Kill ends every process of a service at once.
func (c *Cgroups) Kill(name string) error {
	if err := os.WriteFile(filepath.Join(c.dir(name), "cgroup.kill"), []byte("1"), 0o644); err != nil {
		return fmt.Errorf("cgroup of %s: kill: %w", name, err)
	}
	return nil
}

func (c *Cgroups) dir(name string) string { return filepath.Join(c.root, Services, name) }
