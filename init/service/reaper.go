package service

import (
	"context"
	"fmt"
	"os"
	"os/signal"
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
}

// String says it for people.
func (e Exit) String() string {
	if e.Signal != 0 {
		return fmt.Sprintf("ended by signal %d (%s)", e.Signal, e.Signal)
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// NewReaper returns a reaper without children.
func NewReaper() *Reaper { return &Reaper{waiting: make(map[int]chan<- Exit)} }

// Start starts a process and returns its id and where its end is told, once.
func (r *Reaper) Start(path string, argv []string, attr *syscall.ProcAttr) (int, <-chan Exit, error) {
	// The lock keeps the reaper from collecting the child before it is known.
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, nil, fmt.Errorf("start %s: %w", path, err)
	}
	done := make(chan Exit, 1)
	r.waiting[pid] = done
	return pid, done, nil
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
