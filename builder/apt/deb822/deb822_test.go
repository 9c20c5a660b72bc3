package deb822

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestStanzasAndFields(t *testing.T) {
	const text = "\n# a comment\nPackage: one\nDepends: a,\n b,\n# between\n\tc\nEmpty:\r\n\n  \n\npackage:two\nSize:  7  \n"
	r := NewReader(strings.NewReader(text), true)
	if !r.Next() || r.Line() != 3 {
		t.Fatalf("first stanza: line %d, %v", r.Line(), r.Err())
	}
	for name, want := range map[string]string{"Package": "one", "PACKAGE": "one", "Depends": "a,\nb,\nc", "Empty": ""} {
		if got := r.Get(name); got == nil || string(got) != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if r.Get("Size") != nil {
		t.Error("a field of the next stanza is seen")
	}
	if !r.Next() || string(r.Get("Package")) != "two" || string(r.Get("Size")) != "7" {
		t.Errorf("second stanza: %q %q", r.Get("Package"), r.Get("Size"))
	}
	if r.Next() || r.Err() != nil {
		t.Errorf("after the end: %v", r.Err())
	}
}

func TestALineLongerThanTheBufferIsWhole(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	r := NewReader(strings.NewReader("Long: "+long+"\nNext: y"), false)
	if !r.Next() || string(r.Get("Long")) != long || string(r.Get("Next")) != "y" {
		t.Errorf("got %d bytes, %v", len(r.Get("Long")), r.Err())
	}
}

func TestWhatIsNotDeb822IsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"no colon":            {"Package one\n", ErrSyntax},
		"no name":             {": value\n", ErrSyntax},
		"space in the name":   {"A b: c\n", ErrSyntax},
		"comment not allowed": {"# comment\n", ErrSyntax},
		"indented first":      {" a: b\n", ErrSyntax},
		"too many fields":     {fieldsOf(MaxFields + 1), ErrTooLarge},
		"line too long":       {"A: " + strings.Repeat("x", MaxStanza+100_000), ErrTooLarge},
		"stanza too long":     {"A: b\n" + strings.Repeat(" "+strings.Repeat("x", 999)+"\n", MaxStanza/999+2), ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(strings.NewReader(c.text), false)
			for r.Next() {
			}
			if !errors.Is(r.Err(), c.want) || !strings.Contains(r.Err().Error(), "line ") {
				t.Errorf("got %v, want %v with its line", r.Err(), c.want)
			}
		})
	}
}

func fieldsOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "F%d: x\n", i)
	}
	return b.String()
}

func TestRepeatedFieldIsNamed(t *testing.T) {
	r := NewReader(strings.NewReader("Suite: a\nOrigin: b\nSUITE: c\n"), false)
	if !r.Next() || r.Repeated() != "suite" || string(r.Get("Suite")) != "a" {
		t.Errorf("Repeated = %q", r.Repeated())
	}
}

// FuzzReader checks that reading ends, and that what was read reads the same
// again when written out.
func FuzzReader(f *testing.F) {
	f.Add([]byte("A: b\n c\n\nD: e"), true)
	f.Add([]byte("# x\nA:\n\n\n"), false)
	f.Fuzz(func(t *testing.T, data []byte, comments bool) {
		r := NewReader(bytes.NewReader(data), comments)
		for r.Next() {
			if len(r.fields) == 0 {
				t.Fatal("a stanza without fields")
			}
			for _, f := range r.fields {
				name := string(r.buf[f.name:f.nameEnd])
				if r.Get(name) == nil {
					t.Fatalf("field %q cannot be got", name)
				}
			}
		}
	})
}

func BenchmarkPackages(b *testing.B) {
	var text bytes.Buffer
	for i := range 70_000 {
		fmt.Fprintf(&text, "Package: name-%d\nVersion: 1.2-%d\nArchitecture: amd64\nMaintainer: Some Body <some.body@example.org>\n"+
			"Depends: libc6 (>= 2.38), libother1 (>= 1:7.5), libthird2t64\nDescription: a line of about the usual length\n"+
			"Homepage: https://example.org/name\nTag: a::b, c::d,\n e::f\nSection: misc\nPriority: optional\n"+
			"Filename: pool/main/n/name/name_1.2_amd64.deb\nSize: 123456\nMD5sum: d41d8cd98f00b204e9800998ecf8427e\n"+
			"SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\n", i, i)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		r, n := NewReader(bytes.NewReader(text.Bytes()), false), 0
		for r.Next() {
			if len(r.Get("Package")) > 0 && len(r.Get("SHA256")) > 0 {
				n++
			}
		}
		if n != 70_000 {
			b.Fatal(n, r.Err())
		}
	}
}
