package document

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// find walks path from the root. It returns the last key and value it could
// reach, and whether that is the whole path. The key is nil for an element of
// a list and for the root.
func (d *Document) find(path string) (key, value *yaml.Node, found bool) {
	if d == nil || d.root == nil {
		return nil, nil, false
	}
	value = d.root
	for part := range parts(path) {
		k, v := child(value, part)
		if v == nil {
			return key, value, false
		}
		key, value = k, v
	}
	return key, value, true
}

// child returns the key and value of one part of a path below n; the value is
// nil when n does not have it.
func child(n *yaml.Node, part string) (key, value *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == part {
				return n.Content[i], n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(n.Content) {
			return nil, n.Content[i]
		}
	}
	return nil, nil
}

// parts yields the keys and indices of a path.
func parts(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for path != "" {
			var part string
			if rest, ok := strings.CutPrefix(path, "["); ok {
				part, path, _ = strings.Cut(rest, "]")
				path = strings.TrimPrefix(path, ".")
			} else if i := strings.IndexAny(path, ".["); i < 0 {
				part, path = path, ""
			} else {
				part, path = path[:i], strings.TrimPrefix(path[i:], ".")
			}
			if !yield(part) {
				return
			}
		}
	}
}

// Index returns the path of element i of the list at path.
func Index(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// Key returns the path of a key that holds dots, below the mapping at path.
func Key(path, key string) string {
	return path + "[" + key + "]"
}

// Join returns the path of a key below path. A key that holds dots or brackets
// is put in brackets.
func Join(path, key string) string {
	switch {
	case path == "":
		return key
	case strings.ContainsAny(key, ".["):
		return Key(path, key)
	}
	return path + "." + key
}
