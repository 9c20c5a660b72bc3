package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"weft/event"
)

const (
	// maxEventLine is the longest line of the event channel, 1 MiB: a whole
	// status of some thousand leases. The rest of a longer one is skipped.
	maxEventLine = 1 << 20
	// maxEvents is how many events are kept; the older half goes first.
	maxEvents = 100_000
)

// eventLog keeps the events of a guest and lets callers wait for one.
type eventLog struct {
	mu      sync.Mutex
	events  []event.Event
	dropped int // events cut off before events
	marked  int // where WaitEvent starts to look, counting dropped ones
	invalid int // lines that were no events
	ended   bool
	changed chan struct{}
}

func newEventLog() *eventLog { return &eventLog{changed: make(chan struct{})} }

// read takes lines from r until it ends. A line that is no event, whatever
// the guest meant by it, is counted and skipped.
func (l *eventLog) read(r io.Reader) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, tooLong, err := readLine(lines)
		if len(line) > 0 || tooLong {
			l.take(line, tooLong)
		}
		if err != nil {
			return
		}
	}
}

// readLine returns the next line, cut at maxEventLine.
func readLine(r *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		piece, err := r.ReadSlice('\n')
		if len(line)+len(piece) > maxEventLine {
			tooLong = true
		} else {
			line = append(line, piece...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

func (l *eventLog) take(line []byte, tooLong bool) {
	var e event.Event
	valid := !tooLong && json.Unmarshal(line, &e) == nil && e.Kind != ""
	l.mu.Lock()
	defer l.mu.Unlock()
	if !valid {
		l.invalid++
		return
	}
	l.events = append(l.events, e)
	if len(l.events) > maxEvents {
		cut := len(l.events) - maxEvents/2
		l.events = slices.Clone(l.events[cut:])
		l.dropped += cut
	}
	l.wake()
}

// wake tells those who wait. The caller holds the lock.
func (l *eventLog) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *eventLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.wake()
}

func (l *eventLog) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marked = l.dropped + len(l.events)
}

// count returns how many events have ever come.
func (l *eventLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped + len(l.events)
}

func (l *eventLog) all() []event.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// errEventsEnded says that the guest ended before the event came.
var errEventsEnded = fmt.Errorf("the guest ended: %w", io.EOF)

// wait returns the first event since the mark that match accepts.
func (l *eventLog) wait(ctx context.Context, match func(event.Event) bool) (event.Event, error) {
	seen := 0
	for {
		l.mu.Lock()
		seen = max(seen, l.marked, l.dropped)
		fresh := slices.Clone(l.events[seen-l.dropped:])
		seen += len(fresh)
		changed, ended := l.changed, l.ended
		l.mu.Unlock()
		for _, e := range fresh {
			if match(e) {
				return e, nil
			}
		}
		if ended {
			return event.Event{}, errEventsEnded
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return event.Event{}, ctx.Err()
		}
	}
}
