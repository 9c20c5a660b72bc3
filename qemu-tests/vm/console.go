package vm

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

// maxConsole is how many bytes of a guest's console are kept. A boot writes
// some 50 KiB; beyond the limit the older half is dropped.
const maxConsole = 16 << 20

// console keeps what the guest wrote to its serial port as plain text, and
// lets callers wait for text in it.
type console struct {
	mu      sync.Mutex
	text    []byte
	dropped int // bytes cut off before text
	cursor  int // where Expect goes on, an index of text
	written int // bytes of the guest's own text
	ended   bool
	changed chan struct{}
	strip   stripper
	raw     io.Writer
}

func newConsole(raw io.Writer) *console {
	return &console{changed: make(chan struct{}), raw: raw}
}

// take keeps bytes from the guest. It returns the plain text among them.
func (c *console) take(p []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raw != nil {
		// A console that cannot be shown is no reason to stop the guest.
		_, _ = c.raw.Write(p)
	}
	plain := c.strip.plain(p)
	c.written += len(plain)
	c.append(plain)
	return plain
}

// note puts a line of this package's own into the log and the raw console.
func (c *console) note(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raw != nil {
		_, _ = fmt.Fprintf(c.raw, "\r\n%s\r\n", line)
	}
	c.append([]byte("\n" + line + "\n"))
}

// append adds text and wakes those who wait. The caller holds the lock.
func (c *console) append(text []byte) {
	c.text = append(c.text, text...)
	if len(c.text) > maxConsole {
		cut := len(c.text) - maxConsole/2
		c.text = append([]byte(nil), c.text[cut:]...)
		c.dropped += cut
		c.cursor = max(c.cursor-cut, 0)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// end says that no more will come.
func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.append(nil)
}

// mark moves the cursor to the end of what is there.
func (c *console) mark() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cursor = len(c.text)
}

// change returns a channel that is closed when more text comes.
func (c *console) change() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// size returns how many bytes of text the guest has ever written.
func (c *console) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dropped > 0 {
		return fmt.Sprintf("[%d earlier bytes are not kept]\n%s", c.dropped, c.text)
	}
	return string(c.text)
}

// tail returns the last lines, at most n and 16 KiB.
func (c *console) tail(n int) string {
	c.mu.Lock()
	text := string(c.text[max(0, len(c.text)-16<<10):])
	c.mu.Unlock()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// errConsoleEnded says that the guest ended before it wrote what was expected.
var errConsoleEnded = fmt.Errorf("the guest ended: %w", io.EOF)

// expect waits until re matches after the cursor, moves the cursor past the
// match and returns it with its groups.
func (c *console) expect(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	for {
		c.mu.Lock()
		rest := c.text[c.cursor:]
		if at := re.FindSubmatchIndex(rest); at != nil {
			groups := make([]string, len(at)/2)
			for i := range groups {
				if at[2*i] >= 0 {
					groups[i] = string(rest[at[2*i]:at[2*i+1]])
				}
			}
			c.cursor += at[1]
			c.mu.Unlock()
			return groups, nil
		}
		changed, ended := c.changed, c.ended
		c.mu.Unlock()
		if ended {
			return nil, errConsoleEnded
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
