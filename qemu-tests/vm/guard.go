package vm

import (
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
)

// shellGuard starts a shell that kills QEMU's process group when the pipe
// from this process ends, which it does however this process ends. It is for
// systems whose kernel cannot do so itself.
func shellGuard(pid int) (release func(), err error) {
	shell := exec.Command("/bin/sh", "-c", `read _; kill -s KILL -- "-$1" 2>/dev/null`, "guard", strconv.Itoa(pid))
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := shell.StdinPipe()
	if err != nil {
		return func() {}, fmt.Errorf("guard: %w", err)
	}
	if err := shell.Start(); err != nil {
		return func() {}, fmt.Errorf("guard: %w", err)
	}
	return func() {
		// QEMU has ended: the guard must not act on its number any more.
		_ = shell.Process.Kill()
		_ = pipe.Close()
		_ = shell.Wait()
	}, nil
}
