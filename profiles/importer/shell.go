package importer

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"weft/document"
)

// A char is a byte of a word with its offset in the file, so that words inside
// a quoted word have their place too.
type char struct {
	b  byte
	at int
}

// A word is one word of a command line, without its quotes.
type word struct {
	chars []char
	// end is the offset behind it, and op says that it is an operator.
	start, end int
	op         bool
	// made says that a shell would put something into it.
	made bool
}

// text is the word as a program gets it.
func (w word) text() string {
	b := make([]byte, len(w.chars))
	for i, c := range w.chars {
		b[i] = c.b
	}
	return string(b)
}

// from is the rest of a word behind its first n bytes.
func (w word) from(n int) word {
	w.chars = w.chars[n:]
	if len(w.chars) > 0 {
		w.start = w.chars[0].at
	}
	return w
}

// A lexer takes the text of a shell script apart (POSIX shell, section 2.2
// and 2.3: quoting and words). It expands nothing.
type lexer struct {
	in    []char
	at    int
	words []word
	word  word
	open  bool
}

// charsOf are the bytes of a file.
func charsOf(text string) []char {
	all := make([]char, len(text))
	for i := range len(text) {
		all[i] = char{text[i], i}
	}
	return all
}

// lexError is a fault at an offset.
type lexError struct {
	at           int
	message, fix string
}

func (e *lexError) Error() string { return e.message }

// split takes text apart into words and operators. Line ends are operators,
// comments are left out.
func split(in []char) ([]word, *lexError) {
	l := &lexer{in: in}
	for l.at < len(l.in) {
		if err := l.step(); err != nil {
			return nil, err
		}
		if len(l.words) > maxWords {
			return nil, &lexError{l.in[l.at-1].at, fmt.Sprintf("more than %d words", maxWords), "give the installing command alone"}
		}
	}
	l.close()
	return l.words, nil
}

// step handles one character.
func (l *lexer) step() *lexError {
	c := l.in[l.at]
	switch c.b {
	case ' ', '\t', '\r':
		l.close()
	case '#':
		if l.open {
			l.take(c)
			break
		}
		for l.at+1 < len(l.in) && l.in[l.at+1].b != '\n' {
			l.at++
		}
	case '\'':
		return l.single()
	case '"':
		return l.double()
	case '\\':
		l.escape()
	case '\n', '|', '&', ';', '(', ')', '<', '>':
		l.close()
		l.words = append(l.words, word{chars: []char{c}, start: c.at, end: c.at + 1, op: true})
		if c.b == '<' && l.at+1 < len(l.in) && l.in[l.at+1].b == '<' {
			return &lexError{c.at, "the text after << is not read", "put it into a file, and give that"}
		}
	default:
		if c.b == '$' || c.b == '`' {
			l.begin(c)
			l.word.made = true
		}
		l.take(c)
	}
	l.at++
	return nil
}

// begin opens a word.
func (l *lexer) begin(c char) {
	if !l.open {
		l.open, l.word = true, word{start: c.at}
	}
	l.word.end = c.at + 1
}

// take adds a character to the word.
func (l *lexer) take(c char) {
	l.begin(c)
	l.word.chars = append(l.word.chars, c)
}

// close ends the word.
func (l *lexer) close() {
	if l.open {
		l.words = append(l.words, l.word)
		l.open = false
	}
}

// escape handles a backslash outside of quotes: one before a line end is
// nothing at all.
func (l *lexer) escape() {
	l.at++
	for l.at < len(l.in) && l.in[l.at].b == '\r' {
		l.at++
	}
	if l.at < len(l.in) && l.in[l.at].b != '\n' {
		l.take(l.in[l.at])
	}
	l.at++
}

// single handles text in single quotes.
func (l *lexer) single() *lexError {
	open := l.in[l.at]
	l.begin(open)
	for l.at++; l.at < len(l.in); l.at++ {
		c := l.in[l.at]
		if c.b == '\'' {
			l.word.end = c.at + 1
			l.at++
			return nil
		}
		l.take(c)
	}
	return unclosed(open)
}

// double handles text in double quotes.
func (l *lexer) double() *lexError {
	open := l.in[l.at]
	l.begin(open)
	for l.at++; l.at < len(l.in); l.at++ {
		c := l.in[l.at]
		switch {
		case c.b == '"':
			l.word.end = c.at + 1
			l.at++
			return nil
		case c.b == '\\' && l.at+1 < len(l.in) && strings.IndexByte("\"\\$`\n", l.in[l.at+1].b) >= 0:
			l.at++
			if l.in[l.at].b != '\n' {
				l.take(l.in[l.at])
			}
		default:
			if c.b == '$' || c.b == '`' {
				l.word.made = true
			}
			l.take(c)
		}
	}
	return unclosed(open)
}

func unclosed(open char) *lexError {
	return &lexError{open.at, "the quoted text that begins here never ends", "close the quote"}
}

// A text is a file with the offsets of its lines.
type text struct {
	name, all string
	lines     []int
}

// newText finds the lines of a file.
func newText(name, all string) *text {
	t := &text{name: name, all: all, lines: []int{0}}
	for i := range len(all) {
		if all[i] == '\n' {
			t.lines = append(t.lines, i+1)
		}
	}
	return t
}

// place is a problem without words that points at a part of the file.
func (t *text) place(start, end int) document.Problem {
	low, high := 0, len(t.lines)
	for low+1 < high {
		if mid := (low + high) / 2; t.lines[mid] <= start {
			low = mid
		} else {
			high = mid
		}
	}
	line := t.all[t.lines[low]:]
	if i := strings.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	line = strings.TrimSuffix(line, "\r")
	before := min(start-t.lines[low], len(line))
	width := min(max(end-start, 1), len(line)-before)
	return document.Problem{
		File: t.name, Line: low + 1, Column: 1 + utf8.RuneCountInString(line[:before]),
		Width: max(utf8.RuneCountInString(line[before:before+max(width, 0)]), 1), Source: line,
	}
}

// of is the place of a word.
func (t *text) of(w word) document.Problem { return t.place(w.start, w.end) }
