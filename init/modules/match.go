package modules

import (
	"slices"
	"strings"
)

// Aliases finds the modules that serve a modalias. Patterns are filed under
// the text before their first wildcard, so a look-up costs one map access for
// each distinct length of such text and touches few patterns: thousands of
// patterns times a hundred devices would otherwise be a visible part of a
// boot on a slow machine.
type Aliases struct {
	byPrefix map[string][]alias
	lengths  []int // of the keys of byPrefix, ascending
	count    int
}

// alias is one line of modules.alias without its literal prefix.
type alias struct {
	rest   string // the pattern from its first wildcard on
	module string
}

// NewAliases returns an empty set.
func NewAliases() *Aliases { return &Aliases{byPrefix: make(map[string][]alias)} }

// Add files a pattern, a glob as in fnmatch(3), for a module.
func (a *Aliases) Add(pattern, module string) {
	n := strings.IndexAny(pattern, `*?[\`)
	if n < 0 {
		n = len(pattern)
	}
	prefix := pattern[:n]
	if _, ok := a.byPrefix[prefix]; !ok {
		if i, found := slices.BinarySearch(a.lengths, n); !found {
			a.lengths = slices.Insert(a.lengths, i, n)
		}
	}
	a.byPrefix[prefix] = append(a.byPrefix[prefix], alias{pattern[n:], module})
	a.count++
}

// Len is the number of patterns.
func (a *Aliases) Len() int { return a.count }

// Match lists the modules whose patterns fit modalias, each once, those with
// the shortest literal prefix first and otherwise in the order they were
// added.
func (a *Aliases) Match(modalias string) []string {
	var found []string
	for _, n := range a.lengths {
		if n > len(modalias) {
			break
		}
		for _, al := range a.byPrefix[modalias[:n]] {
			if glob(al.rest, modalias[n:]) && !slices.Contains(found, al.module) {
				found = append(found, al.module)
			}
		}
	}
	return found
}

// glob reports whether the whole of name fits pattern: * is any text, ? any
// byte, [...] a set with ranges and a leading ! for its opposite, \ quotes.
// It is fnmatch(3) without flags, which is how kmod matches aliases. Time is
// bounded by the product of both lengths: after a mismatch only the last *
// is taken up again.
func glob(pattern, name string) bool {
	p, n := 0, 0
	star, mark := -1, 0 // the last * seen and where in name it was tried
	for n < len(name) || p < len(pattern) {
		if p < len(pattern) {
			switch pattern[p] {
			case '*':
				star, mark = p, n
				p++
				continue
			case '?':
				if n < len(name) {
					p, n = p+1, n+1
					continue
				}
			case '[':
				if n < len(name) {
					if ok, width := set(pattern[p:], name[n]); ok {
						p, n = p+width, n+1
						continue
					}
				}
			default:
				c, width := pattern[p], 1
				if c == '\\' && p+1 < len(pattern) {
					c, width = pattern[p+1], 2
				}
				if n < len(name) && name[n] == c {
					p, n = p+width, n+1
					continue
				}
			}
		}
		if star < 0 || mark >= len(name) {
			return false
		}
		mark++
		p, n = star+1, mark
	}
	return true
}

// set matches c against the bracket expression that pattern starts with and
// returns its width. One that is never closed is a plain "[".
func set(pattern string, c byte) (ok bool, width int) {
	i := 1
	not := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if not {
		i++
	}
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			return ok != not, i + 1
		}
		low := pattern[i]
		if low == '\\' && i+1 < len(pattern) {
			i++
			low = pattern[i]
		}
		high := low
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			high = pattern[i+2]
			i += 2
		}
		if low <= c && c <= high {
			ok = true
		}
		i++
	}
	return c == '[', 1
}
