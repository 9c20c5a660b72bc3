package boards

import (
	"embed"

	"weft/document"
)

// shipped holds the boards that come with weft.
//
//go:embed *.yaml
var shipped embed.FS

// shelf is how they are found.
func shelf() document.Shelf[Board] {
	return document.Shelf[Board]{Kind: "board", Dir: "boards", Files: shipped, Read: Read}
}

// Names lists the boards that come with weft, sorted.
func Names() []string { return shelf().Names() }

// Find reads a board: a shipped one by its name, or a file by its path; see
// [document.Shelf.Find].
func Find(nameOrPath string) (Board, *document.Document, document.Problems, error) {
	return shelf().Find(nameOrPath)
}
