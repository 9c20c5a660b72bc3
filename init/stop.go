package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/keep"
	"weft/init/mounts"
	"weft/init/power"
	"weft/init/trace"
	"weft/init/watchdog"
)

const (
	// othersWithin is how long processes that are no service have to end
	// after SIGTERM: containers, mostly.
	othersWithin = 5 * time.Second
	// leaveWithin bounds the leaving of all file systems: that of a server
	// which no longer answers is never left.
	leaveWithin = 15 * time.Second
	// stopSlack is what else stopping takes.
	stopSlack = 5 * time.Second
)

// stop ends the node. It does not return.
func (s *system) stop(r power.Request) {
	why := r.Why + ", " + r.Action.String()
	s.leaving.Store(true)
	s.log.Stopping(why)
	// Whatever hangs below, the machine goes down.
	bound := s.supervisor.Bound() + othersWithin + leaveWithin + stopSlack
	time.AfterFunc(bound, func() {
		s.log.Problem("stopping took longer than %s; going down hard%s", bound, s.hanging())
		s.down(r.Action)
	})
	s.phase(trace.Stopping, why)
	s.stopAll(why)
	s.down(r.Action)
}

// hanging names the services that have not ended.
func (s *system) hanging() string {
	var names []string
	for _, r := range s.supervisor.Reports() {
		switch r.State {
		case "stopped", "failed", "done":
		default:
			names = append(names, r.Name+" is "+r.State)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// down syncs and ends the machine's life. The hardware's watchdog is left
// running, where there is one, in case the kernel does not get to the end; but
// not when the machine is to stand still.
func (s *system) down(a power.Action) {
	s.state.Lock()
	stop := s.guard.stop
	s.state.Unlock()
	if stop != nil && a == power.Halt {
		stop(nil)
	} else if stop != nil {
		stop(watchdog.ErrKeep)
	}
	synced := make(chan struct{})
	go func() {
		defer close(synced)
		unix.Sync()
	}()
	select {
	case <-synced:
	case <-time.After(leaveWithin): // a disk that no longer answers
	}
	s.console.Flush(time.Second)
	if err := power.Do(a); err != nil {
		s.log.Problem("%v", err)
		s.console.Flush(time.Second)
		os.Exit(exitSoftware)
	}
}

// stopAll ends what runs and leaves the file systems, each within a bound.
func (s *system) stopAll(why string) {
	s.watcher.quiet()
	s.supervisor.Stop()
	s.endOthers()
	s.flushJournals()
	if s.lasting() {
		s.saveTime()
	}
	s.cancel()
	s.blessing.Lock() // never given back: the node is going down
	left := make(chan struct{})
	go func() {
		defer close(left)
		s.leaveAll(func() { s.phase(trace.Clean, why) })
	}()
	select {
	case <-left:
	case <-time.After(leaveWithin):
		s.log.Problem("a file system could not be left within %s; it is given up", leaveWithin)
	}
}

// endOthers ends every process but this one. Containers and their shims end
// here: they outlive the Kubernetes that started them, but not the node.
func (s *system) endOthers() {
	if len(processes()) == 0 {
		return
	}
	_ = unix.Kill(-1, unix.SIGTERM)
	// A stopped process hears of nothing until it goes on.
	_ = unix.Kill(-1, unix.SIGCONT)
	deadline := time.Now().Add(othersWithin)
	left := processes()
	for len(left) > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond) // no event tells of other's children
		left = processes()
	}
	if len(left) > 0 {
		s.log.Note("killed, since they did not end within %s: %s", othersWithin, strings.Join(left[:min(len(left), 10)], ", "))
		_ = unix.Kill(-1, unix.SIGKILL)
	}
}

// processes names the processes other than init and the kernel's own threads.
// Kernel threads, and the dead, have no command line.
func processes() []string {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil // a constant pattern; it is well formed
	}
	var names []string
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err != nil || pid == os.Getpid() {
			continue
		}
		if line, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && len(line) > 0 {
			name, _, _ := strings.Cut(string(line), "\x00")
			names = append(names, filepath.Base(name)+" ("+filepath.Base(dir)+")")
		}
	}
	return names
}

// kubernetesTrees are where the mounts of containers and volumes are
// (k3s-killall.sh, do_unmount_and_remove). Those below the data partition are
// left with it.
var kubernetesTrees = []string{"/run/k3s", "/run/netns", "/var/lib/kubelet", "/var/lib/rancher"}

// leaveAll unmounts the data partition, the boot partition and whatever is
// mounted in them, after the mounts of containers, which use them. What is
// still in use is made read-only, which is as safe. clean is called when only
// the data partition itself is left.
func (s *system) leaveAll(clean func()) {
	for _, tree := range kubernetesTrees {
		for _, target := range s.targets(tree) {
			// MNT_DETACH: what hangs on a server that no longer answers must
			// not keep the rest from being left.
			if err := unix.Unmount(target, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
				s.log.Problem("leave %s: %v", target, err)
			}
		}
	}
	for _, target := range s.targets(bootDir) {
		s.leave(target)
	}
	for _, target := range mounts.Holding(s.mountinfo(), dataDir) {
		if target == dataDir {
			if s.lasting() {
				clean()
			}
			// A detached overlay is freed a moment later.
			unix.Sync()
		}
		s.leave(target)
	}
}

// targets lists the mounts at or below a folder, to be left in this order.
func (s *system) targets(dir string) []string { return mounts.Targets(s.mountinfo(), dir) }

// mountinfo is the kernel's list of mounts.
func (s *system) mountinfo() string {
	info, err := keep.Read("/proc/self/mountinfo", 16<<20)
	if err != nil {
		s.log.Problem("%v", err)
	}
	return string(info)
}

// leave unmounts one file system, or makes it read-only when it is in use.
func (s *system) leave(target string) {
	err := unix.Unmount(target, 0)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	if err != nil {
		s.log.Problem("leave %s: %v", target, err)
	}
}
