// Package progress shows how far long work has come: bars on a terminal,
// plain lines everywhere else.
//
// Those who work report to a [Reporter]; who runs the program chooses the
// implementation. It is not a logger: nothing that matters later is said only
// here.
package progress

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// A Unit is what the amounts of a task count.
type Unit string

// The units in use.
const (
	// Bytes are shown as KB, MB, GB (powers of 1000) and with a rate.
	Bytes Unit = "bytes"
	// Files are shown as a plain number.
	Files Unit = "files"
)

// A Reporter shows tasks. Its methods may be called from several goroutines.
type Reporter interface {
	// Start begins a task. name is short and says what is done to what:
	// "download linux-image-amd64". total is the amount of work in units, 0
	// if it is not known.
	Start(name string, total int64, unit Unit) Task
}

// A Task is one piece of work under way. Its methods may be called from
// several goroutines; Done is called exactly once, and last.
type Task interface {
	// Add says that n more units are done; n may be negative when work has
	// to be done again.
	Add(n int64)
	// Done ends the task; err is nil if it succeeded.
	Done(err error)
}

// Discard shows nothing.
var Discard Reporter = discard{}

type discard struct{}

func (discard) Start(string, int64, Unit) Task { return discard{} }
func (discard) Add(int64)                      {}
func (discard) Done(error)                     {}

// A Display is a Reporter that shares its output with other text: what is
// written to it appears above the bars and between the lines, never inside.
type Display interface {
	Reporter
	io.Writer
}

// For returns the display that fits f: bars if f is a terminal that can move
// its cursor, lines otherwise. dumb is the environment's word on that: the
// TERM variable is "dumb", or NO_COLOR-like settings ask for plain text.
func For(f *os.File, dumb bool) Display {
	fd := int(f.Fd())
	if dumb || !term.IsTerminal(fd) {
		return NewLines(f, time.Now)
	}
	width := func() int {
		columns, _, err := term.GetSize(fd)
		if err != nil || columns <= 0 {
			return defaultWidth
		}
		return columns
	}
	return NewBars(f, width, time.Now)
}
