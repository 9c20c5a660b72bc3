package document

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// free reads a value whose type its key does not fix, such as a setting of
// another program: text, true or false, a number, a list, or a mapping of
// text to such values. Only numbers that all YAML parsers read alike are
// numbers; nothing at all is nil.
func (dec *decoder) free(n, key *yaml.Node, path string) (any, bool) {
	switch n.Kind {
	case yaml.MappingNode:
		all := make(map[string]any, len(n.Content)/2)
		for k, c := range dec.pairs(n) {
			if v, ok := dec.free(c, k, Join(path, k.Value)); ok {
				all[k.Value] = v
			}
		}
		return all, true
	case yaml.SequenceNode:
		all := make([]any, 0, len(n.Content))
		for i, c := range n.Content {
			if v, ok := dec.free(c, nil, Index(path, i)); ok {
				all = append(all, v)
			}
		}
		return all, true
	}
	switch n.ShortTag() {
	case "!!null":
		return nil, true
	case "!!bool":
		if n.Value == "true" || n.Value == "false" {
			return n.Value == "true", true
		}
	case "!!int":
		if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil && strconv.FormatInt(i, 10) == n.Value {
			return int(i), true
		}
		dec.report(dec.doc.atNode(n, label(path)+" is a number that not all programs read alike").
			WithRule(RuleType).WithFix("write it as a plain decimal number, or in quotes"))
		return nil, false
	case "!!float":
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == n.Value {
			return f, true
		}
	}
	return n.Value, true
}

// duration takes a number with a unit, as Go writes it.
func (dec *decoder) duration(n, key *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.ScalarNode {
		if d, err := time.ParseDuration(n.Value); err == nil {
			v.SetInt(int64(d))
			return
		}
	}
	p := dec.mismatch(n, key, path, want(v.Type()))
	if n.Kind == yaml.ScalarNode && n.Value != "" && strings.Trim(n.Value, "0123456789") == "" {
		p.Note, p.Fix = "there is no unit", "add the unit: "+n.Value+"s for seconds"
	}
	dec.report(p)
}
