package service

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Reaper starts processes and is the only one that waits for them. PID 1
// inherits every orphan of the system, so somebody must wait for any process
// at all; that somebody would steal the exit status from anyone else who
// waits, and so there is nobody else.
type Reaper struct {
	mu      sync.Mutex
	waiting map[int]chan<- Exit
}

// Exit is how a process ended.
type Exit struct {
	// Code is the exit code; -1 when a signal ended it.
	Code int
	// Signal ended it, when not 0.
	Signal syscall.Signal
	// OOM says that the kernel killed a process of the service meanwhile for
	// want of memory.
	OOM bool
}

// String says it for people.
func (e Exit) String() string {
	text := fmt.Sprintf("exit code %d", e.Code)
	if e.Signal != 0 {
		text = fmt.Sprintf("ended by signal %d (%s)", e.Signal, e.Signal)
	}
	if e.OOM {
		text += ", out of memory"
	}
	return text
}

// NewReaper returns a reaper without children.
func NewReaper() *Reaper { return &Reaper{waiting: make(map[int]chan<- Exit)} }

// Start starts a process and returns its id and where its end is told, once.
// before, when not nil, is called on the thread that the process is started
// from, which nothing else uses before or afterwards: what it changes of the
// thread is the process's alone.
func (r *Reaper) Start(path string, argv []string, attr *syscall.ProcAttr, before func() error) (int, <-chan Exit, error) {
	// The lock keeps the reaper from collecting the child before it is known.
	r.mu.Lock()
	defer r.mu.Unlock()
	fork := func() (int, error) { return syscall.ForkExec(path, argv, attr) }
	if before != nil {
		fork = func() (pid int, err error) {
			apart(func() {
				if err = before(); err == nil {
					pid, err = syscall.ForkExec(path, argv, attr)
				}
			})
			return pid, err
		}
	}
	pid, err := fork()
	if err != nil {
		return 0, nil, fmt.Errorf("start %s: %w", path, err)
	}
	done := make(chan Exit, 1)
	r.waiting[pid] = done
	return pid, done, nil
}

// apart calls f on a thread that ends with it.
func apart(f func()) {
	done := make(chan struct{})
	go func() {
		// Never unlocked: the runtime ends the thread with the goroutine.
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The runtime keeps the first thread, whose state /proc/PID
			// shows; while it is held here, another is used.
			apart(f)
			runtime.UnlockOSThread()
			close(done)
			return
		}
		defer close(done)
		f()
	}()
	<-done
}

// Alive returns once the reaper is not held up by anything.
func (r *Reaper) Alive() {
	r.mu.Lock()
	defer r.mu.Unlock()
}

// Run collects ended children until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	defer signal.Stop(signals)
	for {
		r.collect()
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
	}
}

// collect takes every child that has ended. One signal may stand for many.
func (r *Reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		done, ours := r.waiting[pid]
		if !ours {
			continue // an orphan
		}
		delete(r.waiting, pid)
		exit := Exit{Code: ws.ExitStatus()}
		if ws.Signaled() {
			exit.Signal = ws.Signal()
		}
		done <- exit
	}
}
