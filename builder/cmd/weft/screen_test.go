package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
)

// shown is what a console makes of pieces.
func shown(prefixed, colour bool, pieces ...string) string {
	var out bytes.Buffer
	c := newScreen(&out, prefixed, colour).console("node-1", 0)
	for _, p := range pieces {
		if n, err := io.WriteString(c, p); n != len(p) || err != nil {
			return fmt.Sprintf("write %q: %d, %v", p, n, err)
		}
	}
	return out.String()
}

func TestConsolesBecomeLines(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a line", "hello\n", "hello\n"},
		{"the line ends of a terminal", "a\r\nb\r\n", "a\nb\n"},
		{"nothing but a line end", "\r\n\n", ""},
		{"spaces at the end", "a   \n   \n", "a\n"},
		{"a tab", "a\tb\n", "a\tb\n"},
		{"UTF-8", "Grüße 世界\n", "Grüße 世界\n"},
		{"half a line", "no end", ""},
		{"colours", "\x1b[31;1mred\x1b[0m\n", "red\n"},
		{"clear the screen", "\x1b[2J\x1b[01;01Hboot\n", "boot\n"},
		{"a private sequence", "\x1b[?25lx\n", "x\n"},
		{"an intermediate byte", "\x1b[1 qx\n", "x\n"},
		{"a character set", "\x1b(Bx\n", "x\n"},
		{"a sequence of two characters", "\x1bcx\n\x1b7y\n", "x\ny\n"},
		{"a title", "\x1b]0;title\ax\n\x1b]0;title\x1b\\y\n", "x\ny\n"},
		{"an escape within a sequence", "\x1b[3\x1b[0mx\n", "x\n"},
		{"a line end within a sequence", "\x1b[3\nx\n", "x\n"},
		{"a bell and other controls", "a\a\b\x00\x7fb\n", "ab\n"},
	} {
		if got := shown(false, false, c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := shown(false, false, strings.Split(c.in, "")...); got != c.want {
			t.Errorf("%s, piece by piece: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLinesOfSeveralNodesCarryTheirNames(t *testing.T) {
	if got := shown(true, false, "a\nb\n"); got != "node-1 | a\nnode-1 | b\n" {
		t.Errorf("got %q", got)
	}
	if got := shown(true, true, "a\n"); got != "\x1b[31mnode-1 | \x1b[0ma\n" {
		t.Errorf("in colour: %q", got)
	}
}

func TestLongLinesAreBrokenAndNothingIsLost(t *testing.T) {
	long := strings.Repeat("0123456789", 2000)
	got := shown(false, false, long+"\n")
	for line := range strings.Lines(got) {
		if len(line) > maxLine+1 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if joined := strings.ReplaceAll(got, "\n", ""); joined != long {
		t.Errorf("%d of %d bytes arrive", len(joined), len(long))
	}
	endless := "\x1b]" + strings.Repeat("x", 1<<20)
	if got := shown(false, false, endless, "\nafter\n"); !strings.Contains(got, "after") {
		t.Errorf("after a sequence without an end: %q", got)
	}
}

func TestConsolesDoNotMixTheirLines(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out, true, false)
	var group sync.WaitGroup
	for i := range 4 {
		c := s.console(fmt.Sprintf("n%d", i), i)
		group.Go(func() {
			for range 200 {
				fmt.Fprintf(c, "this is %d\n", i)
			}
		})
	}
	group.Wait()
	count := 0
	for line := range strings.Lines(out.String()) {
		var a, b int
		if n, err := fmt.Sscanf(line, "n%d | this is %d\n", &a, &b); n != 2 || err != nil || a != b {
			t.Fatalf("line %q", line)
		}
		count++
	}
	if count != 800 {
		t.Errorf("%d lines", count)
	}
}

// Whatever a node prints, the lines of others stay where they are.
func FuzzConsole(f *testing.F) {
	f.Add([]byte("plain\r\n"))
	f.Add([]byte("\x1b[2J\x1b]0;t\a\x1b(B\x1bPx\x1b\\\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		if n, err := newScreen(&out, true, false).console("n", 0).Write(data); n != len(data) || err != nil {
			t.Fatal(n, err)
		}
		for line := range strings.Lines(out.String()) {
			body, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "n | ")
			if !ok || len(body) > maxLine || strings.ContainsAny(body, "\x00\a\b\r\x1b\x7f") {
				t.Errorf("line %q", line)
			}
		}
	})
}
