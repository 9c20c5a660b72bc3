package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/keep"
	"weft/init/mounts"
)

// stopAll ends what runs and leaves the file systems, each within a bound.
func (s *system) stopAll() {
	s.state.Lock()
	stop, lasting := s.stopServices, s.stateDir != ""
	s.state.Unlock()
	if stop != nil {
		stop()
		s.services.Wait() // bounded by each service's StopWithin
	}
	s.endOthers()
	if lasting {
		s.saveTime()
	}
	s.cancel()
	s.blessing.Lock() // never given back: the node is going down
	s.leaveData()
}

// othersWithin is how long processes that are no service have to end after
// SIGTERM: containers, mostly.
const othersWithin = 5 * time.Second

// endOthers ends every process but this one.
func (s *system) endOthers() {
	if !anyProcess() {
		return
	}
	_ = unix.Kill(-1, unix.SIGTERM)
	deadline := time.Now().Add(othersWithin)
	for anyProcess() && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond) // no event tells of other's children
	}
	if anyProcess() {
		s.log.Note("some processes did not end within %d s and are killed", int(othersWithin.Seconds()))
		_ = unix.Kill(-1, unix.SIGKILL)
	}
}

// anyProcess reports whether a process other than init and the kernel's own
// threads runs. Kernel threads, and the dead, have no command line.
func anyProcess() bool {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return false // a constant pattern; it is well formed
	}
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err != nil || pid == os.Getpid() {
			continue
		}
		if line, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && len(line) > 0 {
			return true
		}
	}
	return false
}

// leaveData unmounts the data partition and whatever is mounted in it. What
// is still in use is made read-only, which is as safe.
func (s *system) leaveData() {
	info, err := keep.Read("/proc/self/mountinfo", 16<<20)
	if err != nil {
		s.log.Problem("%v", err)
	}
	for _, target := range append(mounts.Targets(string(info), dataDir), mounts.Targets(string(info), bootDir)...) {
		err := unix.Unmount(target, 0)
		if errors.Is(err, unix.EBUSY) {
			err = unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
		if err != nil {
			s.log.Problem("leave %s: %v", target, err)
		}
	}
}
