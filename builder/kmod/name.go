package kmod

import (
	"path"
	"strings"
)

// suffixes are the endings of module files, as the kernel's build names them
// (scripts/Makefile.modinst).
var suffixes = []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"}

// normalise returns a module's name as the kernel shows it in /proc/modules:
// with underscores. File names, depends= and people use either.
func normalise(name string) string {
	return strings.ReplaceAll(name, "-", "_")
}

// splitSuffix splits a module's path into stem and suffix; the suffix is ""
// when the file is no module.
func splitSuffix(file string) (stem, suffix string) {
	for _, s := range suffixes {
		if stem, ok := strings.CutSuffix(file, s); ok && path.Base(stem) != "." && !strings.HasSuffix(stem, "/") {
			return stem, s
		}
	}
	return file, ""
}

// moduleName returns the name of the module in file, and false when the file
// is no module.
func moduleName(file string) (string, bool) {
	stem, suffix := splitSuffix(file)
	if suffix == "" || stem == "" {
		return "", false
	}
	return normalise(path.Base(stem)), true
}
