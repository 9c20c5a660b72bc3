//go:build linux

// Command troublemaker is a service that does what services should not: each
// way by the word that is its argument. It is only for tests.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	trouble := map[string]func() error{
		"crash": crash, "hang": hang, "eat": eat, "wedge": wedge, "freeze": freeze, "panic": panicKernel, "mute": mute,
		"reboot": reboot, "busy": busy,
	}[strings.Join(os.Args[1:], " ")]
	if trouble == nil {
		fmt.Println("level=ERROR what trouble?", os.Args)
		os.Exit(64)
	}
	if err := trouble(); err != nil {
		fmt.Println("level=ERROR", err)
		os.Exit(1)
	}
}

// crash says something and ends.
func crash() error {
	fmt.Println("about to crash")
	return fmt.Errorf("the last words of a crash")
}

// hang does not end when asked to, and has a child that does not either.
func hang() error {
	signal.Ignore(unix.SIGTERM)
	if len(os.Getenv("CHILD")) == 0 {
		cmd := exec.Command("/proc/self/exe", "hang")
		cmd.Env = append(os.Environ(), "CHILD=1")
		if err := cmd.Start(); err != nil {
			return err
		}
		// A file that is open and written to when everything ends.
		f, err := os.Create("/data/open")
		if err != nil {
			return err
		}
		fmt.Println("hanging")
		for {
			if _, err := f.WriteString("x"); err != nil {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	select {}
}

// eat takes all the memory it gets.
func eat() error {
	fmt.Println("eating")
	var held [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		held = append(held, b)
		if len(held)%32 == 0 {
			fmt.Println("ate", len(held), "MiB")
		}
	}
}

// named lists the processes of a program.
func named(program string) []int {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return nil
	}
	var pids []int
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == program {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// wedge stops netd, and each that comes after it.
func wedge() error {
	// Once a boot of two: the second finds the mark and is well behaved.
	if marked() {
		return idle()
	}
	fmt.Println("stopping netd")
	for {
		for _, pid := range named("/usr/sbin/netd") {
			if err := unix.Kill(pid, unix.SIGSTOP); err != nil && err != unix.ESRCH {
				return err
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// freeze stops init itself, which nothing but a tracer can.
func freeze() error {
	if marked() {
		return idle()
	}
	runtime.LockOSThread()
	// The hardware's driver may still be on its way.
	for range 100 {
		if _, err := os.Stat("/dev/watchdog0"); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(2 * time.Second)
	fmt.Println("freezing init")
	stopped := map[int]bool{}
	for {
		dirs, err := filepath.Glob("/proc/1/task/*")
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			tid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil || stopped[tid] {
				continue
			}
			// All by one thread: a tracer is a thread.
			if err := ptrace(unix.PTRACE_SEIZE, tid); err != nil {
				return fmt.Errorf("seize %d: %w", tid, err)
			}
			if err := ptrace(unix.PTRACE_INTERRUPT, tid); err != nil {
				return fmt.Errorf("interrupt %d: %w", tid, err)
			}
			stopped[tid] = true
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func ptrace(request, tid int) error {
	if _, _, err := syscall.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), 0, 0, 0, 0); err != 0 {
		return err
	}
	return nil
}

// panicKernel crashes the kernel.
func panicKernel() error {
	if marked() {
		return idle()
	}
	unix.Sync()
	return os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
}

// mute never says that it is ready.
func mute() error { return idle() }

// reboot asks init to start the node again, once.
func reboot() error {
	if marked() {
		return idle()
	}
	time.Sleep(time.Second)
	if err := unix.Kill(1, unix.SIGTERM); err != nil {
		return err
	}
	return idle() // ending now would look like a crash
}

// marked leaves a mark on the data partition and reports whether it was there.
func marked() bool {
	f, err := os.OpenFile("/data/trouble", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return true
	}
	_ = f.Sync()
	f.Close()
	unix.Sync()
	return false
}

// idle does nothing until it is told to end.
func idle() error {
	fmt.Println("idle")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	<-stop
	return nil
}
