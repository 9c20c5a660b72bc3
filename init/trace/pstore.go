package trace

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"weft/init/keep"
)

// A Dump is the end of the kernel's log, as it was written when the kernel
// met a fault (Documentation/admin-guide/ramoops.rst; fs/pstore/platform.c).
type Dump struct {
	// Reason is the kernel's word, such as Panic or Oops.
	Reason string
	// Text is the end of the log, oldest line first.
	Text string
}

// maxDump bounds a file of pstore and all of them, in bytes; ramoops and ERST
// have some KiB each.
const (
	maxDump  = 256 << 10
	maxDumps = 1 << 20
)

// part is one file of pstore. Back ends with small records split a dump: part
// 1 is the end of the log.
type part struct {
	reason      string
	count, part int
	text        string
}

// header is the first line of a record: the reason, which dump of the boot it
// is, and which part of it (fs/pstore/platform.c, pstore_dump).
var header = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(\w+)#(\d+) Part(\d+)\r?\n`) })

// ReadPstore reads what the kernel left in the file system mounted at dir,
// and returns the files that it came from, for [Forget].
func ReadPstore(dir string) (dumps []Dump, files []string, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "dmesg-*"))
	if err != nil {
		return nil, nil, fmt.Errorf("pstore: %w", err)
	}
	var (
		parts []part
		errs  []error
		total int
	)
	for _, name := range names {
		files = append(files, name)
		data, err := keep.Read(name, maxDump)
		if err != nil {
			errs = append(errs, fmt.Errorf("pstore: %w", err))
			continue
		}
		if total += len(data); total > maxDumps {
			errs = append(errs, fmt.Errorf("pstore: more than %d bytes; the rest is left out", maxDumps))
			break
		}
		if p, ok := parsePart(string(data)); ok {
			parts = append(parts, p)
		}
	}
	return join(parts), files, errors.Join(errs...)
}

// parsePart reads one record.
func parsePart(text string) (part, bool) {
	m := header().FindStringSubmatch(text)
	if m == nil {
		return part{}, false
	}
	count, err := strconv.Atoi(m[2])
	if err != nil {
		return part{}, false
	}
	number, err := strconv.Atoi(m[3])
	return part{m[1], count, number, text[len(m[0]):]}, err == nil
}

// join puts the parts of dumps together, in the order of the dumps.
func join(parts []part) []Dump {
	slices.SortStableFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.count, b.count), cmp.Compare(a.reason, b.reason), cmp.Compare(b.part, a.part))
	})
	var dumps []Dump
	for i, p := range parts {
		if i == 0 || parts[i-1].count != p.count || parts[i-1].reason != p.reason {
			dumps = append(dumps, Dump{Reason: p.reason})
		}
		d := &dumps[len(dumps)-1]
		if d.Text != "" && !strings.HasSuffix(d.Text, "\n") {
			d.Text += "\n"
		}
		d.Text += plain(p.text)
	}
	return dumps
}

// level is the priority before each line.
var level = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^<\d+>`) })

// plain is a text of the kernel that a terminal does not act on, without
// priorities.
func plain(s string) string {
	s = level().ReplaceAllString(strings.ToValidUTF8(s, "?"), "")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// stamp is the time before a line of the kernel.
var stamp = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\[\s*\d+\.\d+\](\[[^\]]*\])?\s*`) })

// Cause is the line that says why: the panic's own, or else the first that
// tells of a bug, or else the last.
func (d Dump) Cause() string {
	lines := strings.Split(strings.TrimSpace(d.Text), "\n")
	for i := range lines {
		lines[i] = stamp().ReplaceAllString(lines[i], "")
	}
	for _, mark := range []string{"Kernel panic - not syncing: ", "BUG: ", "Oops: "} {
		for _, line := range lines {
			if _, text, ok := strings.Cut(line, mark); ok {
				return cut(text, 300)
			}
		}
	}
	return cut(lines[len(lines)-1], 300)
}

// Forget removes files of pstore, so that the next fault has room.
func Forget(files []string) error {
	var errs []error
	for _, name := range files {
		if err := os.Remove(name); err != nil {
			errs = append(errs, fmt.Errorf("pstore: %w", err))
		}
	}
	return errors.Join(errs...)
}
