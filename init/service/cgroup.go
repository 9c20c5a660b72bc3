package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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
// right inside. anew says that one that is there already is made again.
//
// A cgroup whose processes were killed by cgroup.kill cannot be started in
// again: some kernels compare the number of kills with that of the starter's
// cgroup, and end whatever is cloned into it (kernel/cgroup/cgroup.c,
// cgroup_css_set_fork: kill_seq is taken before CLONE_INTO_CGROUP is seen).
func (c *Cgroups) Make(name string, anew bool) (*os.File, error) {
	dir := c.dir(name)
	if anew {
		if err := remove(dir); err != nil {
			return nil, fmt.Errorf("cgroup of %s is still in use: %w", name, err)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		return nil, fmt.Errorf("cgroup of %s: %w", name, err)
	}
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("cgroup of %s: %w", name, err)
	}
	return f, nil
}

const (
	// removeWithin is how long what was killed in a cgroup may take to go.
	removeWithin = time.Second
	// removeEvery is the pause between two tries.
	removeEvery = 5 * time.Millisecond
)

// remove removes a cgroup and those below it, once their processes are gone.
func remove(dir string) error {
	deadline := time.Now().Add(removeWithin)
	for {
		err := removeTree(dir)
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		// A process stays in its cgroup until it is reaped, of which no event
		// tells; with a deadline.
		time.Sleep(removeEvery)
	}
}

// removeTree removes a cgroup and those below it. The files in it are the
// kernel's and go with it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Add moves a process into a service's cgroup.
func (c *Cgroups) Add(name string, pid int) error {
	if err := writeExisting(filepath.Join(c.dir(name), "cgroup.procs"), strconv.Itoa(pid)); err != nil {
		return fmt.Errorf("cgroup of %s: %w", name, err)
	}
	return nil
}

// Kill ends every process of a service at once.
func (c *Cgroups) Kill(name string) error {
	if err := os.WriteFile(filepath.Join(c.dir(name), "cgroup.kill"), []byte("1"), 0o644); err != nil {
		return fmt.Errorf("cgroup of %s: kill: %w", name, err)
	}
	return nil
}

// Limits bound what a service takes of the machine. What is zero is left
// unbounded; the number of its processes always is, for Kubernetes needs it.
type Limits struct {
	// MemoryMax is what it may hold, in bytes; beyond it, it is killed.
	// MemoryHigh is where it is slowed down.
	MemoryMax, MemoryHigh int64
	// CPUWeight and IOWeight are its share when there is not enough for all,
	// 1..10000; the kernel's own is 100.
	CPUWeight, IOWeight int
	// Together has the kernel kill all of the service, not a part of it, when
	// memory runs out.
	Together bool
}

// files are the limits as the kernel takes them
// (Documentation/admin-guide/cgroup-v2.rst), in a stable order. Those without
// a value are set to the kernel's default: the cgroup outlives the service.
func (l Limits) files() [][2]string {
	number := func(n int64, none string) string {
		if n <= 0 {
			return none
		}
		return strconv.FormatInt(n, 10)
	}
	together := "0"
	if l.Together {
		together = "1"
	}
	return [][2]string{
		{"memory.max", number(l.MemoryMax, "max")},
		{"memory.high", number(l.MemoryHigh, "max")},
		{"memory.oom.group", together},
		{"cpu.weight", number(int64(l.CPUWeight), "100")},
		{"io.weight", number(int64(l.IOWeight), "default 100")},
		{"pids.max", "max"},
	}
}

// wanted reports whether a limit was asked for.
func (l Limits) wanted(file string) bool {
	switch file {
	case "memory.max":
		return l.MemoryMax > 0
	case "memory.high":
		return l.MemoryHigh > 0
	case "cpu.weight":
		return l.CPUWeight > 0
	case "io.weight":
		return l.IOWeight > 0
	}
	return false
}

// Limit bounds a service. Only the lack of what was asked for is an error.
func (c *Cgroups) Limit(name string, l Limits) []error {
	var errs []error
	for _, f := range l.files() {
		// Opened without O_CREAT: a file that is not there is a controller
		// that is off.
		err := writeExisting(filepath.Join(c.dir(name), f[0]), f[1])
		if err != nil && l.wanted(f[0]) {
			errs = append(errs, fmt.Errorf("cgroup of %s: %s is not bounded: %w", name, f[0], err))
		}
	}
	return errs
}

func writeExisting(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// OOMKills counts the processes of a service that the kernel has killed for
// want of memory, since its cgroup was made; 0 when it is not known.
func (c *Cgroups) OOMKills(name string) int {
	text, err := os.ReadFile(filepath.Join(c.dir(name), "memory.events"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "oom_kill" {
			n, err := strconv.Atoi(fields[1])
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

func (c *Cgroups) dir(name string) string { return filepath.Join(c.root, Services, name) }
