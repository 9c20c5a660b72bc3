package debfs

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"weft/builder/apt/deb"
)

// maxLinks is how many symbolic links one path may lead through, as in Linux
// (MAXSYMLINKS, include/linux/namei.h).
const maxLinks = 40

var (
	errLinks  = errors.New("too many levels of symbolic links")
	errNoFile = errors.New("is a directory")
	errNoDir  = errors.New("not a directory")
)

// resolve returns the path that name leads to once all symbolic links before
// its last element, and that one too if follow is set, are followed. lookup
// tells what lies at a path that has no links before its last element. ".."
// stops at the root, and so does a link that leads above it.
func resolve(name string, follow bool, lookup func(string) (fs.FileMode, string, bool)) (string, error) {
	at, rest, links := ".", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		mode, target, ok := lookup(next)
		if !ok {
			// In a merged /usr, lib is usr/lib whether or not a package says so.
			next = deb.MergedUsr(next)
			mode, target, ok = lookup(next)
		}
		switch {
		case !ok:
			return "", fs.ErrNotExist
		case mode&fs.ModeSymlink != 0 && (follow || len(rest) > 0):
			if links++; links > maxLinks {
				return "", errLinks
			}
			if strings.HasPrefix(target, "/") {
				at = "."
			}
			rest = append(strings.Split(target, "/"), rest...)
			continue
		case !mode.IsDir() && len(rest) > 0:
			return "", fs.ErrNotExist
		}
		at = next
	}
	return at, nil
}
