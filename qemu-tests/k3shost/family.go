//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
	"unsafe"
)

// pointer is the address of a value that is passed to the kernel.
func pointer[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

// reaped leaves an orphan behind and wants PID 1 to take it.
func reaped() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// The parent ends at once, its child a moment later.
	out, err := exec.Command(self, "parent").Output()
	if err != nil {
		return err
	}
	pid := strings.TrimSpace(string(out))
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond) // polling, with a deadline
	}
	return fmt.Errorf("process %s is still there", pid)
}

// family is what the program is when it is its own child.
func family() bool {
	if len(os.Args) != 2 {
		return false
	}
	switch os.Args[1] {
	case "parent":
		cmd := exec.Command("/proc/self/exe", "child")
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(cmd.Process.Pid)
		return true
	case "child":
		time.Sleep(200 * time.Millisecond)
		return true
	}
	return false
}
