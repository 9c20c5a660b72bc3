package document

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// splitLines cuts text at the line breaks of YAML 1.1, section 5.4, which the
// YAML library counts lines by: CR LF, LF, CR, NEL, LS and PS.
func splitLines(text string) []string {
	var lines []string
	start := 0
	for i, r := range text {
		switch r {
		case '\n':
			if i > start || i == 0 || text[i-1] != '\r' {
				lines = append(lines, text[start:i])
			}
		case '\r', '\u0085', '\u2028', '\u2029':
			lines = append(lines, text[start:i])
		default:
			continue
		}
		start = i + utf8.RuneLen(r)
	}
	return append(lines, text[start:])
}

// checkText refuses what is not plain UTF-8 text, and tabs in indentation.
func (d *Document) checkText(text string) Problems {
	if line, column, what := firstBadRune(text); what != "" {
		p := d.at(line, column, 1, what).WithRule(RuleText)
		return Problems{p.WithFix("remove it; the file must be UTF-8 text")}
	}
	var first Problem
	tabs := 0
	for i, line := range d.lines {
		content := strings.TrimLeft(line, " \t")
		indent := line[:len(line)-len(content)]
		tab := strings.IndexByte(indent, '\t')
		if tab < 0 || content == "" || content[0] == '#' {
			continue
		}
		if tabs++; tabs == 1 {
			first = d.at(i+1, tab+1, len(indent)-tab, "a tab in the indentation").WithRule(RuleText)
		}
	}
	if tabs == 0 {
		return nil
	}
	if tabs > 1 {
		first.Note = fmt.Sprintf("and in %d more below", tabs-1)
	}
	return Problems{first.WithFix("indent with spaces; YAML does not allow tabs here")}
}

// firstBadRune finds the first invalid byte or character that YAML 1.1,
// section 5.1, does not allow in a file; what is empty when there is none.
func firstBadRune(text string) (line, column int, what string) {
	line, column = 1, 1
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			return line, column, fmt.Sprintf("byte 0x%02x is not UTF-8", text[i])
		case r == '\n':
			if i == 0 || text[i-1] != '\r' {
				line++
			}
			column = 1
			continue
		case r == '\r', r == '\u0085', r == '\u2028', r == '\u2029':
			line, column = line+1, 1
			continue
		case r < ' ' && r != '\t', r >= 0x7f && r < 0xa0, r == 0xfeff, r == 0xfffe, r == 0xffff:
			return line, column, fmt.Sprintf("the control character U+%04X", r)
		}
		column++
	}
	return 0, 0, ""
}
