package rancher

import (
	"bytes"
	"fmt"
)

// Print shows files to people: a heading with path and mode for each, and what
// it holds or where it leads. Equal files give equal bytes.
func Print(files []File) []byte {
	var b bytes.Buffer
	for i, f := range files {
		if i > 0 {
			b.WriteByte('\n')
		}
		switch {
		case f.Link != "":
			fmt.Fprintf(&b, "== %s -> %s\n", f.Path, f.Link)
		case f.From != "":
			fmt.Fprintf(&b, "== %s %04o, a copy of %s\n", f.Path, f.Mode.Perm(), f.From)
		default:
			fmt.Fprintf(&b, "== %s %04o\n%s", f.Path, f.Mode.Perm(), f.Data)
		}
	}
	return b.Bytes()
}
