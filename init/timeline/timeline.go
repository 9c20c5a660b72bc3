// Package timeline is what a boot tells people and programs: one aligned line
// on the console and one event for every step, with how long it took.
//
// It decides nothing and keeps nothing but the start of running steps.
package timeline

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weft/event"
)

// Uptime is the time since the kernel started, sleep included
// (CLOCK_BOOTTIME), the clock of every line and event.
func Uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// A Log writes the timeline. Its methods may be called from any goroutine.
type Log struct {
	now  func() time.Duration
	line func(string)
	emit func(event.Event)

	mu    sync.Mutex
	ready bool // the ready line was written
}

// New returns a log that takes its time from now and gives lines and events
// to line and emit, which must not block.
func New(now func() time.Duration, line func(string), emit func(event.Event)) *Log {
	return &Log{now: now, line: line, emit: emit}
}

// A Step is something that is going on.
type Step struct {
	log   *Log
	name  string
	start time.Duration
}

// Start begins a step.
func (l *Log) Start(name string) *Step {
	return &Step{log: l, name: name, start: l.now()}
}

// Done ends the step; text, when not empty, says what came of it.
func (s *Step) Done(text string) {
	s.log.Took(s.name, s.log.now()-s.start, text)
}

// Fail ends the step with what went wrong.
func (s *Step) Fail(err error) {
	s.log.failed(s.name, s.log.now()-s.start, err)
}

// End is Fail when err is not nil and Done otherwise.
func (s *Step) End(err error) {
	if err != nil {
		s.Fail(err)
		return
	}
	s.Done("")
}

// Took reports a finished step that was timed elsewhere.
func (l *Log) Took(name string, took time.Duration, text string) {
	l.write(stepText(name, took, text))
	l.event(event.Event{Kind: event.Step, Name: name, Text: text, Millis: millis(took)})
}

// failed reports a step that did not work, as a step and as a problem.
func (l *Log) failed(name string, took time.Duration, err error) {
	l.write(stepText(name, took, "FAILED: "+err.Error()))
	l.event(event.Event{Kind: event.Step, Name: name, Text: "failed: " + err.Error(), Millis: millis(took)})
	l.event(event.Event{Kind: event.Problem, Name: name, Text: err.Error()})
}

// Note writes a line that is no step.
func (l *Log) Note(format string, args ...any) {
	l.write(fmt.Sprintf(format, args...))
}

// Problem reports a fault that does not stop the node: what, why and, where
// there is one, the way out.
func (l *Log) Problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.write("problem: " + text)
	l.event(event.Event{Kind: event.Problem, Text: text})
}

// Service reports a line of state from a service.
func (l *Log) Service(name, text string) {
	l.write(name + ": " + text)
	l.event(event.Event{Kind: event.Service, Name: name, Text: text})
}

// Status passes a service's status on to programs; people see nothing. What
// is not JSON is passed on as a JSON string.
func (l *Log) Status(name string, data []byte) {
	if !json.Valid(data) {
		data, _ = json.Marshal(string(data)) // a string always marshals
	}
	l.event(event.Event{Kind: event.Status, Name: name, Data: data})
}

// Identity says who the node is.
func (l *Log) Identity(id event.Identified) {
	l.write(fmt.Sprintf("node %s (%s) uuid %s", id.Hostname, id.HostnameSource, id.UUID))
	data, _ := json.Marshal(id) // four strings always marshal
	l.event(event.Event{Kind: event.Identity, Data: data})
}

// Ready writes the one ready line of a boot; later calls say only that all is
// well again. It reports whether this was the first.
func (l *Log) Ready() bool {
	l.mu.Lock()
	first := !l.ready
	l.ready = true
	l.mu.Unlock()
	if !first {
		l.write("all is well again")
		return false
	}
	now := l.now()
	l.line(fmt.Sprintf("weft: ready in %.2f s", now.Seconds()))
	l.emit(event.Event{Uptime: now.Seconds(), Kind: event.Ready, Millis: millis(now)})
	return true
}

// Degraded says that something the profile asks for does not work.
func (l *Log) Degraded(reason string) {
	l.line("weft: degraded: " + oneLine(reason))
	l.event(event.Event{Kind: event.Degraded, Text: reason})
}

// Stopping says that the node is shutting down, and why.
func (l *Log) Stopping(why string) {
	l.write("stopping: " + why)
	l.event(event.Event{Kind: event.Stopping, Text: why})
}

// write puts the time before text; further lines of text are indented so that
// a reader sees where it ends.
func (l *Log) write(text string) {
	stamp := fmt.Sprintf("weft: [%6.2f] ", l.now().Seconds())
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if i > 0 {
			line = "  " + line
		}
		l.line(stamp + line)
	}
}

// event stamps and emits.
func (l *Log) event(e event.Event) {
	e.Uptime = l.now().Seconds()
	l.emit(e)
}

// stepText is the text of a finished step.
func stepText(name string, took time.Duration, text string) string {
	s := fmt.Sprintf("%s %d ms", name, took.Milliseconds())
	if text != "" {
		s += ": " + text
	}
	return s
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// oneLine joins the lines of a text.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
