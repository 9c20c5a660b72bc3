package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/keep"
	"weft/init/modules"
	"weft/init/mounts"
	"weft/init/storage"
	"weft/init/switchroot"
	"weft/init/timeline"
	"weft/profiles"
)

const (
	// modulesLoad lists the modules to load before the root is looked for.
	modulesLoad = "/etc/modules-load.d/weft.conf"
	// newRoot is where the root is mounted before it becomes /.
	newRoot = "/newroot"
	// rootWithin is how long the root's disk may take to appear. USB and
	// SAS disks are the slow ones.
	rootWithin = 60 * time.Second
	// parallelModules is how many modules are initialised at once: enough for
	// one that waits for its hardware not to hold up the rest. More only
	// delay the urgent ones.
	parallelModules = 3
)

// mountEarly makes the mounts that both stages need.
func mountEarly() []error { return mounts.All(mounts.Kernel{}, mounts.Early()) }

// early is the initramfs: it finds the root and goes there. It returns what
// hears of devices, so that none is missed in between.
func (n *node) early() *devices {
	n.log.Note("weft starts")
	step := n.log.Start("root")
	id, ok := n.args.PartUUID(profiles.ArgRoot)
	if !ok {
		n.giveUp("the kernel argument %s=PARTUUID=… is missing; the boot loader's entry must name the root partition", profiles.ArgRoot)
	}
	devices, err := n.watchDevices()
	if err != nil {
		n.giveUp("%v", err)
	}
	if loader, err := newLoader(n.args.ModuleOptions); err != nil {
		n.log.Problem("%v; only drivers built into the kernel work", err)
	} else {
		devices.use(loader)
		loader.LoadAll(listed(modulesLoad), modules.Urgent, n.driverLoaded)
	}
	part, err := devices.partition(n.ctx, id, rootWithin)
	if err != nil {
		n.giveUp("the root partition did not appear within %d s: %v", int(rootWithin.Seconds()), err)
	}
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		n.giveUp("%v", err)
	}
	if err := unix.Mount(part.Device(), newRoot, "erofs", unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOSUID, ""); err != nil {
		n.giveUp("the root on %s cannot be mounted: %v%s", part.Device(), err, mountHint(err))
	}
	step.Done(part.Name)
	// From here on the initramfs's modules cannot be reached; devices that
	// appear wait for the root's.
	devices.hold()
	if err := switchroot.Into(newRoot); err != nil {
		n.giveUp("%v", err)
	}
	return devices
}

// mountHint explains why a mount of the root fails.
func mountHint(err error) string {
	switch {
	case errors.Is(err, unix.ENODEV):
		return " (the kernel has no erofs; the board must list it among the modules to load at boot)"
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EUCLEAN):
		return " (it holds no sound EROFS)"
	}
	return ""
}

// listed reads a modules-load.d(5) file: a name a line, # and ; for comments.
func listed(path string) []string {
	data, err := keep.Read(path, 64<<10)
	if err != nil {
		return nil
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' && line[0] != ';' {
			names = append(names, line)
		}
	}
	return names
}

// newLoader reads the modules of the running kernel. options gives each its
// options.
func newLoader(options func(string) string) (*modules.Loader, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	dir := filepath.Join("/usr/lib/modules", unix.ByteSliceToString(uts.Release[:]))
	index, err := modules.ReadIndex(dir)
	if err != nil {
		return nil, err
	}
	return modules.NewLoader(index, modules.Kernel("/sys"), options, timeline.Uptime, parallelModules), nil
}

// driverLoaded reports a module that a device or the board asked for.
func (n *node) driverLoaded(r modules.Result) {
	switch {
	case errors.Is(r.Err, unix.ENODEV):
		// The driver looked and found no device of its own: nothing is wrong.
	case r.Err != nil:
		n.log.Problem("driver %s: %v", r.Name, r.Err)
	case !r.Already && !r.Builtin && n.first(r.Name):
		n.log.Took("driver "+r.Name, r.Took, "")
	}
}

// first reports whether a driver is heard of for the first time: several
// devices may ask for one.
func (n *node) first(driver string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	known := n.drivers[driver]
	n.drivers[driver] = true
	return !known
}

// seen says which partitions there are, for a message that one is missing.
func seen(id string) error {
	disks, parts := storage.List("/sys", "/dev")
	return fmt.Errorf("no partition has PARTUUID=%s; seen: %s. Is the disk's driver among the board's boot drivers, and is this the disk the image was written to?", id, storage.Seen(disks, parts))
}

// find returns the partition with an id, waiting for it until limit.
func (d *devices) partition(ctx context.Context, id string, limit time.Duration) (storage.Partition, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		changed := d.blockChanged() // before looking, so that nothing is missed
		_, parts := storage.List("/sys", "/dev")
		if p, ok := storage.Find(parts, id); ok {
			return p, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return storage.Partition{}, seen(id)
		case <-ctx.Done():
			return storage.Partition{}, ctx.Err()
		}
	}
}
