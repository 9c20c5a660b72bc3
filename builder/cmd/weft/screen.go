package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// A screen shows the consoles of several nodes, line by line.
type screen struct {
	mu       sync.Mutex
	out      io.Writer
	prefixed bool
	colour   bool
}

// newScreen returns a screen on out. With prefixed, every line begins with
// the name of its node.
func newScreen(out io.Writer, prefixed, colour bool) *screen {
	return &screen{out: out, prefixed: prefixed, colour: colour}
}

// console returns the writer for the console of the index-th node.
func (s *screen) console(name string, index int) io.Writer {
	prefix := ""
	if s.prefixed {
		prefix = name + " | "
	}
	if s.prefixed && s.colour {
		// Six ANSI colours that are readable on light and dark.
		prefix = fmt.Sprintf("\x1b[%dm%s\x1b[0m", 31+index%6, prefix)
	}
	return &console{screen: s, prefix: prefix}
}

// A console gathers bytes to lines. Terminal control sequences of firmware
// and boot loaders are dropped: with several nodes on one screen they would
// clear each other's lines.
type console struct {
	screen *screen
	prefix string
	line   []byte
	state  state
}

// A state is where in a control sequence a console is.
type state int

// The states, after [ECMA-48, 5.3 to 5.6].
const (
	text    state = iota
	escape        // after ESC, and after bytes from space to /
	csi           // after ESC [
	command       // in a string after ESC ], P, X, ^ or _, until BEL or ESC \
)

// maxLine bounds what a node can make weft keep, in bytes.
const maxLine = 4096

func (c *console) Write(p []byte) (int, error) {
	for _, b := range p {
		c.take(b)
	}
	return len(p), nil
}

// take handles one byte. A line end also ends a sequence: one that was cut
// off must not swallow the lines after it.
func (c *console) take(b byte) {
	switch {
	case b == '\n':
		c.state = text
		c.flush()
	case b == 0x1b:
		c.state = escape
	case c.state != text:
		c.state = c.state.next(b)
	case b >= ' ' && b != 0x7f || b == '\t':
		if len(c.line) >= maxLine {
			c.flush()
		}
		c.line = append(c.line, b)
	}
}

// next is the state after a byte of a sequence.
func (s state) next(b byte) state {
	switch {
	case s == command && b != '\a':
		return command
	case s == csi && (b < '@' || b > '~'):
		return csi
	case s == escape && b == '[':
		return csi
	case s == escape && bytes.IndexByte([]byte("]PX^_"), b) >= 0:
		return command
	case s == escape && b >= ' ' && b <= '/':
		return escape
	}
	return text
}

// flush prints the line if there is anything on it.
func (c *console) flush() {
	line := bytes.TrimRight(c.line, " ")
	if len(line) > 0 {
		c.screen.mu.Lock()
		fmt.Fprintf(c.screen.out, "%s%s\n", c.prefix, line)
		c.screen.mu.Unlock()
	}
	c.line = c.line[:0]
}
