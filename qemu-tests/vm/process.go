package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is one running QEMU.
type process struct {
	cmd    *exec.Cmd
	stderr *tail
	start  time.Time
	done   chan struct{} // closed when QEMU has ended and was reaped
	err    error         // what Wait said; read after done
	wall   time.Duration // read after done

	mu   sync.Mutex
	used time.Duration // CPU time at the last reading
}

// startProcess starts QEMU with files as its descriptors from 3 on. It cannot
// outlive this process, however that ends.
func startProcess(program string, args []string, env []string, files []*os.File) (*process, error) {
	p := &process{stderr: &tail{limit: 16 << 10}, done: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.ExtraFiles = files
	p.cmd.Stdout = p.stderr
	p.cmd.Stderr = p.stderr
	p.cmd.WaitDelay = 2 * time.Second
	// A group of its own, so a terminal's Ctrl-C is for the caller to act on.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(p.cmd.SysProcAttr)

	started := make(chan error, 1)
	go func() {
		// Linux sends the signal of Pdeathsig when the starting thread ends,
		// not the process (prctl(2), PR_SET_PDEATHSIG), so the thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := p.cmd.Start(); err != nil {
			started <- err
			return
		}
		p.start = time.Now()
		release, err := guard(p.cmd.Process.Pid)
		if err != nil {
			p.kill()
		}
		started <- err
		p.err = p.cmd.Wait()
		p.wall = time.Since(p.start)
		close(p.done)
		release()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// kill ends QEMU and everything in its group at once. It is safe to call at
// any time.
func (p *process) kill() {
	select {
	case <-p.done:
		return // reaped: the number may be somebody else's by now
	default:
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Process.Kill()
}

// cpu returns the CPU time QEMU has used. Where it cannot be read, as in the
// moment of QEMU's end, that is what it was at the last reading; a limit of
// wall time then still holds.
func (p *process) cpu() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		p.used = p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	default:
		if used, err := cpuTime(p.cmd.Process.Pid); err == nil {
			p.used = used
		}
	}
	return p.used
}

// code returns QEMU's exit status, or -1 and the signal that ended it.
func (p *process) code() (int, syscall.Signal) {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return -1, status.Signal()
	}
	return p.cmd.ProcessState.ExitCode(), 0
}

// peakMemory returns the most memory QEMU had resident, in bytes; 0 when it
// is not known.
func (p *process) peakMemory() int64 {
	usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return usage.Maxrss // bytes there, getrusage(2)
	}
	return usage.Maxrss * 1024
}

// tail is a writer that keeps the last bytes written to it.
type tail struct {
	mu    sync.Mutex
	limit int
	text  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > t.limit {
		t.text = append([]byte(nil), t.text[len(t.text)-t.limit:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// streamPair returns two connected ends of a stream socket: one for this
// process, one for QEMU to inherit.
func streamPair(name string) (io.ReadWriteCloser, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: socketpair: %w", name, err)
	}
	// Not blocking, so that Close ends a Read.
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: socketpair: %w", name, err), syscall.Close(fds[0]), syscall.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
}
