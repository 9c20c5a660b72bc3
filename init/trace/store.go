package trace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"weft/init/keep"
)

// Bounds of what a Store keeps: the newest traces, the end of each.
const (
	maxTraces = 16
	maxTrace  = 64 << 10 // bytes
)

// A Store keeps traces as files in a folder.
type Store struct {
	dir string
	now func() time.Time
	mu  sync.Mutex
}

// NewStore returns the store in dir, which is made when it is first needed.
func NewStore(dir string, now func() time.Time) *Store { return &Store{dir: dir, now: now} }

// name is a trace's file: a growing number and what it is about.
var name = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(\d{6})-([a-z0-9.-]+)\.txt$`) })

// Add keeps a trace and returns its path. About is in the file's name, such
// as panic or oom-web; title its first line. Of a long text the end is kept:
// whoever dies says why at last.
func (s *Store) Add(about, title, text string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return "", fmt.Errorf("trace: %w", err)
	}
	list, err := s.list()
	if err != nil {
		return "", err
	}
	next := 1
	if len(list) > 0 {
		next = number(list[len(list)-1]) + 1
	}
	if next > 999999 { // after that many, an end of order is no loss
		next = 1
	}
	for len(list) >= maxTraces {
		if err := os.Remove(filepath.Join(s.dir, list[0])); err != nil {
			return "", fmt.Errorf("trace: %w", err)
		}
		list = list[1:]
	}
	path := filepath.Join(s.dir, fmt.Sprintf("%06d-%s.txt", next, fileWord(about)))
	head := cut(title, maxWhy) + "\n" + s.now().UTC().Format(time.RFC3339) + "\n\n"
	if over := len(head) + len(text) - maxTrace; over > 0 {
		text = "...\n" + text[over+4:]
		if i := strings.IndexByte(text[4:], '\n'); i >= 0 {
			text = text[:4] + text[4+i+1:] // begin with a whole line
		}
	}
	return path, keep.Write(path, []byte(head+strings.TrimRight(text, "\n")+"\n"), 0o600)
}

// List returns the paths of all traces, oldest first.
func (s *Store) List() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.list()
	for i := range list {
		list[i] = filepath.Join(s.dir, list[i])
	}
	return list, err
}

func (s *Store) list() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("trace: %w", err)
	}
	var list []string
	for _, e := range entries {
		if name().MatchString(e.Name()) {
			list = append(list, e.Name())
		}
	}
	slices.Sort(list)
	return list, nil
}

// number is the number of a trace's file.
func number(file string) int {
	n, err := strconv.Atoi(file[:6])
	if err != nil {
		return 0 // six digits; see name
	}
	return n
}

// fileWord turns a text into part of a file's name.
func fileWord(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, s)
	if s == "" {
		return "trace"
	}
	return s[:min(len(s), 60)]
}
