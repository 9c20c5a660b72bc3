// Package service runs the node's long-running programs: each in a cgroup of
// its own, started again when it ends, with its output kept and its state
// told.
//
// It speaks sd_notify(3) and needs no other word from a program. It has no
// dependencies between services; who starts what when is init's business.
package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Spec says how a service is run.
type Spec struct {
	// Name is the service's, also of its cgroup and notify socket.
	Name string
	// Path is the program, Args its arguments without its name.
	Path string
	Args []string
	// Env is its whole environment; NOTIFY_SOCKET is added.
	Env []string
	// StopWithin is how long it may take to end after SIGTERM.
	StopWithin time.Duration
	// OOMScore is its /proc/PID/oom_score_adj, -1000..1000.
	OOMScore int
}

// State is what a service is doing.
type State int

// The states of a service.
const (
	Starting State = iota
	// Ready means that it said READY=1.
	Ready
	// Down means that it ended and will be started again.
	Down
	// Stopped means that it was told to end, and did.
	Stopped
)

// A Watcher hears of a service. Its methods are called one at a time for a
// service and must not block.
type Watcher interface {
	// State is called at each change. Text explains Down: how it ended, when
	// it is started again, and its last lines.
	State(name string, s State, text string)
	// Status is called for each status line the service sends.
	Status(name, text string)
	// Warning is called for each line of output that is a warning or worse.
	Warning(name, line string)
}

// A Process is a started program.
type Process interface {
	// Done tells once how it ended.
	Done() <-chan Exit
	// Stop asks it to end, Kill ends it and all it started.
	Stop()
	Kill()
}

// A Launcher starts programs. Output and notices of the process go to the
// given functions, which may be called until the process is done and its
// output is read.
type Launcher interface {
	Launch(spec Spec, line func(string), notice func(Notice)) (Process, error)
}

// Run keeps a service running until ctx ends, then stops it: SIGTERM first,
// and everything in its cgroup is killed when StopWithin has passed. It
// returns when the service has ended.
func Run(ctx context.Context, spec Spec, l Launcher, w Watcher, clock Clock) {
	var back Backoff
	for ctx.Err() == nil {
		started := clock.Now()
		text := runOnce(ctx, spec, l, w, clock)
		if ctx.Err() != nil {
			w.State(spec.Name, Stopped, text)
			return
		}
		wait := back.Next(clock.Now().Sub(started))
		w.State(spec.Name, Down, fmt.Sprintf("%s; starting again in %s", text, wait))
		select {
		case <-clock.After(wait):
		case <-ctx.Done():
			w.State(spec.Name, Stopped, "not running")
		}
	}
}

// tailLines is how many last lines are shown when a service dies.
const tailLines = 15

// runOnce runs a service until it ends or ctx does, and says how it ended.
func runOnce(ctx context.Context, spec Spec, l Launcher, w Watcher, clock Clock) string {
	events := make(chan func(), 64) // everything the watcher hears, in order
	over := make(chan struct{})
	defer close(over)
	tell := func(f func()) {
		select {
		case events <- f:
		case <-over:
		}
	}
	ring := &Ring{}
	line := func(s string) {
		ring.Add(s)
		if Warning(s) {
			tell(func() { w.Warning(spec.Name, s) })
		}
	}
	ready := false
	notice := func(n Notice) {
		tell(func() {
			if n.HasStatus {
				w.Status(spec.Name, n.Status)
			}
			if n.Ready && !ready {
				ready = true
				w.State(spec.Name, Ready, "")
			}
		})
	}
	w.State(spec.Name, Starting, "")
	p, err := l.Launch(spec, line, notice)
	if err != nil {
		return err.Error()
	}
	stop := ctx.Done()
	var kill <-chan time.Time
	for {
		select {
		case f := <-events:
			f()
		case <-stop:
			stop = nil
			p.Stop()
			kill = clock.After(spec.StopWithin)
		case <-kill:
			kill = nil
			p.Kill()
		case exit := <-p.Done():
			for drained := false; !drained; {
				select {
				case f := <-events:
					f()
				default:
					drained = true
				}
			}
			text := exit.String()
			if ctx.Err() == nil {
				for _, s := range ring.Last(tailLines) {
					text += "\n| " + s
				}
			}
			return text
		}
	}
}

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
		Dir:   "/",
		Env:   append(append([]string(nil), spec.Env...), "NOTIFY_SOCKET="+path),
		Files: []uintptr{null.Fd(), in.Fd(), in.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if h.Cgroups != nil {
		if dir, err := h.Cgroups.Make(spec.Name); err == nil {
			defer dir.Close()
			attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(dir.Fd())
		} else {
			line("level=WARN " + err.Error()) // it runs all the same
		}
	}
	pid, exited, err := h.Reaper.Start(spec.Path, append([]string{spec.Path}, spec.Args...), attr)
	if err != nil {
		notices.Close()
		out.Close()
		return nil, err
	}
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), fmt.Appendf(nil, "%d", spec.OOMScore), 0o644)
	p := &process{pid: pid, name: spec.Name, cgroups: h.Cgroups, done: make(chan Exit, 1)}
	go p.watch(exited, out, notices, line, notice)
	return p, nil
}

// process is a Process of the real system.
type process struct {
	pid     int
	name    string
	cgroups *Cgroups
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

func (p *process) Kill() {
	if p.cgroups != nil && p.cgroups.Kill(p.name) == nil {
		return
	}
	_ = unix.Kill(-p.pid, unix.SIGKILL) // its session's process group
}
