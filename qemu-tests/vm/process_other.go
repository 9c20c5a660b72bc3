//go:build unix && !linux

package vm

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// dieWithParent cannot be asked of this kernel; guard does it.
func dieWithParent(*syscall.SysProcAttr) {}

// guard ends QEMU when this process ends.
func guard(pid int) (release func(), err error) { return shellGuard(pid) }

// cpuTime returns user and system time of a running process, as ps prints
// it: [[HH:]MM:]SS.cc.
func cpuTime(pid int) (time.Duration, error) {
	out, err := exec.Command("ps", "-o", "time=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, fmt.Errorf("CPU time: ps: %w", err)
	}
	var seconds float64
	for part := range strings.SplitSeq(strings.TrimSpace(string(out)), ":") {
		n, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time: ps printed %q: %w", out, err)
		}
		seconds = seconds*60 + n
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
