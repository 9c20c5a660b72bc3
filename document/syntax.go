package document

import (
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// yamlError takes the library's message apart: the line, which it leaves out
// for the first one, and the text.
var yamlError = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`) })

// maxBisected is the largest file, in bytes, in which the column of a syntax
// error is searched for: the search parses the file some twenty times.
const maxBisected = 64 << 10

// A plainerMessage says one of the library's in words a person can act on.
type plainerMessage struct {
	message, fix string
	// start puts the caret at the beginning of the line: the parser notices
	// only at its colon.
	start bool
}

var plainer = map[string]plainerMessage{
	"mapping values are not allowed in this context": {
		`": " is not allowed here`,
		"quote the value if the colon is part of it, or check the indentation of this line", false},
	"could not find expected ':'": {
		"this is no \"key: value\"",
		"write a colon and a space after the key, or indent the line below its key", false},
	"did not find expected key": {
		"the indentation does not match the lines above",
		"give keys of one mapping the same indentation", true},
	"did not find expected '-' indicator": {
		"this is no element of the list above",
		"begin it with \"- \", or give it the indentation of its mapping", true},
	"block sequence entries are not allowed in this context": {
		"a list may not begin here",
		"put \"- \" on a line of its own below the key", false},
	"found unexpected end of stream": {
		"the quoted text that begins here never ends",
		"close the quote", false},
	"did not find expected ',' or ']'": {
		"a list in brackets is not closed, or lacks a comma",
		"add ] or a comma at this place", false},
	"did not find expected ',' or '}'": {
		"a mapping in braces is not closed, or lacks a comma",
		"add } or a comma at this place", false},
	"found character that cannot start any token": {
		"a value may not begin with this character",
		"put the value in quotes", false},
	"did not find expected alphabetic or numeric character": {
		"* and & begin an alias or an anchor, and those are not used here",
		"put the value in quotes", false},
	"did not find expected node content": {
		"a value is missing here",
		"write the value, or remove the comma before it", false},
}

// syntax turns an error of the YAML library into a problem with a place.
func (d *Document) syntax(text string, err error) Problem {
	line, what := messageOf(err)
	line, column := d.locate(text, line, what)
	message, fix := what, "check quotes, brackets and indentation at this place"
	if p, ok := plainer[what]; ok {
		message, fix = p.message, p.fix
		if p.start {
			column = d.firstColumn(line)
		}
	}
	return d.at(line, column, 1, message).WithRule(RuleSyntax).WithFix(fix)
}

// messageOf returns the line, 1 when unknown, and the text of a library error.
func messageOf(err error) (line int, what string) {
	m := yamlError().FindStringSubmatch(err.Error())
	if m == nil {
		return 1, err.Error()
	}
	if line, err = strconv.Atoi(m[1]); err != nil {
		line = 1
	}
	return line, m[2]
}

// locate finds where the parser stumbled. The library tells the line only,
// and sometimes the one where the enclosing value began. So it looks for the
// shortest beginning of the file that already gives the same message: its
// last character is the one.
func (d *Document) locate(text string, line int, what string) (int, int) {
	line = min(max(line, 1), len(d.lines))
	fallback := d.firstColumn(line)
	if len(text) > maxBisected {
		return line, fallback
	}
	fails := func(end int) bool {
		_, found := messageOf(firstError(text[:end]))
		return found == what
	}
	good, bad := d.offset(text, max(line-1, 1)), len(text)
	if fails(good) || !fails(bad) {
		return line, fallback
	}
	for good+1 < bad {
		if mid := (good + bad) / 2; fails(mid) {
			bad = mid
		} else {
			good = mid
		}
	}
	return d.place(text, bad)
}

// firstColumn returns the column of the first character of a line that is not
// a space.
func (d *Document) firstColumn(line int) int {
	text := d.lines[line-1]
	return 1 + len(text) - len(strings.TrimLeft(text, " "))
}

// firstError returns the first syntax error in a stream of documents.
func firstError(text string) error {
	in := yaml.NewDecoder(strings.NewReader(text))
	for {
		var n yaml.Node
		if err := in.Decode(&n); err != nil {
			if errors.Is(err, io.EOF) {
				return errNone
			}
			return err
		}
	}
}

// errNone stands for a text without syntax errors.
var errNone = errors.New("none")

// offset returns where a line begins in text.
func (d *Document) offset(text string, line int) int {
	at := 0
	for _, l := range d.lines[:line-1] {
		at += len(l)
		if strings.HasPrefix(text[at:], "\r\n") {
			at += 2
			continue
		}
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

// place returns the line and the column of the last character of text[:end]
// that a person can see.
func (d *Document) place(text string, end int) (line, column int) {
	lines := splitLines(strings.TrimRight(text[:end], " \r\n"))
	last := lines[len(lines)-1]
	return len(lines), max(utf8.RuneCountInString(last), 1)
}
