package docs

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"weft/profiles"
)

// TestShippedFilesKeepTheirSchemas validates every YAML file that comes with
// weft, and that a key nobody knows is refused in each.
func TestShippedFilesKeepTheirSchemas(t *testing.T) {
	count := map[string]int{}
	for _, pattern := range []string{
		"../boards/*.yaml", "../profiles/*.yaml", "../profiles/cluster/*.yaml",
		"../profiles/testdata/good/*.yaml", "../profiles/testdata/bad/clusters/*.yaml", "examples/*.yaml", "examples/*/*.yaml",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			// Most files with faults keep the schema: rules find what is
			// wrong. Those about keys and types do not.
			if base := filepath.Base(f); strings.HasPrefix(base, "a1-") || strings.HasPrefix(base, "a3-") ||
				strings.HasPrefix(base, "a5-") || strings.HasPrefix(base, "n31-role") {
				continue
			}
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			kind := tryFile(t, f, data)
			count[kind]++
		}
	}
	for _, kind := range []string{"board", "profile", "cluster"} {
		if count[kind] == 0 {
			t.Errorf("no %s file was validated", kind)
		}
	}
}

func TestRenderedFilesKeepTheirSchemas(t *testing.T) {
	p, _, _, err := profiles.Find("dual-stack")
	if err != nil {
		t.Fatal(err)
	}
	conf, err := profiles.NetdFor(p, profiles.Node{}, "node-1", "0b9f1c3e-0000-4000-8000-000000000001")
	if err != nil {
		t.Fatal(err)
	}
	data, err := conf.YAML()
	if err != nil {
		t.Fatal(err)
	}
	tryFile(t, "netd.yaml", data)
	node := profiles.Node{Weft: profiles.NodeVersion, Hostname: "node-1", Addresses: conf.Node.Addresses, Subnets: conf.Node.Subnets}
	if data, err = node.YAML(); err != nil {
		t.Fatal(err)
	}
	tryFile(t, "node.yaml", data)
	whole, err := p.WithDefaults().YAML()
	if err != nil {
		t.Fatal(err)
	}
	tryFile(t, "profile.yaml", whole)
}

// tryFile validates one file, and the same with a key too many.
func tryFile(t *testing.T, name string, data []byte) (kind string) {
	t.Helper()
	var value map[string]any
	if err := yaml.Unmarshal(data, &value); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	kind, _, _ = strings.Cut(fmt.Sprint(value["weft"]), "/")
	text, err := os.ReadFile(filepath.Join("schema", kind+".json"))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	v := validator{root: root}
	v.check("", value, root)
	for _, fault := range v.faults {
		t.Errorf("%s: %s", name, fault)
	}
	value["noSuchKey"] = 1
	v.faults = nil
	v.check("", value, root)
	if len(v.faults) == 0 {
		t.Errorf("%s: an unknown key is taken", name)
	}
	return kind
}

// A validator checks values against the part of JSON Schema that the schemas
// here are made of.
type validator struct {
	root   map[string]any
	faults []string
}

func (v *validator) fault(path, format string, args ...any) {
	v.faults = append(v.faults, path+": "+fmt.Sprintf(format, args...))
}

// check checks one value.
func (v *validator) check(path string, value any, s map[string]any) {
	for key := range s {
		if !slices.Contains([]string{"$ref", "$schema", "$defs", "title", "description", "type", "enum", "const", "pattern",
			"properties", "required", "additionalProperties", "items"}, key) {
			v.fault(path, "the schema has %s, which this validator does not know", key)
		}
	}
	if ref, ok := s["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/$defs/")
		target, ok := v.root["$defs"].(map[string]any)[name].(map[string]any)
		if !ok {
			v.fault(path, "there is no definition %s", ref)
			return
		}
		v.check(path, value, target)
	}
	if !v.typed(value, s["type"]) {
		v.fault(path, "%v is no %v", value, s["type"])
		return
	}
	if list, ok := s["enum"].([]any); ok && !slices.Contains(list, value) {
		v.fault(path, "%v is none of %v", value, list)
	}
	if want, ok := s["const"]; ok && value != want {
		v.fault(path, "%v is not %v", value, want)
	}
	if pattern, ok := s["pattern"].(string); ok {
		if text, isText := value.(string); isText && !regexp.MustCompile(pattern).MatchString(text) {
			v.fault(path, "%q does not match %s", text, pattern)
		}
	}
	v.members(path, value, s)
}

// members checks what is inside a value.
func (v *validator) members(path string, value any, s map[string]any) {
	if list, ok := value.([]any); ok {
		items, _ := s["items"].(map[string]any)
		for i, e := range list {
			v.check(fmt.Sprintf("%s[%d]", path, i), e, items)
		}
	}
	object, ok := value.(map[string]any)
	if !ok {
		return
	}
	required, _ := s["required"].([]any)
	for _, key := range required {
		if _, there := object[key.(string)]; !there {
			v.fault(path, "%s is missing", key)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for key, e := range object {
		if p, known := properties[key].(map[string]any); known {
			v.check(path+"."+key, e, p)
			continue
		}
		switch more := s["additionalProperties"].(type) {
		case bool:
			if !more {
				v.fault(path, "key %s is unknown", key)
			}
		case map[string]any:
			v.check(path+"."+key, e, more)
		}
	}
}

// typed tells whether a value has one of the types a schema names.
func (v *validator) typed(value, want any) bool {
	names, _ := want.([]any)
	if name, ok := want.(string); ok {
		names = []any{name}
	}
	if len(names) == 0 {
		return true
	}
	return slices.ContainsFunc(names, func(name any) bool {
		switch value := value.(type) {
		case bool:
			return name == "boolean"
		case string:
			return name == "string"
		case int:
			return name == "integer" || name == "number"
		case float64:
			return name == "number" || name == "integer" && value == math.Trunc(value)
		case []any:
			return name == "array"
		case map[string]any:
			return name == "object"
		}
		return false
	})
}
