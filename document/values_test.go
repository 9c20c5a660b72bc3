package document

import (
	"reflect"
	"testing"
)

func TestValuesOfAFileOfAnotherProgram(t *testing.T) {
	d, _ := Parse("c.yaml", []byte("a: 1\nb: [x, true]\nc: {d: yes}\n"))
	values, problems := d.Values()
	want := map[string]any{"a": 1, "b": []any{"x", true}, "c": map[string]any{"d": "yes"}}
	if len(problems) > 0 || !reflect.DeepEqual(values, want) {
		t.Errorf("%v %v", values, problems)
	}
	for _, text := range []string{"- a\n", "a: 1\na: 2\n", "a: 0x10\n"} {
		d, _ := Parse("c.yaml", []byte(text))
		if _, problems := d.Values(); problems.Errors() == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	if values, problems := (*Document)(nil).Values(); values != nil || problems != nil {
		t.Error("a file that was not parsed has values")
	}
}
