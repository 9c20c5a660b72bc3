// Package document reads YAML files that people write, strictly, and says
// what is wrong with them the way a compiler does: file, line and column, the
// line itself with a caret under the fault, the reason and the way out. All
// faults are reported at once.
//
// It knows the form of a file and nothing of its meaning: [Decode] fills a
// struct, and the packages that own the structs check the values with a table
// of [Rule]. It does not write YAML.
//
// The subset of YAML it takes is the one that has no surprises: one document,
// block or flow mappings and lists, plain and quoted scalars. Anchors,
// aliases, merge keys and tags are refused; so is yes for true.
package document

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxSize is the largest file [Decode] reads, in bytes. A list of 5,000 peers
// with addresses, subnets and MACs of both families takes 0.9 MB.
const MaxSize = 1 << 20

// MaxDepth is how deep mappings and lists may be nested. No file of weft
// nests deeper than six.
const MaxDepth = 32

// A Document is a file that was read: it remembers where every value stood.
// Its methods can be called on a nil Document, which stands for values that
// came from no file.
type Document struct {
	file  string
	lines []string
	// root is the top mapping; nil when the file could not be parsed.
	root *yaml.Node
	// faults are the places of values that did not fit their fields.
	faults map[Position]bool
	// lent are the nodes that came from other documents; see [Document.Over].
	lent map[*yaml.Node]*Document
}

// A Position is a place in a file.
type Position struct {
	// File is the name the file was read under.
	File string
	// Line and Column count from 1, columns in characters; both are 0 for a
	// value that no file set.
	Line, Column int
}

// String returns file:line:column, or "default" for a value no file set.
func (p Position) String() string {
	if p.Line == 0 {
		return "default"
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// ReadFile reads a file for [Decode]. It reads at most one byte more than
// [MaxSize], so that a device or an endless pipe costs no memory; Decode then
// refuses the file by its size.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, err // it names the file
	}
	return data, nil
}

// Decode reads data, the content of the file that is called file in messages,
// into the struct that into points to: [Parse] and [Document.Fill] at once.
//
// The Document is never nil. When there are problems, into holds what could
// be read nevertheless, so that a caller can go on and check that too.
func Decode(file string, data []byte, into any) (*Document, Problems) {
	d, found := Parse(file, data)
	if len(found) > 0 {
		return d, found
	}
	return d, d.Fill(into)
}

// Parse reads data, the content of the file that is called file in messages,
// and checks its form. The Document is never nil.
func Parse(file string, data []byte) (*Document, Problems) {
	d := &Document{file: file}
	if len(data) > MaxSize {
		return d, Problems{d.whole(fmt.Sprintf("the file is larger than %d KiB", MaxSize>>10)).
			WithRule(RuleText).WithFix("keep what is needed; no file of weft's gets this large")}
	}
	// Editors on Windows begin a file with a byte order mark; it says nothing
	// in UTF-8, and every column of the first line would be off by one.
	text := strings.TrimPrefix(string(data), "\uFEFF")
	d.lines = splitLines(text)
	if found := d.checkText(text); len(found) > 0 {
		return d, found
	}
	root, found := d.parse(text)
	if len(found) > 0 {
		found.Sort()
		return d, found
	}
	d.root = root
	return d, nil
}

// Fill puts the values of a parsed document into the struct that into points
// to. Fields are found by their yaml tags; fields the document does not name
// keep their values.
func (d *Document) Fill(into any) Problems {
	dec := decoder{doc: d}
	dec.decode(d.root, into)
	dec.problems.Sort()
	d.faults = make(map[Position]bool, len(dec.problems))
	for _, p := range dec.problems {
		d.faults[p.Position()] = true
	}
	return dec.problems
}

// Faulty tells whether [Decode] found a fault at a place, so that what rules
// say about the value there would mislead.
func (d *Document) Faulty(at Position) bool {
	return d != nil && at.Line > 0 && d.faults[at]
}

// parse turns text into nodes and insists on exactly one document.
func (d *Document) parse(text string) (*yaml.Node, Problems) {
	in := yaml.NewDecoder(strings.NewReader(text))
	var first, second yaml.Node
	err := in.Decode(&first)
	if errors.Is(err, io.EOF) || err == nil && isNothing(&first) {
		return nil, Problems{d.whole("the file is empty").WithRule(RuleDocuments).
			WithFix("write what belongs into it, or name another file")}
	}
	if err != nil {
		return nil, Problems{d.syntax(text, err)}
	}
	switch err := in.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, Problems{d.syntax(text, err)}
	default:
		return nil, Problems{d.at(second.Line, second.Column, 3, "a second document begins here").
			WithRule(RuleDocuments).
			WithNote("only the first would be read").
			WithFix("keep one document in a file; remove this \"---\" and what follows")}
	}
	root := first.Content[0]
	if found := d.refuse(root); len(found) > 0 {
		return nil, found
	}
	return root, nil
}

// isNothing tells whether a document holds no value, as one of comments does.
func isNothing(n *yaml.Node) bool {
	if n.Kind != yaml.DocumentNode || len(n.Content) == 0 {
		return true
	}
	return isNull(n.Content[0])
}

// Problem makes an error that points at the value of path, or at the closest
// part of path that the file has. A path is made of keys and list indices,
// such as network.peers[1].subnets[0]; a key that itself holds dots stands in
// brackets: sysctls[net.ipv4.ip_forward].
func (d *Document) Problem(path, message string) Problem {
	key, value, _ := d.find(path)
	if value != nil && value.Kind == yaml.ScalarNode && !isNull(value) {
		return d.atNode(value, message)
	}
	return d.atKey(key, value, message)
}

// KeyProblem is [Document.Problem], but points at the key of path and not at
// its value.
func (d *Document) KeyProblem(path, message string) Problem {
	key, value, _ := d.find(path)
	return d.atKey(key, value, message)
}

// Position tells where the value of path stands; its String is "default" when
// the file does not set it.
func (d *Document) Position(path string) Position {
	_, _, found := d.find(path)
	if !found {
		return Position{}
	}
	p := d.Problem(path, "")
	return Position{File: p.File, Line: p.Line, Column: p.Column}
}

// Has tells whether the file sets path.
func (d *Document) Has(path string) bool {
	_, _, found := d.find(path)
	return found
}

// File returns the name the file was read under.
func (d *Document) File() string {
	if d == nil {
		return ""
	}
	return d.file
}

// atKey points at key, or at the first scalar of value when there is none, as
// in a list.
func (d *Document) atKey(key, value *yaml.Node, message string) Problem {
	if key != nil {
		return d.atNode(key, message)
	}
	if value == nil {
		return d.whole(message)
	}
	n := value
	for len(n.Content) > 0 {
		n = n.Content[0]
	}
	return d.atNode(n, message)
}

// atNode points at a node.
func (d *Document) atNode(n *yaml.Node, message string) Problem {
	if lender := d.lent[n]; lender != nil {
		d = lender
	}
	return d.at(n.Line, n.Column, d.width(n), message)
}

// whole makes an error about the file as a whole.
func (d *Document) whole(message string) Problem {
	return Problem{File: d.File(), Message: message}
}

// at makes an error about width characters of a line.
func (d *Document) at(line, column, width int, message string) Problem {
	p := Problem{File: d.File(), Line: line, Column: max(column, 1), Width: max(width, 1), Message: message}
	if d != nil && line >= 1 && line <= len(d.lines) {
		p.Source = d.lines[line-1]
	}
	return p
}

// width returns how many characters of its first line a scalar takes; 1 for
// every other node.
func (d *Document) width(n *yaml.Node) int {
	if n.Kind != yaml.ScalarNode || n.Line < 1 || n.Line > len(d.lines) {
		return 1
	}
	rest := []rune(d.lines[n.Line-1])
	rest = rest[min(max(n.Column-1, 0), len(rest)):]
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return quotedWidth(rest, '"', '\\')
	case n.Style&yaml.SingleQuotedStyle != 0:
		return quotedWidth(rest, '\'', '\'')
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return 1
	}
	return min(utf8.RuneCountInString(n.Value), len(rest))
}

// quotedWidth returns the length of the quoted text that line starts with,
// quotes included, or of the whole line when the text goes on in the next.
func quotedWidth(line []rune, quote, escape rune) int {
	for i := 1; i < len(line); i++ {
		switch {
		case line[i] == escape && i+1 < len(line) && (escape == '\\' || line[i+1] == quote):
			i++
		case line[i] == quote:
			return i + 1
		}
	}
	return len(line)
}

// Parsed tells whether the file was YAML of the form weft takes, so that its
// values are worth checking.
func (d *Document) Parsed() bool { return d != nil && d.root != nil }
