// Package draft writes profiles and clusters as files that a person goes on
// with: every part has a comment that says what it is for, and nothing that is
// a default is in the way.
//
// It makes text from values and touches no disk. Package rules checks what the
// text says.
package draft

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"weft/document"

	"go.yaml.in/yaml/v3"
)

// Comments are what is written beside the values of a file, by the paths of
// package document. An index in a path may be *, for every element.
type Comments struct {
	// Head stands at the top of the file.
	Head string
	// Above stands on lines of its own before a key, Beside behind its value.
	Above, Beside map[string]string
}

// keep are mappings whose values belong to another program, where an empty
// text or list means something.
var keep = []string{"config", "server", "agent", "charts", "labels"}

// Text writes a value as YAML with comments. Struct fields come in their
// order, map keys sorted, and what is empty is left out. Equal arguments give
// equal bytes.
func Text(v any, c Comments) ([]byte, error) {
	var root yaml.Node
	if err := root.Encode(v); err != nil {
		return nil, fmt.Errorf("draft: %w", err)
	}
	prune(&root)
	comment(&root, "", "", c)
	var b bytes.Buffer
	if c.Head != "" {
		b.WriteString(lines(c.Head) + "\n")
	}
	out := yaml.NewEncoder(&b)
	out.SetIndent(2)
	if err := out.Encode(&root); err != nil {
		return nil, fmt.Errorf("draft: %w", err)
	}
	if err := out.Close(); err != nil {
		return nil, fmt.Errorf("draft: %w", err)
	}
	return spaced(b.Bytes()), nil
}

// prune leaves out what says nothing.
func prune(n *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		for _, e := range n.Content {
			prune(e)
		}
		if short(n) {
			n.Style = yaml.FlowStyle
		}
		return
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	kept := n.Content[:0:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if !slices.Contains(keep, k.Value) {
			prune(v)
		}
		if !empty(v) {
			kept = append(kept, k, v)
		}
	}
	n.Content = kept
}

// short tells whether a list reads best in brackets on one line.
func short(n *yaml.Node) bool {
	width := 0
	for _, e := range n.Content {
		if e.Kind != yaml.ScalarNode {
			return false
		}
		width += len(e.Value) + 4
	}
	return width <= 56
}

// empty tells whether a value says nothing.
func empty(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.MappingNode, yaml.SequenceNode:
		return len(n.Content) == 0
	}
	return n.ShortTag() == "!!null" || n.ShortTag() == "!!str" && n.Value == ""
}

// comment puts the comments to the nodes. general is the path with * for every
// index.
func comment(n *yaml.Node, path, general string, c Comments) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := n.Content[i], n.Content[i+1]
			at, every := document.Join(path, k.Value), document.Join(general, k.Value)
			if text := either(c.Above, at, every); text != "" {
				k.HeadComment = lines(text)
			}
			if text := either(c.Beside, at, every); text != "" {
				beside(k, v, text)
			}
			comment(v, at, every, c)
		}
	case yaml.SequenceNode:
		for i, e := range n.Content {
			comment(e, document.Index(path, i), general+"[*]", c)
		}
	}
}

// beside puts a comment behind a value: behind its key where the value takes
// further lines.
func beside(k, v *yaml.Node, text string) {
	text = "# " + clean(text)
	if v.Kind == yaml.ScalarNode || v.Style&yaml.FlowStyle != 0 {
		v.LineComment = text
		return
	}
	k.LineComment = text
}

// either is the comment of a path, or that of all its kind.
func either(m map[string]string, path, general string) string {
	if text, ok := m[path]; ok {
		return text
	}
	return m[general]
}

// lines writes a text as comment lines.
func lines(text string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		b.WriteString(strings.TrimRight("# "+clean(line), " ") + "\n")
	}
	return b.String()
}

// clean takes out what would end a comment, or be refused in a file.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffd {
			return ' '
		}
		return r
	}, text)
}

// spaced puts an empty line before every top key that has a comment above.
func spaced(text []byte) []byte {
	var b bytes.Buffer
	last := "#"
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(last, "#") && last != "\n" {
			b.WriteByte('\n')
		}
		b.WriteString(line)
		last = line
	}
	return b.Bytes()
}
