package ipsec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/vici"
)

// A watch tells when files appear in a directory.
type watch struct {
	file *os.File
	news chan struct{}
}

// newWatch watches dir, which is made when it is not there.
func newWatch(dir string) (*watch, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("charon: %w", err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("charon: watch %s: %w", dir, err)
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ATTRIB); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("charon: watch %s: %w", dir, err)
	}
	return &watch{file: os.NewFile(uintptr(fd), dir), news: make(chan struct{}, 1)}, nil
}

// run tells of what happens in the directory until the watch is closed.
func (w *watch) run() {
	var events [4096]byte
	for {
		if _, err := w.file.Read(events[:]); err != nil {
			return
		}
		select {
		case w.news <- struct{}{}:
		default:
		}
	}
}

// How often a socket is tried on which nobody answers, because charon has
// just made it (no event tells of listen(2)), or died.
const (
	tryMin = 10 * time.Millisecond
	tryMax = time.Second
)

// watchCharon listens to charon, whenever there is one, until ctx ends.
func (e *Engine) watchCharon(ctx context.Context, w *watch) {
	done := make(chan struct{})
	go func() { defer close(done); w.run() }()
	defer func() { w.file.Close(); <-done }()
	try := tryMin
	for ctx.Err() == nil {
		charon, err := vici.Dial(ctx, e.socket())
		if err == nil {
			e.notify() // it answers
			heard := e.listen(ctx, charon)
			charon.Close()
			e.notify() // it went
			if heard {
				try = tryMin
			}
		}
		var again <-chan time.Time
		if !errors.Is(err, os.ErrNotExist) {
			again = time.After(try)
			try = min(2*try, tryMax)
		}
		select {
		case <-ctx.Done():
		case <-again:
		case <-w.news:
			try = tryMin
		}
	}
}

// listen takes charon's events until it goes, and reports whether there were
// any.
func (e *Engine) listen(ctx context.Context, charon *vici.Conn) (heard bool) {
	names := []string{"ike-updown", "child-updown"}
	if e.log.Enabled(ctx, slog.LevelDebug) {
		// charon has a line for each connection it is told, and to pass that
		// on costs it more than the connection does.
		names = append(names, "log")
	}
	for event, err := range charon.Events(ctx, names...) {
		if err != nil {
			if ctx.Err() == nil {
				e.log.Warn("charon went", "error", err)
			}
			return heard
		}
		heard = true
		if event.Name != "log" {
			e.notify()
			continue
		}
		group, _ := event.Message.Get("group")
		text, _ := event.Message.Get("msg")
		e.log.Debug("charon", "group", group, "said", text)
	}
	return heard
}
