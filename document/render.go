package document

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// columns is the width of a terminal that excerpts are cut to.
const columns = 80

// gutter is the width of what stands before an excerpt: "   14 | ".
const gutter = 8

// A palette holds the ANSI sequences a problem is printed with.
type palette struct {
	place, fault, warning, fix, faint, reset string
	// wrap breaks text between words, for a terminal.
	wrap bool
}

var (
	plain    = palette{}
	coloured = palette{
		place: "\x1b[1m", fault: "\x1b[1;31m", warning: "\x1b[1;33m",
		fix: "\x1b[32m", faint: "\x1b[2m", reset: "\x1b[0m",
		wrap: true,
	}
)

// render prints one block: place and message, excerpt, underline, fix.
//
// For a terminal, text is wrapped between words. Otherwise the message and the
// fix are one line each, however long, so that they can be searched for; only
// the excerpt, which must stay aligned, is cut.
func (p Problem) render(b *strings.Builder, c palette) {
	c.flow(b, c.head(p))
	if p.Line > 0 {
		c.excerpt(b, p)
	} else if p.Note != "" {
		c.flow(b, append([]styled{{"note:", ""}}, words(p.Note)...))
	}
	if p.Fix != "" {
		c.flow(b, append([]styled{{"fix:", c.fix}}, words(p.Fix)...))
	}
}

// A styled word is one with the sequence it is printed in.
type styled struct{ text, style string }

// words takes a text apart for [palette.flow].
func words(text string) []styled {
	var all []styled
	for word := range strings.FieldsSeq(clean(text)) {
		all = append(all, styled{word, ""})
	}
	return all
}

// head is the place, the message and the rule.
func (c palette) head(p Problem) []styled {
	var all []styled
	if p.File != "" {
		place := clean(p.File) + ":"
		if p.Line > 0 {
			place += fmt.Sprintf("%d:%d:", p.Line, p.Column)
		}
		all = append(all, styled{place, c.place})
	}
	if p.Level == Warning {
		all = append(all, styled{"warning:", c.warning})
	}
	all = append(all, words(p.Message)...)
	if p.Rule != "" {
		all = append(all, styled{"  [" + p.Rule + "]", c.faint})
	}
	return all
}

// indent is what a wrapped line begins with.
const indent = "    "

// flow prints words with a space between them, for a terminal in lines that
// fit. A word that does not fit into any line is left to the terminal.
func (c palette) flow(b *strings.Builder, all []styled) {
	used := 0
	for i, w := range all {
		width := Columns(w.text)
		switch {
		case i == 0:
		case c.wrap && used+1+width > columns && used > len(indent):
			b.WriteString("\n" + indent)
			used = len(indent)
			w.text = strings.TrimLeft(w.text, " ")
			width = Columns(w.text)
		default:
			b.WriteByte(' ')
			used++
		}
		if w.style != "" {
			b.WriteString(w.style + w.text + c.reset)
		} else {
			b.WriteString(w.text)
		}
		used += width
	}
	b.WriteByte('\n')
}

// excerpt prints the line with its number and a bar, and below it the
// underline with the note.
func (c palette) excerpt(b *strings.Builder, p Problem) {
	text, start, width := window([]rune(clean(p.Source)), p.Column-1, p.Width)
	if text == "" {
		// A value of another file, or an empty line: nothing to underline.
		if p.Note != "" {
			fmt.Fprintf(b, "      | %s\n", clean(p.Note))
		}
		return
	}
	fmt.Fprintf(b, "%s%5d |%s %s\n", c.faint, p.Line, c.reset, text)
	caret := c.fault
	if p.Level == Warning {
		caret = c.warning
	}
	fmt.Fprintf(b, "%s      |%s %s%s%s%s", c.faint, c.reset,
		strings.Repeat(" ", start), caret, strings.Repeat("^", width), c.reset)
	note := clean(p.Note)
	switch {
	case note == "":
		b.WriteByte('\n')
	case gutter+start+width+1+Columns(note) <= columns:
		fmt.Fprintf(b, " %s\n", note)
	default:
		if c.wrap {
			note = Wrap(note, columns-gutter)
		}
		for line := range strings.SplitSeq(note, "\n") {
			fmt.Fprintf(b, "\n%s      |%s %s", c.faint, c.reset, line)
		}
		b.WriteByte('\n')
	}
}

// window cuts a line to what fits beside the gutter, with the underlined part
// in view, and returns the cut line and from which column how many to
// underline. start and width count characters.
func window(line []rune, start, width int) (text string, from, columnsWide int) {
	const room = columns - gutter
	start = min(max(start, 0), len(line))
	end := min(start+max(width, 1), len(line))
	first, last := 0, len(line)
	if Columns(string(line)) > room {
		first, last = cut(line, start, room)
	}
	before := Columns(string(line[first:start]))
	under := Columns(string(line[start:min(end, last)]))
	shown := append([]rune(nil), line[first:last]...)
	// What takes a column at each cut end goes to the ellipsis; a wide
	// character leaves a space beside it, and marks go with theirs.
	head, tail := "", ""
	if first > 0 {
		n := 1
		for n < len(shown) && runeColumns(shown[n]) == 0 {
			n++
		}
		head = ellipsis(shown[:n])
		shown = shown[n:]
	}
	if last < len(line) && len(shown) > 0 {
		n := len(shown) - 1
		for n > 0 && runeColumns(shown[n]) == 0 {
			n--
		}
		tail = reverse(ellipsis(shown[n:]))
		shown = shown[:n]
	}
	return head + string(shown) + tail, before, min(max(under, 1), max(room-before, 1))
}

// ellipsis takes the place of some characters, in as many columns.
func ellipsis(of []rune) string {
	return "…" + strings.Repeat(" ", max(Columns(string(of))-1, 0))
}

// reverse turns a text round.
func reverse(s string) string {
	all := []rune(s)
	slices.Reverse(all)
	return string(all)
}

// cut chooses the part of a long line that is shown: a third of the room
// before the fault, where there is as much, and no room left unused.
func cut(line []rune, start, room int) (first, last int) {
	first = start
	for used := 0; first > 0 && used < room/3; first-- {
		used += runeColumns(line[first-1])
	}
	used := 0
	for last = first; last < len(line) && used+runeColumns(line[last]) <= room; last++ {
		used += runeColumns(line[last])
	}
	for last == len(line) && first > 0 && used+runeColumns(line[first-1]) <= room {
		first--
		used += runeColumns(line[first])
	}
	return first, last
}

// clean replaces what a terminal would act on or not show: files and their
// names may be hostile, and a tab would shift the underline.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
