// Package console writes init's lines to every console the kernel has.
//
// It never waits for a console: each has its own queue and its own goroutine,
// and a console that does not take what it is given loses lines, not the
// boot. It formats nothing; see package timeline.
package console

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// queueLines is how many lines a slow console may lag behind.
const queueLines = 1024

// A Console is all consoles together.
type Console struct {
	mu    sync.Mutex
	sinks []*sink
}

// sink is one console.
type sink struct {
	name  string
	w     io.WriteCloser
	queue chan item
	quit  chan struct{} // closed by Close
	lost  int           // lines dropped since the last one that was queued
}

// item is a line, or a mark that is closed once all before it are written.
type item struct {
	line string
	mark chan struct{}
}

// Names lists the device names in the kernel's list of active consoles
// (/sys/class/tty/console/active, Documentation/ABI/testing/sysfs-tty). Names
// that could leave /dev are left out.
func Names(active string) []string {
	var names []string
	for _, name := range strings.Fields(active) {
		if !strings.ContainsAny(name, "/\x00") && name != "." && name != ".." {
			names = append(names, name)
		}
	}
	return names
}

// OpenDevice opens a console device for writing without ever waiting for it:
// not for a carrier, not for room in its buffer.
func OpenDevice(path string) (io.WriteCloser, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("console %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// New returns a console that writes to nothing until Add is called.
func New() *Console { return &Console{} }

// Add makes w one of the consoles; Close closes it.
func (c *Console) Add(name string, w io.WriteCloser) {
	s := &sink{name: name, w: w, queue: make(chan item, queueLines), quit: make(chan struct{})}
	c.mu.Lock()
	c.sinks = append(c.sinks, s)
	c.mu.Unlock()
	go s.run()
}

// Len says how many consoles there are.
func (c *Console) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sinks)
}

// Line writes one line, without its line end, to every console. Control
// characters become spaces, so that no text from outside can drive a terminal.
func (c *Console) Line(line string) {
	line = clean(line)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sinks {
		s.put(line)
	}
}

// Flush waits until every console has written what it was given, at most for
// limit.
func (c *Console) Flush(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	c.mu.Lock()
	sinks := slices.Clone(c.sinks)
	c.mu.Unlock()
	marks := make([]chan struct{}, len(sinks))
	for i, s := range sinks {
		marks[i] = make(chan struct{})
		select {
		case s.queue <- item{mark: marks[i]}:
		case <-s.quit:
			close(marks[i])
		case <-timer.C:
			return
		}
	}
	for _, mark := range marks {
		select {
		case <-mark:
		case <-timer.C:
			return
		}
	}
}

// put queues a line, or counts it as lost when the console is stuck.
func (s *sink) put(line string) {
	if s.lost > 0 {
		select {
		case s.queue <- item{line: fmt.Sprintf("weft: %d lines lost, this console was too slow", s.lost)}:
			s.lost = 0
		default:
			s.lost++
			return
		}
	}
	select {
	case s.queue <- item{line: line}:
	default:
		s.lost++
	}
}

// run writes queued lines until the console is closed.
func (s *sink) run() {
	defer s.w.Close()
	for {
		select {
		case it := <-s.queue:
			if it.mark != nil {
				close(it.mark)
				continue
			}
			// A tty adds the carriage return itself (OPOST and ONLCR are on
			// by default). A console that fails loses this line.
			io.WriteString(s.w, it.line+"\n")
		case <-s.quit:
			return
		}
	}
}

// Close ends all consoles after Flush; Line afterwards goes nowhere.
func (c *Console) Close(limit time.Duration) {
	c.Flush(limit)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sinks {
		close(s.quit)
	}
	c.sinks = nil
}

// clean replaces what a terminal would act on.
func clean(line string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, line)
}
