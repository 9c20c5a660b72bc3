// Package deb822 reads the control data format of Debian: stanzas of "Name:
// value" fields, parted by empty lines. Packages, InRelease and *.sources
// files have this form; deb822(5) describes it.
//
// It reads stanza by stanza in memory that does not grow with the file, so a
// Packages file of 70,000 stanzas costs little more than reading it. It does
// not write the format.
package deb822

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// MaxStanza bounds one stanza in bytes. The longest in use is that of an
// InRelease file, about 200 KiB.
const MaxStanza = 8 << 20

// MaxFields bounds the fields of one stanza. Debian's have about 30.
const MaxFields = 512

var (
	// ErrSyntax: the text is not of the format.
	ErrSyntax = errors.New("not deb822")
	// ErrTooLarge: a stanza passes a limit.
	ErrTooLarge = errors.New("stanza larger than allowed")
)

// A Reader reads stanzas. After Next has returned true, Get gives the fields
// of the stanza; they are valid until the next call of Next.
type Reader struct {
	in       *bufio.Reader
	comments bool
	line     int
	buf      []byte
	fields   []field
	start    int
	err      error
}

// A field is where its name and value lie in the buffer.
type field struct{ name, nameEnd, value, end int }

// NewReader reads the stanzas of r. Lines that begin with # are skipped if
// comments is set; only files that people write have them.
func NewReader(r io.Reader, comments bool) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 64<<10), comments: comments}
}

// Next moves on to the next stanza. It returns false at the end of the input
// and at an error, which Err tells.
func (r *Reader) Next() bool {
	if r.err != nil {
		return false
	}
	r.buf, r.fields = r.buf[:0], r.fields[:0]
	for {
		line, err := r.readLine()
		if err != nil && err != io.EOF {
			r.err = err
			return false
		}
		if atEnd := err == io.EOF; atEnd && len(line) == 0 {
			r.err = io.EOF
			return len(r.fields) > 0
		}
		switch {
		case len(bytes.TrimSpace(line)) == 0:
			if len(r.fields) > 0 {
				return true
			}
		case r.comments && line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if err := r.continued(line); err != nil {
				r.err = err
				return false
			}
		default:
			if err := r.begin(line); err != nil {
				r.err = err
				return false
			}
		}
	}
}

// readLine reads one line without its end. The line is valid until the next
// call.
func (r *Reader) readLine() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		// Longer than the buffer: collect it, up to the limit.
		long := bytes.Clone(line)
		for err == bufio.ErrBufferFull {
			if len(long) > MaxStanza {
				return nil, fmt.Errorf("line %d: %w", r.line+1, ErrTooLarge)
			}
			line, err = r.in.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	if err != nil && (err != io.EOF || len(line) == 0) {
		return nil, err
	}
	r.line++
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// begin takes a line that starts a field.
func (r *Reader) begin(line []byte) error {
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found || len(name) == 0 || bytes.ContainsAny(name, " \t") {
		return fmt.Errorf("line %d: %w: want \"Name: value\"", r.line, ErrSyntax)
	}
	if len(r.fields) == 0 {
		r.start = r.line
	}
	if len(r.fields) == MaxFields || len(r.buf)+len(line) > MaxStanza {
		return fmt.Errorf("line %d: %w", r.line, ErrTooLarge)
	}
	f := field{name: len(r.buf)}
	r.buf = append(r.buf, name...)
	f.nameEnd, f.value = len(r.buf), len(r.buf)
	r.buf = append(r.buf, bytes.TrimSpace(value)...)
	f.end = len(r.buf)
	r.fields = append(r.fields, f)
	return nil
}

// continued takes a line that goes on with the value of the field before.
func (r *Reader) continued(line []byte) error {
	if len(r.fields) == 0 {
		return fmt.Errorf("line %d: %w: an indented line follows no field", r.line, ErrSyntax)
	}
	if len(r.buf)+len(line) > MaxStanza {
		return fmt.Errorf("line %d: %w", r.line, ErrTooLarge)
	}
	r.buf = append(r.buf, '\n')
	r.buf = append(r.buf, bytes.TrimSpace(line)...)
	r.fields[len(r.fields)-1].end = len(r.buf)
	return nil
}

// Err returns what ended the reading; nil at the end of the input.
func (r *Reader) Err() error {
	if r.err == io.EOF {
		return nil
	}
	return r.err
}

// Line is the number of the stanza's first line, counted from 1.
func (r *Reader) Line() int { return r.start }

// Get returns the value of the field called name, upper and lower case being
// equal; nil if there is none. The lines of a value that goes over several
// are parted by newlines and trimmed. Of two fields of one name it is the
// first; see Repeated.
func (r *Reader) Get(name string) []byte {
	for i := range r.fields {
		f := &r.fields[i]
		if f.nameEnd-f.name == len(name) && equalFold(r.buf[f.name:f.nameEnd], name) {
			return r.buf[f.value:f.end:f.end]
		}
	}
	return nil
}

// Repeated returns the name of a field that the stanza has twice, or "".
func (r *Reader) Repeated() string {
	seen := make(map[string]bool, len(r.fields))
	for _, f := range r.fields {
		name := string(bytes.ToLower(r.buf[f.name:f.nameEnd]))
		if seen[name] {
			return name
		}
		seen[name] = true
	}
	return ""
}

// equalFold reports whether the ASCII texts a and b, of one length, are equal
// but for case.
func equalFold(a []byte, b string) bool {
	for i := range a {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z' {
			return false
		}
	}
	return true
}
