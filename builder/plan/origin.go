package plan

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/kube"
)

// A Value is one setting of a plan and where it comes from.
type Value struct {
	// Path is its dotted path, such as profile.network.backend.vni.
	Path string `json:"path"`
	// Value is the setting as text.
	Value string `json:"value"`
	// Origin is file:line:column, "default" for what no file sets, or
	// "derived" for what follows from other values.
	Origin string `json:"origin"`
	// Reason says what a derived value is for; empty for others.
	Reason string `json:"reason,omitempty"`
}

// Values lists every setting of the plan in the order of the files' schema.
func (p Plan) Values() []Value {
	var list []Value
	collect(&list, "board", "", reflect.ValueOf(p.Board), p.boardFile)
	collect(&list, "profile", "", reflect.ValueOf(p.Profile), p.profileFile)
	for i, name := range p.Packages {
		list = append(list, Value{Path: document.Index("packages", i), Value: name, Origin: "derived"})
	}
	for i, u := range p.Userland {
		list = append(list, derived(document.Index("userland", i), u.Name, u.Path, u.Reason))
	}
	for i, m := range p.Contract.Modules {
		list = append(list, derived(document.Index("contract.modules", i), m.Name, m.Path, m.Reason))
	}
	for _, s := range p.Contract.Sysctls {
		list = append(list, derived(document.Key("contract.sysctls", s.Name), s.Value, s.Path, s.Reason))
	}
	for i, n := range p.Contract.Symbols {
		list = append(list, derived(document.Index("contract.symbols", i), n.Any[0], n.Path, n.Reason))
	}
	for i, f := range p.Contract.Files {
		list = append(list, derived(document.Index("contract.files", i), f.File, f.Path, f.Reason))
	}
	return list
}

// derived is a value that follows from a key of the profile; from is empty
// when every profile has it.
func derived(path, value, from, reason string) Value {
	origin := "derived"
	if from != "" {
		origin += " from " + join("profile", from)
	}
	return Value{path, value, origin, reason}
}

// collect adds the values below v, which stands at path of the file that
// prefix names.
func collect(list *[]Value, prefix, path string, v reflect.Value, d *document.Document) {
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if secret(path) {
		add(list, prefix, path, "(not shown)", d)
		return
	}
	text, isText := v.Interface().(encoding.TextMarshaler)
	switch {
	case isText:
		data, err := text.MarshalText()
		if err != nil {
			return
		}
		add(list, prefix, path, string(data), d)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			key, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			if options == "inline" {
				collect(list, prefix, path, v.Field(i), d)
				continue
			}
			if key == "" || key == "-" || strings.Contains(options, "omitempty") && v.Field(i).IsZero() {
				continue
			}
			collect(list, prefix, join(path, key), v.Field(i), d)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			collect(list, prefix, document.Index(path, i), v.Index(i), d)
		}
	case v.Kind() == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			collect(list, prefix, document.Join(path, key.String()), v.MapIndex(key), d)
		}
	default:
		add(list, prefix, path, fmt.Sprint(v.Interface()), d)
	}
}

// secret tells whether a path is that of a setting of K3s or RKE2 that is not
// for printing.
func secret(path string) bool {
	key := path[strings.LastIndexByte(path, '.')+1:]
	if !strings.HasPrefix(path, "kubernetes.") {
		return false
	}
	for _, distribution := range []string{profiles.K3s, profiles.RKE2} {
		if k, known := kube.Find(kube.Keys(distribution), key); known {
			return k.Secret
		}
	}
	return false
}

// Settings lists the values of a struct that a file would have, below prefix,
// in the order of its schema and without origins.
func Settings(prefix string, of any) []Value {
	var list []Value
	collect(&list, prefix, "", reflect.ValueOf(of), nil)
	for i := range list {
		list[i].Origin = ""
	}
	return list
}

// add adds one value with its origin.
func add(list *[]Value, prefix, path, value string, d *document.Document) {
	*list = append(*list, Value{Path: join(prefix, path), Value: value, Origin: d.Position(path).String()})
}

// join puts a dot between two parts of a path.
func join(path, key string) string {
	if path == "" || strings.HasPrefix(key, "[") {
		return path + key
	}
	return path + "." + key
}
