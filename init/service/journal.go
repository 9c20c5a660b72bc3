package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Limits of what is kept of the output of a service.
const (
	// journalBytes is the size from which a file is put aside, journalFiles
	// how many a service has with the one that is written to: 4 MiB each.
	journalBytes = 1 << 20
	journalFiles = 4
	// pendingBytes is how much waits in memory for a disk that takes nothing.
	pendingBytes = 256 << 10
	// eagerBytes is how much is not left waiting for the next flush.
	eagerBytes = 64 << 10
)

// FlushEvery is how long lines may stay in memory: cards wear out by being
// written to, and a block is written whole for each line.
const FlushEvery = 5 * time.Minute

// Journals keep the output of services in files NAME.log, whole lines each
// with its time; older ones are NAME.log.1 and so on. Lines are kept in memory
// until Flush.
type Journals struct {
	now  func() time.Time
	full chan struct{} // a journal should not wait any longer

	mu   sync.Mutex
	dir  string // empty as long as there is nowhere to write
	list map[string]*journal
}

// journal is the output of one service. Its writer's lock is apart from the
// lines' one, so that a slow disk holds up no service.
type journal struct {
	mu      sync.Mutex
	pending []byte
	lost    int

	writing sync.Mutex
}

// NewJournals returns journals that are in memory until Open.
func NewJournals(now func() time.Time) *Journals {
	return &Journals{now: now, full: make(chan struct{}, 1), list: make(map[string]*journal)}
}

// Open has the journals written to dir from now on.
func (j *Journals) Open(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("journals: %w", err)
	}
	j.mu.Lock()
	j.dir = dir
	j.mu.Unlock()
	return nil
}

// Full is told when there is so much in memory that Flush should come soon.
func (j *Journals) Full() <-chan struct{} { return j.full }

// Add keeps a line of a service. It never waits for a disk.
func (j *Journals) Add(name, line string) {
	j.mu.Lock()
	one := j.list[name]
	if one == nil {
		one = &journal{}
		j.list[name] = one
	}
	j.mu.Unlock()
	stamp := j.now().UTC().Format("2006-01-02T15:04:05.000Z ")
	one.mu.Lock()
	if len(one.pending)+len(stamp)+len(line)+1 > pendingBytes {
		one.drop()
	}
	one.pending = append(one.pending, stamp...)
	one.pending = append(one.pending, strings.ReplaceAll(line, "\n", " ")...)
	one.pending = append(one.pending, '\n')
	much := len(one.pending) >= eagerBytes
	one.mu.Unlock()
	if much {
		select {
		case j.full <- struct{}{}:
		default:
		}
	}
}

// drop forgets the older half of the lines that wait.
func (o *journal) drop() {
	text := string(o.pending)
	cut := strings.IndexByte(text[len(text)/2:], '\n') + len(text)/2 + 1
	o.lost += strings.Count(text[:cut], "\n")
	o.pending = append(o.pending[:0], text[cut:]...)
}

// Flush writes what is in memory. What cannot be written stays there, within
// its bounds.
func (j *Journals) Flush() error {
	j.mu.Lock()
	dir := j.dir
	list := make(map[string]*journal, len(j.list))
	for name, one := range j.list {
		list[name] = one
	}
	j.mu.Unlock()
	if dir == "" {
		return nil
	}
	var errs []error
	for name, one := range list {
		if err := one.flush(filepath.Join(dir, name+".log")); err != nil {
			errs = append(errs, fmt.Errorf("journal of %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// flush appends what waits to the file at path.
func (o *journal) flush(path string) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	o.mu.Lock()
	lines, lost := o.pending, o.lost
	o.pending, o.lost = nil, 0
	o.mu.Unlock()
	if len(lines) == 0 {
		return nil
	}
	if lost > 0 {
		lines = append(fmt.Appendf(nil, "%d lines lost, they could not be written\n", lost), lines...)
	}
	err := appendLines(path, lines)
	if err == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lost += lost
	if len(lines)+len(o.pending) <= pendingBytes && lost == 0 {
		o.pending = append(lines, o.pending...)
	} else {
		o.lost += strings.Count(string(lines), "\n")
	}
	return err
}

// appendLines adds whole lines to a file, or leaves it as it was. Files that
// have become long are put aside first.
func appendLines(path string, lines []byte) (err error) {
	info, err := os.Stat(path)
	if err == nil && info.Size()+int64(len(lines)) > journalBytes {
		if err := rotate(path); err != nil {
			return err
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err = f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if size > 0 {
		// A power cut may have left half a line.
		var last [1]byte
		if _, err := f.ReadAt(last[:], size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			lines = append([]byte{'\n'}, lines...)
		}
	}
	if _, err := f.Write(lines); err != nil {
		return errors.Join(err, f.Truncate(size))
	}
	return f.Sync()
}

// rotate puts a file aside, and the oldest away.
func rotate(path string) error {
	for n := journalFiles - 1; n > 0; n-- {
		from := path
		if n > 1 {
			from = fmt.Sprintf("%s.%d", path, n-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", path, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
