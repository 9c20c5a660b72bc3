package document

import (
	"reflect"
	"strings"
)

// field returns the index of the struct field with a key, through the structs
// that are inlined.
func (dec *decoder) field(t reflect.Type, key string) ([]int, bool) {
	known, seen := dec.fields[t]
	if !seen {
		if dec.fields == nil {
			dec.fields = map[reflect.Type][]keyed{}
		}
		known = fields(t)
		dec.fields[t] = known
	}
	for _, f := range known {
		if f.key == key {
			return f.index, true
		}
	}
	return nil, false
}

// keys lists the keys of a struct in the order of its fields.
func keys(t reflect.Type) []string {
	var all []string
	for _, f := range fields(t) {
		all = append(all, f.key)
	}
	return all
}

// A keyed field is one that a file can set.
type keyed struct {
	key   string
	index []int
}

// fields lists the fields of a struct that have a key.
func fields(t reflect.Type) []keyed {
	all := make([]keyed, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Tag.Get("yaml") == ",inline" {
			for _, inner := range fields(f.Type) {
				all = append(all, keyed{inner.key, append([]int{i}, inner.index...)})
			}
			continue
		}
		if key := fieldKey(f); key != "" {
			all = append(all, keyed{key, []int{i}})
		}
	}
	return all
}

// fieldKey returns the key of a field; empty for a field without one.
func fieldKey(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}
