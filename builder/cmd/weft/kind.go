package main

import (
	"slices"
	"strings"

	"weft/document"
)

// kinds are the kinds of files that a weft key can name, as people call them.
func kinds() map[string]string {
	return map[string]string{
		"board":        "a board",
		"cluster":      "a cluster file",
		"cluster-lock": "the lock of a cluster",
		"lock":         "a lock",
		"netd":         "a configuration of netd",
		"node":         "a node file",
		"profile":      "a profile",
		"secrets":      "a file of secrets",
	}
}

// ofKind refuses a file that says it is of another kind than is wanted.
// Reading it as that would find fault with nearly every key, which hides that
// only the wrong file was named. What cannot be read is left to the reader.
func ofKind(name, want string) error {
	data, err := document.ReadFile(name)
	if err != nil {
		return nil
	}
	have := saidKind(data)
	if _, known := kinds()[have]; !known || have == want {
		return nil
	}
	fix := "name " + kinds()[want] + ", which says weft: " + want + "/v1"
	switch {
	case want == "cluster" && slices.Contains([]string{"board", "profile"}, have):
		fix = "name the cluster file; an image of this alone: weft build --" + have + " " + asPath(name)
	case have == "cluster":
		fix += "; the image of a cluster: weft build " + name
	}
	return document.Problems{{File: name, Message: "this is " + kinds()[have] + ", not " + kinds()[want], Fix: fix}}
}

// asPath writes the path of a file so that it cannot be taken for a shipped name.
func asPath(name string) string {
	if strings.Contains(name, "/") || strings.HasSuffix(name, ".yaml") {
		return name
	}
	return "./" + name
}

// saidKind is the part of the weft key before its slash; empty without one.
func saidKind(data []byte) string {
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "weft:"); ok {
			value, _, _ = strings.Cut(strings.TrimSpace(value), "#")
			value, _, _ = strings.Cut(strings.Trim(strings.TrimSpace(value), `"'`), "/")
			return value
		}
	}
	return ""
}
