package document

import (
	"fmt"
	"strings"
	"unicode"
)

// columns is the width of a terminal that excerpts are cut to.
const columns = 80

// gutter is the width of what stands before an excerpt: "   14 | ".
const gutter = 8

// A palette holds the ANSI sequences a problem is printed with.
type palette struct{ place, fault, warning, fix, faint, reset string }

var (
	plain    = palette{}
	coloured = palette{
		place: "\x1b[1m", fault: "\x1b[1;31m", warning: "\x1b[1;33m",
		fix: "\x1b[32m", faint: "\x1b[2m", reset: "\x1b[0m",
	}
)

// render prints one block: place and message, excerpt, underline, fix.
//
// The message and the fix are one line each, however long, so that they can
// be searched for; only the excerpt, which must stay aligned, is cut.
func (p Problem) render(b *strings.Builder, c palette) {
	c.head(b, p)
	if p.Line > 0 {
		c.excerpt(b, p)
	} else if p.Note != "" {
		fmt.Fprintf(b, "note: %s\n", clean(p.Note))
	}
	if p.Fix != "" {
		fmt.Fprintf(b, "%sfix:%s %s\n", c.fix, c.reset, clean(p.Fix))
	}
}

// head prints the place, the message and the rule.
func (c palette) head(b *strings.Builder, p Problem) {
	b.WriteString(c.place)
	if p.File != "" {
		b.WriteString(clean(p.File) + ":")
		if p.Line > 0 {
			fmt.Fprintf(b, "%d:%d:", p.Line, p.Column)
		}
		b.WriteByte(' ')
	}
	b.WriteString(c.reset)
	if p.Level == Warning {
		b.WriteString(c.warning + "warning:" + c.reset + " ")
	}
	b.WriteString(clean(p.Message))
	if p.Rule != "" {
		fmt.Fprintf(b, "   %s[%s]%s", c.faint, p.Rule, c.reset)
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
	case gutter+start+width+1+len([]rune(note)) <= columns:
		fmt.Fprintf(b, " %s\n", note)
	default:
		fmt.Fprintf(b, "\n%s      |%s %s\n", c.faint, c.reset, note)
	}
}

// window cuts a line to what fits beside the gutter, with the underlined part
// in view, and returns the cut line and where in it to underline how much.
func window(line []rune, start, width int) (string, int, int) {
	const room = columns - gutter
	start = min(max(start, 0), len(line))
	width = max(width, 1)
	if len(line) <= room {
		return string(line), start, min(width, room-min(start, room-1))
	}
	// Show the fault with a third of the room before it, where there is as
	// much; one character at each cut end goes to the ellipsis.
	from := max(0, start-room/3)
	from = min(from, len(line)-room)
	to := from + room
	cut := append([]rune(nil), line[from:to]...)
	if from > 0 {
		cut[0] = '…'
	}
	if to < len(line) {
		cut[len(cut)-1] = '…'
	}
	start -= from
	return string(cut), start, min(width, max(room-start, 1))
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
