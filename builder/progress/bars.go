package progress

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// redrawEvery is the least time between two drawings; faster is flicker
	// and load.
	redrawEvery = 100 * time.Millisecond
	// maxBars is how many tasks are drawn at a time. More would scroll small
	// terminals, where lines cannot be drawn again.
	maxBars = 8
	// defaultWidth is assumed when the terminal does not tell, in columns.
	defaultWidth = 80
	// barCells is the width of a bar between its brackets; barFrom is the
	// terminal width from which one is drawn at all.
	barCells, barFrom = 20, 70
)

// Control sequences of ECMA-48: up to the start of a line above, and erase
// from the cursor to the end of the screen.
const (
	lineUp     = "\x1b[%dF"
	eraseBelow = "\x1b[J"
)

// Bars shows the tasks under way as bars at the bottom of a terminal, drawn
// again in place, and each finished one as a line above them.
type Bars struct {
	mu    sync.Mutex
	out   io.Writer
	width func() int
	now   func() time.Time
	tasks []*barTask
	drawn int // lines on the screen below the cursor's home
	last  time.Time
}

var _ Display = (*Bars)(nil)

// NewBars returns a display on the terminal out. width tells its width in
// columns, and now the time.
func NewBars(out io.Writer, width func() int, now func() time.Time) *Bars {
	return &Bars{out: out, width: width, now: now}
}

// Write puts other text above the bars. Each call should write whole lines.
func (b *Bars) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.redraw(string(p))
	return len(p), nil
}

// Start begins a task and draws its bar.
func (b *Bars) Start(name string, total int64, unit Unit) Task {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := &barTask{bars: b, name: name, total: total, unit: unit, begun: b.now()}
	b.tasks = append(b.tasks, t)
	b.redraw("")
	return t
}

// redraw erases the bars, writes text above them and draws them again, in one
// write so that nothing flickers.
func (b *Bars) redraw(text string) {
	var s strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&s, lineUp, b.drawn)
		s.WriteString(eraseBelow)
	}
	s.WriteString(text)
	b.last, b.drawn = b.now(), 0
	width := b.width()
	for i, t := range b.tasks {
		if i == maxBars {
			fmt.Fprintf(&s, "… and %d more\n", len(b.tasks)-maxBars)
			b.drawn++
			break
		}
		s.WriteString(t.draw(width, b.last))
		s.WriteByte('\n')
		b.drawn++
	}
	io.WriteString(b.out, s.String())
}

type barTask struct {
	bars        *Bars
	name        string
	total, done int64
	unit        Unit
	begun       time.Time
}

// Add counts, and draws unless it was drawn a moment ago.
func (t *barTask) Add(n int64) {
	b := t.bars
	b.mu.Lock()
	defer b.mu.Unlock()
	t.done += n
	if b.now().Sub(b.last) >= redrawEvery {
		b.redraw("")
	}
}

// Done ends the task: its bar becomes a line.
func (t *barTask) Done(err error) {
	b := t.bars
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tasks = slices.DeleteFunc(b.tasks, func(o *barTask) bool { return o == t })
	text := ending(t.name, t.done, t.unit, b.now().Sub(t.begun), err)
	b.redraw(text + "\n")
}

// draw makes the task's line, never wider than the terminal: a line that
// wraps could not be drawn again.
func (t *barTask) draw(width int, now time.Time) string {
	elapsed := now.Sub(t.begun)
	var right []string
	if t.total > 0 {
		right = append(right, fmt.Sprintf("%3d %%", percent(t.done, t.total)))
	}
	if t.done > 0 {
		right = append(right, amount(t.done, t.total, t.unit))
	}
	if r := rate(t.done, t.unit, elapsed); r != "" {
		right = append(right, r)
	}
	if s := left(t.done, t.total, elapsed); s != "" {
		right = append(right, s+" left")
	}
	tail := strings.Join(right, "  ")
	if t.total > 0 && width >= barFrom {
		full := int(min(max(t.done, 0), t.total) * barCells / t.total)
		tail = "[" + strings.Repeat("#", full) + strings.Repeat("-", barCells-full) + "] " + tail
	}
	// One column stays free: some terminals wrap when the last is written.
	return fit(t.name, tail, width-1)
}

// fit joins name and tail into at most width columns: the name gives way
// first, then the end of the line.
func fit(name, tail string, width int) string {
	room := width - utf8.RuneCountInString(tail) - 1
	if n := utf8.RuneCountInString(name); n > room && room >= 8 {
		name = string([]rune(name)[:room-1]) + "…"
	}
	line := []rune(strings.TrimRight(name+" "+tail, " "))
	return string(line[:min(len(line), max(width, 0))])
}
