package boards

import (
	"weft/document"
)

// Read reads a board file and checks it. file is the name it has in messages.
//
// The Board is sound only when the Problems hold no error.
func Read(file string, data []byte) (Board, *document.Document, document.Problems) {
	var b Board
	d, problems := document.Decode(file, data, &b)
	if !d.Parsed() {
		return b, d, problems
	}
	problems = append(problems, document.Apply(rules, b, d)...)
	problems.Sort()
	return b, d, problems
}
