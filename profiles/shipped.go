package profiles

import (
	"embed"

	"weft/document"
)

// shipped holds the profiles that come with weft. Only Names and Find refer
// to it, so the linker leaves it out of init and netd.
//
//go:embed *.yaml
var shipped embed.FS

// shelf is how they are found.
func shelf() document.Shelf[Profile] {
	return document.Shelf[Profile]{Kind: "profile", Dir: "profiles", Files: shipped, Read: Read}
}

// Names lists the profiles that come with weft, sorted.
func Names() []string { return shelf().Names() }

// Find reads a profile: a shipped one by its name, or a file by its path; see
// [document.Shelf.Find].
func Find(nameOrPath string) (Profile, *document.Document, document.Problems, error) {
	return shelf().Find(nameOrPath)
}
