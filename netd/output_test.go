package main

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"
)

// notices collects what netd tells the service manager.
type notices struct {
	mu    sync.Mutex
	lines []string
}

func listenNotices(t testing.TB, path string) *notices {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	n := &notices{}
	go func() {
		b := make([]byte, 4096)
		for {
			size, err := conn.Read(b)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.lines = append(n.lines, strings.Split(string(b[:size]), "\n")...)
			n.mu.Unlock()
		}
	}()
	return n
}

func (n *notices) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = nil
}

func (n *notices) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string{}, n.lines...)
}

// has reports whether a line that contains text was told.
func (n *notices) has(text string) bool {
	for _, line := range n.all() {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// lockedBuffer is a buffer that a process writes to while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
