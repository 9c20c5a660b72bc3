package document

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// loose has values whose type is free, or that have a unit.
type loose struct {
	inlined `yaml:",inline"`
	Free    map[string]any            `yaml:"free,omitempty"`
	Deep    map[string]map[string]any `yaml:"deep,omitempty"`
	Time    time.Duration             `yaml:"time,omitempty"`
}

type inlined struct {
	Name string `yaml:"name,omitempty"`
}

func TestFreeValuesKeepTheirTypes(t *testing.T) {
	var got loose
	_, problems := Decode("f", []byte("name: x\ntime: 90s\nfree:\n  a: true\n  b: yes\n  c: 12\n  d: \"12\"\n  e: 1.5\n  f: 1.10\n  g: [1, x]\n  h: {i: {j: 2024-01-01}}\n  k:\ndeep:\n  a.b: {c: 1}\n"), &got)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := loose{inlined: inlined{"x"}, Time: 90 * time.Second, Free: map[string]any{
		"a": true, "b": "yes", "c": 12, "d": "12", "e": 1.5, "f": "1.10", "g": []any{1, "x"},
		"h": map[string]any{"i": map[string]any{"j": "2024-01-01"}}, "k": nil,
	}, Deep: map[string]map[string]any{"a.b": {"c": 1}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

func TestFreeValuesThatProgramsReadDifferentlyAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"free: {a: 0755}":                 "f:1:11: free.a is a number that not all programs read alike",
		"free: {a: [0x1f]}":               "f:1:12: free.a[0] is a number that not all programs read alike",
		"free: {a: 99999999999999999999}": "",
		"free: {a: 1, a: 2}":              `f:1:14: key "a" is here twice`,
		"time: 90":                        "add the unit: 90s",
		"time: [1s]":                      "time must be a time such as",
		"nam: x":                          "did you mean name?",
	} {
		var v loose
		_, problems := Decode("f", []byte(text), &v)
		if want == "" {
			if len(problems) > 0 {
				t.Errorf("%s: %v", text, problems)
			}
			continue
		}
		if len(problems) != 1 || !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

func TestLayersKeepTheirPlaces(t *testing.T) {
	top, _ := Parse("top", []byte("free:\n  a: 1\n  l: [x]\n"))
	mid, _ := Parse("mid", []byte("name: n\nfree:\n  b: 2\n  l: [y, z]\n"))
	low, _ := Parse("low", []byte("free: {a: 9, b: 9, c: 0755}\ntime: 3s\n"))
	mid.Over(low, "time")
	top.Over(mid)
	var v loose
	problems := top.Fill(&v)
	if len(problems) != 1 || problems[0].Position().String() != "low:1:23" || !strings.Contains(problems[0].Source, "c: 0755") {
		t.Errorf("%v", problems)
	}
	if v.Name != "n" || v.Time != 0 || !reflect.DeepEqual(v.Free, map[string]any{"a": 1, "b": 2, "c": nil, "l": []any{"x"}}) {
		t.Errorf("%#v", v)
	}
	for path, want := range map[string]string{"free.a": "top:2:6", "free.b": "mid:3:6", "free.l[0]": "top:3:7", "name": "mid:1:7", "time": "default"} {
		if got := top.Position(path).String(); got != want {
			t.Errorf("%s is at %s, want %s", path, got, want)
		}
	}
	// The lower documents stay as they are.
	var alone loose
	if mid.Fill(&alone); len(alone.Free) != 4 || alone.Free["a"] != 9 {
		t.Errorf("mid became %#v", alone.Free)
	}
	var nothing *Document
	nothing.Over(top)
	if _, ok := nothing.Scalar("name"); ok || nothing.Rename("a", "b") || nothing.Set("a", "b") {
		t.Error("a nil document holds something")
	}
	if name, ok := mid.Scalar("name"); !ok || name != "n" {
		t.Errorf("name is %q", name)
	}
}
