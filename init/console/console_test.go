package console

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// buffer is a console that takes everything.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) Close() error { return nil }

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// stuck is a console that takes nothing until it is let go.
type stuck struct {
	buffer
	gate chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.gate
	return s.buffer.Write(p)
}

func TestEveryConsoleGetsEveryLine(t *testing.T) {
	c := New()
	var a, b buffer
	c.Add("tty0", &a)
	c.Add("ttyS0", &b)
	c.Line("one")
	c.Line("two")
	c.Flush(10 * time.Second)
	for name, got := range map[string]string{"tty0": a.String(), "ttyS0": b.String()} {
		if got != "one\ntwo\n" {
			t.Errorf("%s got %q", name, got)
		}
	}
}

func TestADeadConsoleHoldsNobodyUp(t *testing.T) {
	c := New()
	dead := &stuck{gate: make(chan struct{})}
	var alive buffer
	c.Add("ttyS1", dead)
	c.Add("tty0", &alive)
	const lines = queueLines * 3
	for range lines {
		c.Line("x") // must not wait
	}
	c.Flush(10 * time.Millisecond) // must not wait for ever
	if !strings.HasPrefix(alive.String(), "x\n") {
		t.Fatal("the live console got nothing")
	}
	// Once it works again it is told what it missed.
	close(dead.gate)
	c.Flush(10 * time.Second)
	c.Line("back")
	c.Flush(10 * time.Second)
	if got := dead.String(); !strings.Contains(got, "lines lost, this console was too slow\nback\n") {
		t.Errorf("the slow console ended with %q", got[max(0, len(got)-200):])
	}
}

func TestTextFromOutsideCannotDriveATerminal(t *testing.T) {
	c := New()
	var b buffer
	c.Add("tty0", &b)
	c.Line("a\x1b[2Jb\rc\nd\u009be\tf")
	c.Flush(10 * time.Second)
	if got, want := b.String(), "a [2Jb c d e\tf\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNamesOfConsoles(t *testing.T) {
	for text, want := range map[string]string{
		"tty0 ttyS0\n":         "tty0,ttyS0",
		"":                     "",
		"../sda ttyAMA0 .. a/": "ttyAMA0",
	} {
		if got := strings.Join(Names(text), ","); got != want {
			t.Errorf("Names(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestOpenDeviceDoesNotWaitForAReader(t *testing.T) {
	if _, err := OpenDevice(t.TempDir() + "/none"); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a missing console: error %v", err)
	}
	w, err := OpenDevice(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	w.Close()
}

func TestAfterCloseLinesGoNowhere(t *testing.T) {
	c := New()
	var b buffer
	c.Add("tty0", &b)
	c.Line("last")
	c.Close(10 * time.Second)
	c.Line("after")
	if c.Len() != 0 || b.String() != "last\n" {
		t.Errorf("%d consoles, text %q", c.Len(), b.String())
	}
}
