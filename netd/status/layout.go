package status

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Style is how text for people is written.
type Style struct {
	// Width is how many columns there are; 80 when 0.
	Width int
	// Colour uses ANSI sequences.
	Colour bool
	// Column is where the texts of fields begin; 10 when 0.
	Column int
}

// The colours of [Style.Field]: what is well, what is wrong, what to do.
const (
	Green  = "32"
	Red    = "31"
	Yellow = "33"

	faint = "2"
	bold  = "1"
)

func (s Style) width() int {
	if s.Width == 0 {
		return 80
	}
	return s.Width
}

// paint gives text a colour.
func (s Style) paint(colour, text string) string {
	if !s.Colour || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// clean is text without control characters: names and reasons hold what
// others wrote into the store, and a terminal obeys some of it.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// A cell is a text of a table, with its colour.
type cell struct{ text, colour string }

func plain(s string) cell { return cell{text: s} }

// grid writes a table with a head. Where it does not fit into the width, each
// row becomes a block: the first cell, and below it the others with their
// heads.
func (s Style) grid(w io.Writer, head []string, rows [][]cell) {
	widths := make([]int, len(head))
	for i, h := range head {
		widths[i] = utf8.RuneCountInString(h)
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(clean(row[i].text)))
		}
	}
	total := -2
	for _, width := range widths {
		total += width + 2
	}
	if total > s.width() {
		s.blocks(w, head, rows)
		return
	}
	var b strings.Builder
	line := func(cells []cell) {
		var l strings.Builder
		pad := 0
		for i, c := range cells {
			text := clean(c.text)
			if text == "" {
				pad += widths[i] + 2
				continue
			}
			fmt.Fprintf(&l, "%*s%s", pad, "", s.paint(c.colour, text))
			pad = widths[i] + 2 - utf8.RuneCountInString(text)
		}
		b.WriteString(l.String())
		b.WriteByte('\n')
	}
	heads := make([]cell, len(head))
	for i, h := range head {
		heads[i] = cell{h, bold}
	}
	line(heads)
	for _, row := range rows {
		line(row)
	}
	io.WriteString(w, b.String())
}

// blocks writes each row as a block of lines, below the first cell, which is
// written once for rows that follow each other.
func (s Style) blocks(w io.Writer, head []string, rows [][]cell) {
	for n, row := range rows {
		if n == 0 || row[0].text != rows[n-1][0].text {
			fmt.Fprintln(w, s.paint(bold, clean(row[0].text)))
		}
		line, indent := "", "  "
		for i, c := range row[1:] {
			if c.text == "" {
				continue
			}
			plainText := strings.ToLower(head[i+1]) + " " + clean(c.text)
			painted := s.paint(faint, strings.ToLower(head[i+1])) + " " + s.paint(c.colour, clean(c.text))
			if line != "" && visible(line)+2+utf8.RuneCountInString(plainText) > s.width() {
				fmt.Fprintln(w, line)
				line = ""
			}
			if line == "" {
				line = indent + painted
			} else {
				line += "  " + painted
			}
		}
		if line != "" {
			fmt.Fprintln(w, line)
		}
	}
}

// visible is how many columns a text takes, without its colours.
func visible(s string) int {
	n, escape := 0, false
	for _, r := range s {
		switch {
		case r == 0x1b:
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n++
		}
	}
	return n
}

// Field writes "name  text", the text broken into lines that fit.
func (s Style) Field(w io.Writer, name, colour, text string) {
	column := s.Column
	if column == 0 {
		column = 10
	}
	room := max(s.width()-column, 20)
	for i, line := range wrap(clean(text), room) {
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(w, "%s%*s%s\n", s.paint(faint, name), max(column-len(name), 1), "", s.paint(colour, line))
	}
}

// Text writes a text, broken into lines that fit.
func (s Style) Text(w io.Writer, text string) {
	for _, line := range wrap(clean(text), s.width()) {
		fmt.Fprintln(w, line)
	}
}

// wrap breaks a text at spaces into lines of at most width; a longer word
// stays whole.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
