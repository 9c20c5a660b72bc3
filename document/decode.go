package document

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxProblems is where the decoder stops collecting: nobody reads more, and
// a hostile file could hold a hundred thousand.
const maxProblems = 100

// A decoder fills Go values from nodes and collects what does not fit.
type decoder struct {
	doc      *Document
	problems Problems
	// fields are those of the types met so far: lists hold thousands of one.
	fields map[reflect.Type][]keyed
}

// decode fills the struct that into points to.
func (dec *decoder) decode(root *yaml.Node, into any) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("document: Decode into %T; it needs a pointer to a struct", into))
	}
	dec.value(root, nil, v.Elem(), "")
}

// report notes a problem, up to the limit.
func (dec *decoder) report(p Problem) {
	switch {
	case len(dec.problems) < maxProblems:
		dec.problems = append(dec.problems, p)
	case len(dec.problems) == maxProblems:
		p.Message = "too many problems; the rest is not shown"
		p.Note, p.Fix, p.Rule = "", "", ""
		dec.problems = append(dec.problems, p)
	}
}

// mismatch reports a value of the wrong type. The fix is the least there is to
// say; who knows more says it instead.
func (dec *decoder) mismatch(n, key *yaml.Node, path, want string) Problem {
	message := fmt.Sprintf("%s must be %s", label(path), want)
	if n.Kind != yaml.ScalarNode || isNull(n) {
		p := dec.doc.atKey(key, n, message)
		return p.WithRule(RuleType).WithNote(kindOf(n)).WithFix("write " + want)
	}
	return dec.doc.atNode(n, message).WithRule(RuleType).WithFix("write " + want)
}

// label returns how a path is called in a message.
func label(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// kindOf says what a node is.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "this is a mapping"
	case n.Kind == yaml.SequenceNode:
		return "this is a list"
	case isNull(n):
		return "there is no value"
	}
	return ""
}

// value fills v from n. key is the node of n's key, nil for list elements.
func (dec *decoder) value(n, key *yaml.Node, v reflect.Value, path string) {
	if isNull(n) && path != "" && v.Kind() != reflect.Interface {
		dec.report(dec.mismatch(n, key, path, want(v.Type())).
			WithFix("give it a value, or remove it to have the default"))
		return
	}
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		before := len(dec.problems)
		dec.value(n, key, fresh.Elem(), path)
		if len(dec.problems) == before {
			v.Set(fresh)
		}
		return
	}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		dec.text(n, key, v.Type(), t, path)
		return
	}
	switch k := v.Kind(); {
	case v.Type() == durationType:
		dec.duration(n, key, v, path)
	case k == reflect.Interface && v.NumMethod() == 0:
		if free, ok := dec.free(n, key, path); ok && free != nil {
			v.Set(reflect.ValueOf(free))
		}
	case k == reflect.Struct:
		dec.structure(n, key, v, path)
	case k == reflect.Slice:
		dec.list(n, key, v, path)
	case k == reflect.Map:
		dec.mapping(n, key, v, path)
	case k == reflect.String, k == reflect.Bool, v.CanInt():
		dec.scalar(n, key, v, path)
	default:
		panic(fmt.Sprintf("document: %s: type %s is not supported", path, v.Type()))
	}
}

// structure fills the fields of a struct from a mapping.
func (dec *decoder) structure(n, key *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		dec.report(dec.mismatch(n, key, path, "a mapping of keys to values").
			WithFix("its keys are " + strings.Join(keys(v.Type()), ", ")))
		return
	}
	for k, c := range dec.pairs(n) {
		i, ok := dec.field(v.Type(), k.Value)
		if !ok {
			dec.report(dec.unknown(k, v.Type(), path))
			continue
		}
		dec.value(c, k, v.FieldByIndex(i), Join(path, k.Value))
	}
}

// unknown reports a key that the struct does not have.
func (dec *decoder) unknown(k *yaml.Node, t reflect.Type, path string) Problem {
	known := keys(t)
	p := dec.doc.atNode(k, fmt.Sprintf("unknown key %q in %s", k.Value, label(path))).WithRule(RuleKey)
	if near := Closest(k.Value, known); near != "" {
		return p.WithFix("did you mean " + near + "?")
	}
	return p.WithFix("the keys here are " + strings.Join(known, ", "))
}

// pairs yields the keys and values of a mapping and reports keys that are
// there twice.
func (dec *decoder) pairs(n *yaml.Node) func(yield func(k, v *yaml.Node) bool) {
	return func(yield func(k, v *yaml.Node) bool) {
		seen := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if line, twice := seen[k.Value]; twice {
				dec.report(dec.doc.atNode(k, fmt.Sprintf("key %q is here twice", k.Value)).
					WithRule(RuleDuplicate).
					WithNote(fmt.Sprintf("first in line %d", line)).
					WithFix("keep one of them"))
				continue
			}
			seen[k.Value] = k.Line
			if !yield(k, n.Content[i+1]) {
				return
			}
		}
	}
}

// list fills a slice.
func (dec *decoder) list(n, key *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		p := dec.mismatch(n, key, path, want(v.Type()))
		if n.Kind == yaml.ScalarNode {
			p.Fix = fmt.Sprintf("write it as [%s]", n.Value)
		} else {
			p.Fix = "begin each element with \"- \""
		}
		dec.report(p)
		return
	}
	all := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		dec.value(c, nil, all.Index(i), Index(path, i))
	}
	if len(n.Content) > 0 {
		v.Set(all)
	}
}

// mapping fills a map whose keys are text.
func (dec *decoder) mapping(n, key *yaml.Node, v reflect.Value, path string) {
	if v.Type().Key().Kind() != reflect.String {
		panic(fmt.Sprintf("document: %s: type %s is not supported", path, v.Type()))
	}
	if n.Kind != yaml.MappingNode {
		dec.report(dec.mismatch(n, key, path, want(v.Type())).WithFix("write each as key: value"))
		return
	}
	all := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	for k, c := range dec.pairs(n) {
		element := reflect.New(v.Type().Elem()).Elem()
		dec.value(c, k, element, Join(path, k.Value))
		all.SetMapIndex(reflect.ValueOf(k.Value).Convert(v.Type().Key()), element)
	}
	if all.Len() > 0 {
		v.Set(all)
	}
}

// scalar fills a string, a bool or an int.
func (dec *decoder) scalar(n, key *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		p := dec.mismatch(n, key, path, want(v.Type()))
		if n.Kind == yaml.MappingNode {
			p.Fix = "write one value; put it in quotes if it holds a colon"
		}
		dec.report(p)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Bool:
		dec.boolean(n, key, v, path)
	default:
		dec.integer(n, key, v, path)
	}
}

// boolean takes true and false. YAML 1.1 also has yes, no, on, off, y and n,
// and half of the parsers do not agree.
func (dec *decoder) boolean(n, key *yaml.Node, v reflect.Value, path string) {
	switch {
	case quoted(n):
	case n.Value == "true":
		v.SetBool(true)
		return
	case n.Value == "false":
		v.SetBool(false)
		return
	}
	p := dec.mismatch(n, key, path, want(v.Type()))
	switch strings.ToLower(n.Value) {
	case "true", "false":
		p.Fix = "write " + strings.ToLower(n.Value) + ", without quotes"
	case "yes", "on", "y", "1":
		p.Fix = "write true"
	case "no", "off", "n", "0":
		p.Fix = "write false"
	default:
		p.Fix = "write true or false"
	}
	dec.report(p)
}

// integer takes decimal numbers. A leading zero means octal to one YAML
// parser and nothing to another.
func (dec *decoder) integer(n, key *yaml.Node, v reflect.Value, path string) {
	digits := strings.TrimPrefix(n.Value, "-")
	i, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
	plainly := strconv.FormatInt(i, 10)
	switch {
	case !quoted(n) && err == nil && plainly == n.Value:
		v.SetInt(i)
		return
	case errors.Is(err, strconv.ErrRange):
		dec.report(dec.mismatch(n, key, path, want(v.Type())).WithNote("this number is too large").WithFix("write a smaller one"))
	case err == nil && !quoted(n) && strings.Trim(digits, "0123456789") == "":
		dec.report(dec.mismatch(n, key, path, want(v.Type())).
			WithNote("a leading zero means octal to some programs").
			WithFix("write " + plainly))
	case err == nil && !strings.HasPrefix(n.Value, "+"):
		dec.report(dec.mismatch(n, key, path, want(v.Type())).WithFix("remove the quotes"))
	default:
		dec.report(dec.mismatch(n, key, path, want(v.Type())).WithFix("write a decimal number"))
	}
}

// text fills a type that reads itself.
func (dec *decoder) text(n, key *yaml.Node, t reflect.Type, into encoding.TextUnmarshaler, path string) {
	if n.Kind != yaml.ScalarNode {
		p := dec.mismatch(n, key, path, want(t))
		if n.Kind == yaml.MappingNode {
			// "- fd42::" is a mapping with the key "fd42:" to YAML.
			p.Fix = "put the value in quotes"
		}
		dec.report(p)
		return
	}
	err := into.UnmarshalText([]byte(n.Value))
	if err == nil && n.Value != "" {
		return
	}
	p := dec.mismatch(n, key, path, want(t))
	switch {
	case t == prefixType && !strings.Contains(n.Value, "/") && validAddress(n.Value):
		p.Note, p.Fix = "there is no length", "add the length: "+n.Value+"/24"
		if strings.Contains(n.Value, ":") {
			p.Fix = "add the length: " + n.Value + "/64"
		}
	case t == addressType && strings.Contains(n.Value, "/"):
		p.Note, p.Fix = "this is a prefix", "remove the slash and the length"
	case t == prefixType || t == addressType:
		p.Note = reason(err)
	case err != nil:
		p.Note = err.Error()
	}
	dec.report(p)
}

var (
	prefixType   = reflect.TypeFor[netip.Prefix]()
	addressType  = reflect.TypeFor[netip.Addr]()
	durationType = reflect.TypeFor[time.Duration]()
)

// validAddress tells whether s is an IP address.
func validAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// reason returns the last part of an error of package netip, without the
// name of its function and the value, which the excerpt shows.
func reason(err error) string {
	if err == nil {
		return "there is no value"
	}
	text := err.Error()
	if i := strings.LastIndex(text, "): "); i >= 0 {
		return text[i+3:]
	}
	return text
}

// quoted tells whether a scalar is not plain.
func quoted(n *yaml.Node) bool {
	const styles = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	return n.Style&styles != 0
}

// want says what a type asks for.
func want(t reflect.Type) string {
	switch {
	case t == prefixType:
		return "a prefix such as 10.0.0.0/24 or fd00::/64"
	case t == addressType:
		return "an address such as 10.0.0.1 or fd00::1"
	case t == durationType:
		return "a time such as 30s, 10m or 24h"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return want(t.Elem())
	case reflect.Struct, reflect.Map:
		return "a mapping of keys to values"
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	}
	return "a whole number"
}
