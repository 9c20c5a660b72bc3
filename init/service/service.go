// Package service runs the node's long-running programs: each in a cgroup of
// its own, started when what it needs is there, started again when it ends,
// with its output kept and its state told, and stopped in order.
//
// It speaks sd_notify(3) and needs no other word from a program. Which
// services there are and what they need is init's business.
package service

import (
	"time"
)

// A Spec says how a service is run.
type Spec struct {
	// Name is the service's, also of its cgroup and notify socket.
	Name string
	// Path is the program, Args its arguments without its name.
	Path string
	Args []string
	// Env is its whole environment; NOTIFY_SOCKET is added, and
	// WATCHDOG_USEC when Watchdog is set. INVOCATION_ID must not be in it:
	// K3s takes it for a sign of systemd.
	Env []string
	// Dir is its working directory; / when empty.
	Dir string

	// After are stages and services that must be up, or have failed, or be
	// late, before it is started. Requires are such that must be up.
	After, Requires []string
	// WaitWithin is how long it waits for After; then it is started all the
	// same. 0 waits for ever.
	WaitWithin time.Duration

	// Grace is how long it must have run to count as ready although it never
	// said READY=1; 0 means that it has to say so.
	Grace time.Duration
	// ReadyWithin is how long it may take to be ready before it is told as
	// late; 0 is for ever. A late service goes on.
	ReadyWithin time.Duration
	// Watchdog is how long it may go without WATCHDOG=1 once it is ready;
	// then it is ended and started again. 0 is for ever.
	Watchdog time.Duration
	// Restart says what follows its end.
	Restart Restart
	// StopWithin is how long it may take to end after SIGTERM.
	StopWithin time.Duration
	// Alone ends the process only, and leaves what it started to itself: the
	// containers of a Kubernetes go on while it is started again. Otherwise
	// everything in the service's cgroup ends with it.
	Alone bool

	// Limits bound what it takes of the machine.
	Limits Limits
	// Capabilities are all it can ever have (capabilities(7)), by names such
	// as CAP_NET_ADMIN; all of them when nil.
	Capabilities []string
	// OOMScore is its /proc/PID/oom_score_adj, -1000..1000.
	OOMScore int
}

// State is what a service is doing.
type State int

// The states of a service.
const (
	Starting State = iota
	// Ready means that it said READY=1, or has run for its Grace.
	Ready
	// Down means that it ended and will be started again.
	Down
	// Stopped means that it was told to end, and did.
	Stopped
	// Waiting means that what it needs is not there yet.
	Waiting
	// Late means that it is not ready in time; it goes on.
	Late
	// Failed means that it ended, or cannot be started, and stays down.
	Failed
	// Done means that it ended well and is not to be started again.
	Done
	// Hung means that it was told to end and did not in time; it is killed.
	Hung
	// Wedged means that it has shown no life for too long; it is ended, which
	// Down or Failed follows.
	Wedged
)

// String is the state in one word.
func (s State) String() string {
	return [...]string{"starting", "ready", "down", "stopped", "waiting", "late", "failed", "done", "hung", "wedged"}[s]
}

// A Watcher hears of a service. Its methods are called one at a time for a
// service and must not block.
type Watcher interface {
	// State is called at each change. Text explains Down, Failed and Late:
	// how it ended, what comes next, and its last lines.
	State(name string, s State, text string)
	// Status is called for each status line the service sends.
	Status(name, text string)
	// Warning is called for each line of output that is a warning or worse.
	Warning(name, line string)
	// Alive is called for each sign of life (WATCHDOG=1).
	Alive(name string)
}

// A Process is a started program.
type Process interface {
	// Done tells once how it ended.
	Done() <-chan Exit
	// Stop asks it to end, Abort ends it and has it say where it was, Kill
	// ends it and, unless it is Alone, all it started.
	Stop()
	Abort()
	Kill()
}

// A Launcher starts programs. Output and notices of the process go to the
// given functions, which may be called until the process is done and its
// output is read.
type Launcher interface {
	Launch(spec Spec, line func(string), notice func(Notice)) (Process, error)
}
