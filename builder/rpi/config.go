package rpi

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"strings"
)

const (
	// lineLimit is how much of a line the firmware reads; what is beyond is
	// ignored without a word [config.txt, "File format"].
	lineLimit = 98
	// maxConfig bounds config.txt and each file that it includes, maxIncludes
	// how deep and maxFiles how often they may; no real one comes near.
	maxConfig   = 64 << 10
	maxIncludes = 8
	maxFiles    = 64
)

// A Setting is a line of config.txt that a machine takes.
type Setting struct {
	// Key and Value are its halves; of initramfs, which has no sign between
	// them, too.
	Key, Value string
	// File and Line say where it stands.
	File string
	Line int
}

// Settings are the lines that a machine takes, in the order of the file.
type Settings struct {
	List []Setting
	// Cut are the lines that are longer than the firmware reads.
	Cut []Setting
}

// Value returns the last value of a key, which counts.
func (s Settings) Value(key string) (Setting, bool) {
	for i := len(s.List) - 1; i >= 0; i-- {
		if s.List[i].Key == key {
			return s.List[i], true
		}
	}
	return Setting{}, false
}

// Text returns the last value of a key, def when it is not set.
func (s Settings) Text(key, def string) string {
	if v, ok := s.Value(key); ok {
		return v.Value
	}
	return def
}

// On reports whether a number is set and not 0, def when it is not set.
func (s Settings) On(key string, def bool) bool {
	v, ok := s.Value(key)
	if !ok {
		return def
	}
	return strings.Trim(v.Value, "0") != ""
}

// A reader follows the firmware through config.txt and what it includes.
type reader struct {
	boot    fs.FS
	filters filters
	out     Settings
	files   int
}

// Read reads the config.txt of a boot partition as a machine does. An included
// file that is not there is passed over, as by the firmware.
func Read(boot fs.FS, m Machine) (Settings, error) {
	r := reader{boot: boot, filters: newFilters(m)}
	if err := r.file("config.txt", 0); err != nil {
		return Settings{}, err
	}
	return r.out, nil
}

// file reads one file.
func (r *reader) file(name string, depth int) error {
	if r.files++; r.files > maxFiles || depth > maxIncludes {
		return fmt.Errorf("%s: included too often or too deep; a file that includes itself?", name)
	}
	data, err := readBounded(r.boot, name, maxConfig)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxConfig+1)
	for n := 1; lines.Scan(); n++ {
		if err := r.line(lines.Text(), name, n, depth); err != nil {
			return err
		}
	}
	return lines.Err()
}

// line reads one line.
func (r *reader) line(text, file string, n, depth int) error {
	cut := len(text) > lineLimit && !strings.HasPrefix(strings.TrimSpace(text), "#")
	text = strings.TrimSpace(text[:min(len(text), lineLimit)])
	if text == "" || text[0] == '#' {
		return nil
	}
	if text[0] == '[' {
		r.filters.set(text)
		return nil
	}
	if !r.filters.pass() {
		return nil
	}
	s := Setting{File: file, Line: n}
	// Two lines have no sign between key and value.
	if word, rest, ok := strings.Cut(text, " "); ok && (word == "initramfs" || word == "include") {
		s.Key, s.Value = word, strings.TrimSpace(rest)
	} else {
		key, value, _ := strings.Cut(text, "=")
		s.Key, s.Value = strings.TrimSpace(key), strings.TrimSpace(value)
	}
	if cut {
		r.out.Cut = append(r.out.Cut, s)
	}
	if s.Key == "include" {
		if _, err := fs.Stat(r.boot, clean(s.Value)); err != nil {
			return nil
		}
		return r.file(clean(s.Value), depth+1)
	}
	r.out.List = append(r.out.List, s)
	return nil
}
