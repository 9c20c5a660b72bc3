package progress

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// lineEvery is how long a task may go on without a line of its own.
	lineEvery = 5 * time.Second
	// lineStep is how many percent of a task are worth a line, provided that
	// lineGap has passed since the last one.
	lineStep = 10
	lineGap  = time.Second
)

// Lines shows tasks as plain lines: when one starts, now and then while it
// goes on, and when it ends. It suits logs and pipes.
type Lines struct {
	mu  sync.Mutex
	out io.Writer
	now func() time.Time
}

var _ Display = (*Lines)(nil)

// NewLines returns a display that writes lines to out and takes the time from
// now. Errors of out are ignored: showing progress must not end the work.
func NewLines(out io.Writer, now func() time.Time) *Lines {
	return &Lines{out: out, now: now}
}

// Write passes other text through, whole calls at a time.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

// Start begins a task and says so.
func (l *Lines) Start(name string, total int64, unit Unit) Task {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if total > 0 {
		fmt.Fprintf(l.out, "%s: %s\n", name, amountOf(total, unit))
	} else {
		fmt.Fprintln(l.out, name)
	}
	return &lineTask{lines: l, name: name, total: total, unit: unit, begun: now, said: now}
}

// amountOf writes a total alone.
func amountOf(total int64, unit Unit) string { return amount(total, 0, unit) }

type lineTask struct {
	lines       *Lines
	name        string
	total, done int64
	unit        Unit
	begun, said time.Time
	step        int
}

// Add counts, and writes a line when it is time for one.
func (t *lineTask) Add(n int64) {
	t.lines.mu.Lock()
	defer t.lines.mu.Unlock()
	t.done += n
	if t.total > 0 && t.done >= t.total {
		return // Done is about to say so
	}
	now := t.lines.now()
	step := percent(t.done, t.total) / lineStep
	since := now.Sub(t.said)
	if since < lineEvery && (step <= t.step || since < lineGap) {
		return
	}
	t.said, t.step = now, step
	text := t.name + ": "
	if t.total > 0 {
		text += fmt.Sprintf("%d %%, ", percent(t.done, t.total))
	}
	text += amount(t.done, t.total, t.unit)
	if r := rate(t.done, t.unit, now.Sub(t.begun)); r != "" {
		text += ", " + r
	}
	if s := left(t.done, t.total, now.Sub(t.begun)); s != "" {
		text += ", " + s + " left"
	}
	fmt.Fprintln(t.lines.out, text)
}

// Done ends the task and says how.
func (t *lineTask) Done(err error) {
	t.lines.mu.Lock()
	defer t.lines.mu.Unlock()
	fmt.Fprintln(t.lines.out, ending(t.name, t.done, t.unit, t.lines.now().Sub(t.begun), err))
}

// ending is the last line of a task. What failed and why is said by who
// handles the error; here it is only marked.
func ending(name string, done int64, unit Unit, elapsed time.Duration, err error) string {
	if err != nil {
		return name + ": failed after " + took(elapsed)
	}
	text := name + ": done"
	if done > 0 {
		text += ", " + amountOf(done, unit)
	}
	return text + " in " + took(elapsed)
}
