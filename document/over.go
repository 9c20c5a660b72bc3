package document

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// Over lays d over base: what base says and d does not say is added to d.
// Where both have a mapping at one path, the mappings are merged by the same
// rule; everything else of d, lists too, replaces what base has. The keys of
// the top mapping that are named in except are not taken from base.
//
// Added values keep their places: a problem about one points into the file of
// base. Both documents must be parsed; base is not changed, but shares parts
// with d afterwards.
func (d *Document) Over(base *Document, except ...string) {
	if !d.Parsed() || !base.Parsed() {
		return
	}
	if d.lent == nil {
		d.lent = map[*yaml.Node]*Document{}
	}
	d.merge(base, d.root, base.root, except)
}

// merge adds to the mapping own what the mapping under of base has more.
func (d *Document) merge(base *Document, own, under *yaml.Node, except []string) {
	if own.Kind != yaml.MappingNode || under.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(under.Content); i += 2 {
		key, value := under.Content[i], under.Content[i+1]
		if slices.Contains(except, key.Value) {
			continue
		}
		if _, mine := child(own, key.Value); mine != nil {
			d.merge(base, mine, value, nil)
			continue
		}
		// A copy of the mappings, so that a later merge into d does not
		// reach base.
		own.Content = append(own.Content, d.lend(base, key), d.lend(base, value))
	}
}

// lend copies a node of base and everything below it, and notes whose it is.
func (d *Document) lend(base *Document, n *yaml.Node) *yaml.Node {
	lender := base.lent[n]
	if lender == nil {
		lender = base
	}
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, inner := range n.Content {
		c.Content[i] = d.lend(base, inner)
	}
	d.lent[&c] = lender
	return &c
}

// Scalar returns the text at path, and whether there is a scalar that is not
// empty.
func (d *Document) Scalar(path string) (string, bool) {
	_, value, found := d.find(path)
	if !found || value.Kind != yaml.ScalarNode || isNull(value) {
		return "", false
	}
	return value.Value, true
}

// Rename gives the last key of path another name, for files of an older
// format. The value keeps its place. It tells whether there was such a key;
// when its mapping has a key of the new name already, nothing is changed.
func (d *Document) Rename(path, name string) bool {
	key, _, found := d.find(path)
	if !found || key == nil {
		return false
	}
	var parent *yaml.Node
	var search func(n *yaml.Node)
	search = func(n *yaml.Node) {
		if slices.Contains(n.Content, key) {
			parent = n
			return
		}
		for _, c := range n.Content {
			search(c)
		}
	}
	search(d.root)
	if _, taken := child(parent, name); taken != nil {
		return false
	}
	key.Value = name
	return true
}

// Set replaces the scalar at path, for files of an older format. The value
// keeps its place. It tells whether there was one.
func (d *Document) Set(path, value string) bool {
	_, n, found := d.find(path)
	if !found || n.Kind != yaml.ScalarNode {
		return false
	}
	n.Value = value
	return true
}
