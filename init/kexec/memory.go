package kexec

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A span of physical memory, its end not included.
type span struct{ start, end uint64 }

// freeMemory lists the spans of RAM in which nothing lies, by the text of
// /proc/iomem: what is below "System RAM" there is the running kernel, its
// initramfs, and what firmware and device tree have reserved. Only the last
// must be left alone, but nothing tells them apart.
func freeMemory(iomem string) ([]span, error) {
	var free []span
	inside := false
	for line := range strings.Lines(iomem) {
		where, what, ok := strings.Cut(strings.TrimRight(line, "\n"), " : ")
		nested := strings.HasPrefix(line, " ")
		if !nested {
			inside = what == "System RAM"
		}
		if !inside {
			continue
		}
		from, to, ok2 := strings.Cut(strings.TrimSpace(where), "-")
		start, err1 := strconv.ParseUint(from, 16, 63)
		last, err2 := strconv.ParseUint(to, 16, 63)
		if !ok || !ok2 || err1 != nil || err2 != nil || last < start {
			return nil, fmt.Errorf("/proc/iomem: the line %q cannot be read", line)
		}
		if !nested {
			free = append(free, span{start, last + 1})
			continue
		}
		free = without(free, span{start, last + 1})
	}
	if len(free) == 0 {
		return nil, errors.New("/proc/iomem tells of no free memory")
	}
	return free, nil
}

// without takes a span out of others.
func without(spans []span, taken span) []span {
	var left []span
	for _, s := range spans {
		if taken.end <= s.start || s.end <= taken.start {
			left = append(left, s)
			continue
		}
		if s.start < taken.start {
			left = append(left, span{s.start, taken.start})
		}
		if taken.end < s.end {
			left = append(left, span{taken.end, s.end})
		}
	}
	return left
}

// place finds the lowest address for size bytes at an alignment.
func place(free []span, size, alignment uint64) (uint64, error) {
	for _, s := range free {
		at := (s.start + alignment - 1) &^ (alignment - 1)
		if at >= s.start && at < s.end && s.end-at >= size {
			return at, nil
		}
	}
	return 0, fmt.Errorf("no %d MiB of memory are free in one piece", (size+1<<20-1)>>20)
}
