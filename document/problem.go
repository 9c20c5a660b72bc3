package document

import (
	"cmp"
	"io"
	"slices"
	"strings"
)

// Level says whether a problem stops the work.
type Level int

// The levels of a problem.
const (
	// Error stops the work.
	Error Level = iota
	// Warning is printed and the work goes on.
	Warning
)

// String returns "error" or "warning".
func (l Level) String() string {
	if l == Warning {
		return "warning"
	}
	return "error"
}

// The rules of form that every file keeps. The packages that own a kind of
// file have their own rules about its values.
const (
	// RuleKey says that every key is known.
	RuleKey = "A1"
	// RuleType says that every value has the type its key asks for.
	RuleType = "A5"
	// RuleText says that a file is short UTF-8 text, indented with spaces.
	RuleText = "A6"
	// RuleSyntax says that a file is YAML.
	RuleSyntax = "A7"
	// RuleDocuments says that a file holds exactly one document.
	RuleDocuments = "A8"
	// RuleDuplicate says that a key stands once in its mapping.
	RuleDuplicate = "A9"
	// RulePlain says that anchors, aliases, merge keys, tags and very deep
	// nesting are not used.
	RulePlain = "A10"
)

// A Problem is one thing wrong with a file.
type Problem struct {
	// File is the name of the file; empty when the value came from none.
	File string
	// Line and Column say where it is, counted from 1, columns in characters;
	// Line is 0 when the problem is the file as a whole.
	Line, Column int
	// Width is how many characters are underlined.
	Width int
	// Level says whether the problem stops the work.
	Level Level
	// Rule is the id of the rule that was broken; may be empty.
	Rule string
	// Message says what is wrong.
	Message string
	// Note stands beside the underline and says something about this place.
	Note string
	// Fix says what to do.
	Fix string
	// Source is the text of the line.
	Source string
}

// WithRule returns the problem with the id of its rule.
func (p Problem) WithRule(id string) Problem { p.Rule = id; return p }

// WithNote returns the problem with a note beside the underline.
func (p Problem) WithNote(note string) Problem { p.Note = note; return p }

// WithFix returns the problem with the way out.
func (p Problem) WithFix(fix string) Problem { p.Fix = fix; return p }

// WithLevel returns the problem with another level.
func (p Problem) WithLevel(level Level) Problem { p.Level = level; return p }

// Position tells where the problem is.
func (p Problem) Position() Position {
	return Position{File: p.File, Line: p.Line, Column: p.Column}
}

// Error returns the problem as [Problems.Write] prints it, without colour.
func (p Problem) Error() string {
	var b strings.Builder
	p.render(&b, plain)
	return strings.TrimSuffix(b.String(), "\n")
}

// Problems are all things wrong with a file, or with several.
type Problems []Problem

// Error returns all problems, one block each, without colour.
func (ps Problems) Error() string {
	var b strings.Builder
	// A strings.Builder never fails.
	_ = ps.Write(&b, false)
	return strings.TrimSuffix(b.String(), "\n")
}

// Write prints all problems, one block each and an empty line between them.
// Excerpts are cut to 80 columns. With colour, which is for terminals and uses
// ANSI sequences, messages are wrapped at 80 columns too; without, each is one
// line. Text from the files is printed without control characters.
func (ps Problems) Write(w io.Writer, color bool) error {
	if color {
		return ps.write(w, coloured)
	}
	return ps.write(w, plain)
}

// WriteWrapped is [Problems.Write] for a terminal whose user wants no colour.
func (ps Problems) WriteWrapped(w io.Writer) error {
	return ps.write(w, palette{wrap: true})
}

// write prints all problems in a style.
func (ps Problems) write(w io.Writer, style palette) error {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		p.render(&b, style)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Errors returns the problems of level [Error] as a [Problems], or nil when
// there is none.
func (ps Problems) Errors() error {
	if errs := ps.only(Error); len(errs) > 0 {
		return errs
	}
	return nil
}

// Warnings returns the problems of level [Warning].
func (ps Problems) Warnings() Problems { return ps.only(Warning) }

// only returns the problems of one level.
func (ps Problems) only(level Level) Problems {
	var found Problems
	for _, p := range ps {
		if p.Level == level {
			found = append(found, p)
		}
	}
	return found
}

// Sort puts the problems in the order of their places: by file, line and
// column. Problems at one place keep their order.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
