package service

import (
	"bufio"
	"io"
	"strings"
	"sync"
)

// Limits of what is kept of a service's output.
const (
	ringLines = 200
	lineBytes = 4096
)

// A Ring keeps the last lines of a service's output.
type Ring struct {
	mu    sync.Mutex
	lines []string
	next  int
}

// Add keeps a line, in place of the oldest when there is no room.
func (r *Ring) Add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < ringLines {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.next] = line
	r.next = (r.next + 1) % ringLines
}

// Last returns at most n lines, oldest first.
func (r *Ring) Last(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := append(append([]string(nil), r.lines[r.next:]...), r.lines[:r.next]...)
	return all[max(0, len(all)-n):]
}

// Warning reports whether a line of output is a warning or worse: by slog's
// text or JSON level, by the kernel's <N> prefix (sd-daemon(3)), or by how Go
// programs die.
func Warning(line string) bool {
	if len(line) > 2 && line[0] == '<' && line[2] == '>' {
		return line[1] >= '0' && line[1] <= '4'
	}
	for _, mark := range []string{"level=WARN", "level=ERROR", `"level":"WARN`, `"level":"ERROR`} {
		if strings.Contains(line, mark) {
			return true
		}
	}
	return strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:")
}

// readLines calls each for every line of r until it ends. A line longer than
// lineBytes is cut there.
func readLines(r io.Reader, each func(string)) {
	br := bufio.NewReaderSize(r, lineBytes)
	for {
		part, more, err := br.ReadLine()
		if err != nil {
			return
		}
		line := string(part)
		for more && err == nil {
			_, more, err = br.ReadLine()
		}
		if line = strings.TrimRight(line, " \t\r"); line != "" {
			each(line)
		}
	}
}
