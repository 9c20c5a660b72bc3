package vici

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// The types of a message's elements [VICI, "Message format"].
const (
	sectionStart = iota + 1
	sectionEnd
	keyValue
	listStart
	listItem
	listEnd
)

const (
	// maxName and maxValue are the longest name and value an element can
	// have, in bytes: their lengths have 8 and 16 bits.
	maxName  = 255
	maxValue = 65535
	// maxDepth is how deep sections may be nested; charon's messages need 4.
	maxDepth = 16
)

// A Section is a message, or a part of one: values, lists and sections by
// their names, in the order they have on the wire. Its zero value is empty,
// and a nil section can be read like an empty one.
type Section struct{ elements []element }

// An element is one of a section's: a value, a list or a section.
type element struct {
	kind    byte // keyValue, listStart or sectionStart
	name    string
	values  []string
	section *Section
}

// Set adds a value. It returns the section, for the next call.
func (s *Section) Set(name, value string) *Section {
	return s.add(element{kind: keyValue, name: name, values: []string{value}})
}

// List adds a list.
func (s *Section) List(name string, values ...string) *Section {
	return s.add(element{kind: listStart, name: name, values: values})
}

// Add adds a section.
func (s *Section) Add(name string, section *Section) *Section {
	return s.add(element{kind: sectionStart, name: name, section: section})
}

func (s *Section) add(e element) *Section {
	s.elements = append(s.elements, e)
	return s
}

// Clone is a section to which more can be added without changing s.
func (s *Section) Clone() *Section {
	const more = 2
	return &Section{append(make([]element, 0, len(s.elements)+more), s.elements...)}
}

// find is the first element of a kind by its name, or nil.
func (s *Section) find(kind byte, name string) *element {
	if s == nil {
		return nil
	}
	for i := range s.elements {
		if s.elements[i].kind == kind && s.elements[i].name == name {
			return &s.elements[i]
		}
	}
	return nil
}

// Get returns a value, and whether there is one.
func (s *Section) Get(name string) (string, bool) {
	if e := s.find(keyValue, name); e != nil {
		return e.values[0], true
	}
	return "", false
}

// Values returns what a list holds; nothing when there is no such list.
func (s *Section) Values(name string) []string {
	if e := s.find(listStart, name); e != nil {
		return e.values
	}
	return nil
}

// Section returns a section in this one; nil when there is none.
func (s *Section) Section(name string) *Section {
	if e := s.find(sectionStart, name); e != nil {
		return e.section
	}
	return nil
}

// Sections yields the sections in this one by their names.
func (s *Section) Sections() iter.Seq2[string, *Section] {
	return func(yield func(string, *Section) bool) {
		if s == nil {
			return
		}
		for _, e := range s.elements {
			if e.kind == sectionStart && !yield(e.name, e.section) {
				return
			}
		}
	}
}

// appendTo appends the section to b as it is on the wire.
func (s *Section) appendTo(b []byte, depth int) (_ []byte, err error) {
	if s == nil {
		return b, nil
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("sections nested deeper than %d", maxDepth)
	}
	for _, e := range s.elements {
		if len(e.name) > maxName {
			return nil, fmt.Errorf("name of %d bytes; VICI takes %d", len(e.name), maxName)
		}
		b = append(b, e.kind, byte(len(e.name)))
		b = append(b, e.name...)
		switch e.kind {
		case sectionStart:
			if b, err = e.section.appendTo(b, depth+1); err != nil {
				return nil, fmt.Errorf("%s: %w", e.name, err)
			}
			b = append(b, sectionEnd)
		case listStart:
			for _, v := range e.values {
				if b, err = appendValue(append(b, listItem), v); err != nil {
					return nil, fmt.Errorf("%s: %w", e.name, err)
				}
			}
			b = append(b, listEnd)
		default:
			if b, err = appendValue(b, e.values[0]); err != nil {
				return nil, fmt.Errorf("%s: %w", e.name, err)
			}
		}
	}
	return b, nil
}

func appendValue(b []byte, value string) ([]byte, error) {
	if len(value) > maxValue {
		return nil, fmt.Errorf("value of %d bytes; VICI takes %d", len(value), maxValue)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...), nil
}

// errShort is a message that ends in the middle of something.
var errShort = errors.New("message ends too early")

// Parse reads a message. What is not as VICI has it is an error: lists and
// sections that do not end, items outside of lists, lists in lists.
func Parse(message []byte) (*Section, error) {
	r := bytes.NewBuffer(message)
	s, err := parseSection(r, 0)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// parseSection reads elements up to the end of the section, which for the
// message itself (depth 0) is the end of the data.
func parseSection(r *bytes.Buffer, depth int) (*Section, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("sections nested deeper than %d", maxDepth)
	}
	s := &Section{}
	for r.Len() > 0 {
		kind, _ := r.ReadByte()
		if kind == sectionEnd {
			if depth == 0 {
				return nil, errors.New("a section ends that did not begin")
			}
			return s, nil
		}
		if kind != sectionStart && kind != keyValue && kind != listStart {
			return nil, fmt.Errorf("element of type %d in a section", kind)
		}
		name, err := readName(r)
		if err != nil {
			return nil, err
		}
		e := element{kind: kind, name: name}
		switch kind {
		case sectionStart:
			e.section, err = parseSection(r, depth+1)
		case listStart:
			e.values, err = parseList(r)
		case keyValue:
			var value string
			value, err = readValue(r)
			e.values = []string{value}
		}
		if err != nil {
			return nil, fmt.Errorf("%.40q: %w", name, err)
		}
		s.elements = append(s.elements, e)
	}
	if depth > 0 {
		return nil, errShort
	}
	return s, nil
}

// parseList reads items up to the end of the list.
func parseList(r *bytes.Buffer) ([]string, error) {
	var values []string
	for {
		kind, err := r.ReadByte()
		switch {
		case err != nil:
			return nil, errShort
		case kind == listEnd:
			return values, nil
		case kind != listItem:
			return nil, fmt.Errorf("element of type %d in a list", kind)
		}
		value, err := readValue(r)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
}

// readName reads a name with its length.
func readName(r *bytes.Buffer) (string, error) {
	n, err := r.ReadByte()
	if err != nil || r.Len() < int(n) {
		return "", errShort
	}
	return string(r.Next(int(n))), nil
}

// readValue reads a value with its length.
func readValue(r *bytes.Buffer) (string, error) {
	if r.Len() < 2 {
		return "", errShort
	}
	n := int(binary.BigEndian.Uint16(r.Next(2)))
	if r.Len() < n {
		return "", errShort
	}
	return string(r.Next(n)), nil
}
