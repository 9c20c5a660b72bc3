package vm

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// dieWithParent has the kernel kill QEMU when the process that started it
// ends, kill -9 included.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// guard has nothing to do where the kernel does it.
func guard(int) (release func(), err error) { return func() {}, nil }

// cpuTime returns user and system time of a running process.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time: %w", err)
	}
	return parseStat(stat)
}

// parseStat reads utime and stime, fields 14 and 15 of proc_pid_stat(5), in
// ticks of USER_HZ, which is 100 on every architecture Linux still has. The
// second field is the program's name, in parentheses and of any bytes.
func parseStat(stat []byte) (time.Duration, error) {
	_, after, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	fields := bytes.Fields(after)
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("CPU time: /proc stat line %q has too few fields", stat)
	}
	var ticks uint64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseUint(string(field), 10, 48)
		if err != nil {
			return 0, fmt.Errorf("CPU time: /proc stat line: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil
}
