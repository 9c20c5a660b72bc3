// Package node holds the programs that run on a node: init and netd, compiled
// for every architecture and embedded, so that a user of weft needs no Go
// toolchain.
//
// It does not compile them; make weft does, into the folder bin.
package node

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

// all: keeps the embed pattern valid in a fresh clone, where bin holds only
// its README.
//
//go:embed all:bin
var programs embed.FS

// ErrNotEmbedded says that this weft was compiled without the programs of a
// node.
var ErrNotEmbedded = errors.New("this weft was compiled without the programs of a node: build it with make weft")

// Program returns the executable name (init or netd) for a Debian
// architecture (amd64 or arm64). The error wraps [ErrNotEmbedded] when it is
// not there.
func Program(arch, name string) ([]byte, error) {
	data, err := programs.ReadFile("bin/" + arch + "/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s for %s: %w", name, arch, ErrNotEmbedded)
	}
	return data, err
}
