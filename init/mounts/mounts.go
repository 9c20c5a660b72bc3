// Package mounts says which kernel file systems a node has and mounts them.
//
// The data partition and the boot partition are not its business; see package
// storage.
package mounts

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Mount is one mount to be made.
type Mount struct {
	// Source, Target, Type, Flags and Data are mount(2)'s.
	Source, Target, Type string
	Flags                uintptr
	Data                 string
	// Make says that the directory is made first, where the parent is
	// writable.
	Make bool
	// Optional says that a node without it still works.
	Optional bool
}

const (
	plain  = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	noExec = unix.MS_NOSUID | unix.MS_NOEXEC
)

// Early are the mounts both stages need. They move along when the root is
// switched; a boot without an initramfs makes them on the root.
//
// sysfs is mounted once for good: what a container runtime later mounts below
// it must not be hidden.
func Early() []Mount {
	return []Mount{
		{Source: "proc", Target: "/proc", Type: "proc", Flags: plain},
		{Source: "sysfs", Target: "/sys", Type: "sysfs", Flags: plain},
		{Source: "dev", Target: "/dev", Type: "devtmpfs", Flags: noExec, Data: "mode=0755"},
		{Source: "run", Target: "/run", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=0755,size=25%"},
	}
}

// Late are the mounts of the running system, in order.
func Late() []Mount {
	return []Mount{
		// ptmxmode: containers open /dev/pts/ptmx (Documentation/filesystems/devpts.rst).
		{Source: "devpts", Target: "/dev/pts", Type: "devpts", Flags: noExec, Data: "gid=5,mode=0620,ptmxmode=0666", Make: true},
		{Source: "shm", Target: "/dev/shm", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=1777", Make: true},
		{Source: "mqueue", Target: "/dev/mqueue", Type: "mqueue", Flags: plain, Make: true, Optional: true},
		{Source: "tmp", Target: "/tmp", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=1777,size=50%"},
		// memory_recursiveprot: a guarantee on a slice reaches what is below
		// it (Documentation/admin-guide/cgroup-v2.rst).
		{Source: "cgroup2", Target: "/sys/fs/cgroup", Type: "cgroup2", Flags: plain, Data: "nsdelegate,memory_recursiveprot"},
		// What the kernel kept of its last words, where the firmware or memory
		// lets it (Documentation/ABI/testing/pstore).
		{Source: "pstore", Target: "/sys/fs/pstore", Type: "pstore", Flags: plain, Optional: true},
		{Source: "bpf", Target: "/sys/fs/bpf", Type: "bpf", Flags: plain, Data: "mode=0700", Optional: true},
	}
}

// Surface is what mounting needs of the system.
type Surface interface {
	Mount(source, target, fstype string, flags uintptr, data string) error
	Mkdir(path string) error
	// Mounted reports whether target is a mount point.
	Mounted(target string) bool
}

// All makes the mounts in order. One that is there already is left as it is;
// one that fails does not stop the others.
func All(s Surface, list []Mount) []error {
	var errs []error
	for _, m := range list {
		if s.Mounted(m.Target) {
			continue
		}
		if m.Make {
			if err := s.Mkdir(m.Target); err != nil && !errors.Is(err, os.ErrExist) {
				errs = append(errs, fmt.Errorf("make %s: %w", m.Target, err))
				continue
			}
		}
		if err := s.Mount(m.Source, m.Target, m.Type, m.Flags, m.Data); err != nil {
			if m.Optional && errors.Is(err, unix.ENODEV) {
				continue // not in this kernel
			}
			errs = append(errs, fmt.Errorf("mount %s on %s: %w", m.Type, m.Target, err))
		}
	}
	return errs
}

// Share makes / and everything below it propagate mounts in both directions.
// Container runtimes insist on it for / and /sys/fs/bpf ("is not a shared
// mount"), and the kernel starts with private mounts.
func Share(s Surface) error {
	if err := s.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	return nil
}

// Kernel is the real Surface.
type Kernel struct{}

var _ Surface = Kernel{}

// Mount is mount(2).
func (Kernel) Mount(source, target, fstype string, flags uintptr, data string) error {
	return unix.Mount(source, target, fstype, flags, data)
}

// Mkdir makes one directory for all to enter.
func (Kernel) Mkdir(path string) error { return os.Mkdir(path, 0o755) }

// Mounted compares the device of target with its parent's, which tells mount
// points apart without /proc. None of the targets is a bind mount.
func (Kernel) Mounted(target string) bool {
	var own, parent unix.Stat_t
	if unix.Stat(target, &own) != nil || unix.Stat(target+"/..", &parent) != nil {
		return false
	}
	return own.Dev != parent.Dev
}

// Links are the symbolic links every /dev has, by name.
var Links = map[string]string{
	"/dev/fd":     "/proc/self/fd",
	"/dev/stdin":  "/proc/self/fd/0",
	"/dev/stdout": "/proc/self/fd/1",
	"/dev/stderr": "/proc/self/fd/2",
	"/dev/core":   "/proc/kcore",
}

// Targets lists the mount points of a mountinfo text (proc_pid_mountinfo(5))
// that lie at or below prefix, the deepest mounted last first: the order to
// unmount them in.
func Targets(mountinfo, prefix string) []string {
	var found []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		target := unescape(fields[4])
		if target == prefix || strings.HasPrefix(target, strings.TrimSuffix(prefix, "/")+"/") {
			found = append([]string{target}, found...)
		}
	}
	return found
}

// Holding lists the mount points of a mountinfo text that keep the file system
// mounted at target in use: those at or below target, and those elsewhere that
// show a part of it. They come in the order to unmount them in, target last.
func Holding(mountinfo, target string) []string {
	device := ""
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) >= 5 && unescape(fields[4]) == target {
			device = fields[2]
		}
	}
	below := Targets(mountinfo, target)
	var found []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := unescape(fields[4])
		if point != target && (fields[2] == device || slices.Contains(below, point)) {
			found = append(found, point)
		}
	}
	slices.Reverse(found)
	if device != "" {
		found = append(found, target)
	}
	return found
}

// unescape undoes the octal escapes of mountinfo: space, tab, line feed,
// backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
