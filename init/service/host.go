package service

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Host is the Launcher of the real system.
type Host struct {
	// Reaper starts and waits for the processes.
	Reaper *Reaper
	// Cgroups holds them; nil leaves them in init's own.
	Cgroups *Cgroups
	// NotifyDir is where notify sockets are made.
	NotifyDir string
}

var _ Launcher = Host{}

// Launch starts a service.
func (h Host) Launch(spec Spec, line func(string), notice func(Notice)) (_ Process, err error) {
	path := h.NotifyDir + "/" + spec.Name + ".sock"
	bounds, err := bounding(spec.Capabilities)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", spec.Name, err)
	}
	notices, err := listenNotify(path)
	if err != nil {
		return nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		notices.Close()
		return nil, fmt.Errorf("output of %s: %w", spec.Name, err)
	}
	defer in.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		notices.Close()
		out.Close()
		return nil, err
	}
	defer null.Close()
	attr := &syscall.ProcAttr{
		Dir:   spec.Dir,
		Env:   append(append([]string(nil), spec.Env...), "NOTIFY_SOCKET="+path),
		Files: []uintptr{null.Fd(), in.Fd(), in.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if attr.Dir == "" {
		attr.Dir = "/"
	}
	if spec.Watchdog > 0 {
		attr.Env = append(attr.Env, fmt.Sprintf("WATCHDOG_USEC=%d", spec.Watchdog.Microseconds()))
	}
	move := false
	p := &process{spec: spec, cgroups: h.Cgroups, done: make(chan Exit, 1)}
	if h.Cgroups != nil {
		if dir, err := h.Cgroups.Make(spec.Name, !spec.Alone); err == nil {
			defer dir.Close()
			attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(dir.Fd())
			for _, err := range h.Cgroups.Limit(spec.Name, spec.Limits) {
				line("level=WARN " + err.Error())
			}
			p.kills = h.Cgroups.OOMKills(spec.Name)
		} else {
			line("level=WARN " + err.Error()) // it runs all the same
			move = true
		}
	}
	pid, exited, err := h.Reaper.Start(spec.Path, append([]string{spec.Path}, spec.Args...), attr, bounds)
	if err != nil {
		notices.Close()
		out.Close()
		return nil, err
	}
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), fmt.Appendf(nil, "%d", spec.OOMScore), 0o644)
	if move {
		if err := h.Cgroups.Add(spec.Name, pid); err != nil {
			line("level=WARN " + err.Error())
		}
	}
	p.pid = pid
	go p.watch(exited, out, notices, line, notice)
	return p, nil
}

// process is a Process of the real system.
type process struct {
	pid     int
	spec    Spec
	cgroups *Cgroups
	kills   int // processes killed for want of memory before it started
	done    chan Exit
}

// drainOutput is how long output is still read after the process ended: a
// child it left behind may hold the other end open for ever.
const drainOutput = 200 * time.Millisecond

// watch passes output and notices on until the process has ended.
func (p *process) watch(exited <-chan Exit, out io.ReadCloser, notices *net.UnixConn, line func(string), notice func(Notice)) {
	read := make(chan struct{})
	go func() {
		defer close(read)
		readLines(out, line)
	}()
	go readNotices(notices, notice)
	exit := <-exited
	if p.cgroups != nil {
		exit.OOM = p.cgroups.OOMKills(p.spec.Name) > p.kills
		if !p.spec.Alone {
			_ = p.cgroups.Kill(p.spec.Name) // what it left behind
		}
	}
	timer := time.NewTimer(drainOutput)
	defer timer.Stop()
	select {
	case <-read:
	case <-timer.C:
	}
	out.Close()
	notices.Close()
	p.done <- exit
}

func (p *process) Done() <-chan Exit { return p.done }

// Stop asks the process itself, not its children: those are its own to end.
func (p *process) Stop() { _ = unix.Kill(p.pid, unix.SIGTERM) }

// Abort sends SIGABRT, at which a Go program prints where all its goroutines
// are.
func (p *process) Abort() { _ = unix.Kill(p.pid, unix.SIGABRT) }

func (p *process) Kill() {
	if p.spec.Alone {
		_ = unix.Kill(p.pid, unix.SIGKILL)
		return
	}
	if p.cgroups != nil && p.cgroups.Kill(p.spec.Name) == nil {
		return
	}
	_ = unix.Kill(-p.pid, unix.SIGKILL) // its session's process group
}
