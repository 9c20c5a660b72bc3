package document

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// refuse reports what makes YAML surprising: anchors, aliases, merge keys,
// tags, keys that are not plain text, and very deep nesting.
func (d *Document) refuse(root *yaml.Node) Problems {
	var found Problems
	var walk func(n *yaml.Node, depth int)
	walk = func(n *yaml.Node, depth int) {
		if len(found) >= maxProblems {
			return
		}
		if depth > MaxDepth {
			found = append(found, d.atNode(n, fmt.Sprintf("nested more than %d levels deep", MaxDepth)).
				WithRule(RulePlain).
				WithFix("no weft file nests this deep; check brackets and indentation"))
			return
		}
		if p, bad := d.surprise(n); bad {
			found = append(found, p.WithRule(RulePlain))
			return
		}
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 && isMerge(c) {
				found = append(found, d.atNode(c, "merge keys are not used here").
					WithRule(RulePlain).WithFix("write the keys out"))
				continue
			}
			if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind != yaml.ScalarNode && c.Kind != yaml.AliasNode {
				found = append(found, d.atNode(c, "a key must be plain text").WithRule(RulePlain).
					WithFix("write key: value"))
				continue
			}
			walk(c, depth+1)
		}
	}
	walk(root, 0)
	return found
}

// surprise reports an anchor, an alias or a tag on a node.
func (d *Document) surprise(n *yaml.Node) (p Problem, bad bool) {
	switch {
	case n.Kind == yaml.AliasNode:
		return d.at(n.Line, n.Column, 1+len(n.Value), "aliases are not used here").
			WithFix("write the value out, or quote it if it is meant to begin with *"), true
	case n.Anchor != "":
		return d.at(n.Line, n.Column, 1+len(n.Anchor), "anchors are not used here").
			WithFix("remove &" + n.Anchor), true
	case n.Style&yaml.TaggedStyle != 0:
		return d.at(n.Line, n.Column, len(n.Tag), "tags are not used here").
			WithFix("remove " + n.Tag + ", or quote the value if it is meant to begin with !"), true
	}
	return Problem{}, false
}

// isMerge tells whether a key is YAML 1.1's merge key.
func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" &&
		key.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0
}

// isNull tells whether a node is an empty value, ~ or null.
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}
