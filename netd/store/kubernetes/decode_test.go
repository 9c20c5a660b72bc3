package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestListsThatAreNoneAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ body, says string }{
		"empty object":    {`{}`, "no list of nodes"},
		"a status page":   {`<html>`, "no list of nodes"},
		"another kind":    {`{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[]}`, `"PodList"`},
		"no version":      {`{"kind":"NodeList","items":[]}`, "no list of nodes"},
		"truncated":       {`{"kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a"}}`, "no list of nodes"},
		"items no list":   {`{"kind":"NodeList","metadata":{"resourceVersion":"1"},"items":{}}`, "where a list should be"},
		"node of no name": {`{"kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[{}]}`, "no name"},
		"nothing":         {``, "EOF"},
	} {
		if _, err := readList(strings.NewReader(c.body), func(object) error { return nil }); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error is %v, want %q", name, err, c.says)
		}
	}
}

func TestListsAreReadWhateverTheOrderOfTheirFields(t *testing.T) {
	for _, body := range []string{
		`{"items":[{"metadata":{"name":"a"}}],"metadata":{"resourceVersion":"7","continue":"c","remainingItemCount":3},"kind":"NodeList"}`,
		`{"kind":"NodeList","metadata":{"resourceVersion":"7","continue":"c"},"other":[{"deep":{}}],"items":[{"spec":{},"metadata":{"name":"a","x":[1]}}]}`,
	} {
		seen := []string{}
		l, err := readList(strings.NewReader(body), func(o object) error {
			seen = append(seen, o.Metadata.Name)
			return nil
		})
		if err != nil || l.version != "7" || l.next != "c" || fmt.Sprint(seen) != "[a]" {
			t.Errorf("list %+v of %v, %v", l, seen, err)
		}
	}
	if l, err := readList(strings.NewReader(`{"kind":"NodeList","metadata":{"resourceVersion":"7"},"items":null}`), nil); err != nil || l.version != "7" {
		t.Errorf("an empty cluster is %+v, %v", l, err)
	}
}

// endless is an answer that goes on and on.
func endless(head, part string) io.Reader {
	return io.MultiReader(strings.NewReader(head), &repeat{part: part})
}

type repeat struct {
	part string
	rest string
}

func (r *repeat) Read(b []byte) (int, error) {
	if r.rest == "" {
		r.rest = r.part
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func TestANodeIsBounded(t *testing.T) {
	head := `{"kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"`
	if _, err := readList(endless(head, strings.Repeat("x", 1<<16)), func(object) error { return nil }); !errors.Is(err, errTooLarge) {
		t.Errorf("list: %v", err)
	}
	if _, err := newEvents(endless(`{"type":"ADDED","object":{"metadata":{"name":"`, strings.Repeat("x", 1<<16))).next(); !errors.Is(err, errTooLarge) {
		t.Errorf("watch: %v", err)
	}
}

func TestAListIsBounded(t *testing.T) {
	head := `{"kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"n"}}`
	node := `,{"metadata":{"name":"n","annotations":{"a":"` + strings.Repeat("x", 1<<20) + `"}}}`
	n := 0
	_, err := readList(endless(head, node), func(object) error { n++; return nil })
	if !errors.Is(err, errTooLarge) || n < 200 || n > 260 {
		t.Errorf("after %d nodes: %v", n, err)
	}
}

func TestEventsAreTold(t *testing.T) {
	stream := `{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}
{"type":"BOOKMARK","object":{"kind":"Node","metadata":{"resourceVersion":"2"}}}
{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410,"reason":"Expired","message":"too old"}}`
	e := newEvents(iotest.OneByteReader(strings.NewReader(stream)))
	for _, want := range []string{added, bookmark} {
		if v, err := e.next(); err != nil || v.kind != want {
			t.Errorf("event %+v, %v; want %s", v, err, want)
		}
	}
	if _, err := e.next(); !expired(err) {
		t.Errorf("error is %v, want that history expired", err)
	}
	if _, err := e.next(); err != io.EOF {
		t.Errorf("error is %v, want the end", err)
	}
	broken := errors.New("connection reset")
	e = newEvents(io.MultiReader(strings.NewReader(`{"type":"ADD`), iotest.ErrReader(broken)))
	if _, err := e.next(); !errors.Is(err, broken) || !resumable(err) {
		t.Errorf("error is %v, want that of the connection", err)
	}
	for _, bad := range []string{`{`, `[]`, `{"type":"NEWS","object":{}}`, `{"type":"ADDED"}`, `{"type":"ADDED","object":{"metadata":{"name":"a"}}}`, `{"type":"ERROR","object":[]}`} {
		if _, err := newEvents(strings.NewReader(bad)).next(); err == nil || err == io.EOF || resumable(err) {
			t.Errorf("%s: error is %v, want one that asks for a list", bad, err)
		}
	}
}

// FuzzList checks that reading a list ends, and that what it returns is
// whole.
func FuzzList(f *testing.F) {
	f.Add([]byte(`{"kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a","annotations":{"x":"y"}},"spec":{"podCIDRs":["10.42.1.0/24"]}}]}`))
	f.Add([]byte(`{"kind":"NodeList","metadata":{"resourceVersion":"1","continue":"x"},"items":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := readList(bytes.NewReader(data), func(o object) error {
			if o.Metadata.Name == "" {
				t.Error("a node without a name")
			}
			return nil
		})
		if err == nil && (l.version == "" || !json.Valid(firstValue(data))) {
			t.Errorf("list %+v of %q", l, data)
		}
	})
}

// firstValue is the JSON value that data begins with.
func firstValue(data []byte) []byte {
	var v json.RawMessage
	if json.NewDecoder(bytes.NewReader(data)).Decode(&v) != nil {
		return nil
	}
	return v
}

// FuzzWatch checks that reading events ends, and that each has what is used
// of it.
func FuzzWatch(f *testing.F) {
	f.Add([]byte(`{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}{"type":"DELETED","object":{"metadata":{"name":"a","resourceVersion":"2"}}}`))
	f.Add([]byte(`{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"1"}}}`))
	f.Add([]byte(`{"type":"ERROR","object":{"code":410,"details":{"retryAfterSeconds":-1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e := newEvents(bytes.NewReader(data))
		for range len(data) + 1 {
			v, err := e.next()
			if err != nil {
				var s *statusError
				if errors.As(err, &s) && (s.retryAfter < 0 || s.retryAfter > maxRetryAfter) {
					t.Errorf("to be asked again after %v", s.retryAfter)
				}
				return
			}
			if v.object.Metadata.ResourceVersion == "" || v.kind != bookmark && v.object.Metadata.Name == "" {
				t.Errorf("event %+v", v)
			}
		}
		t.Error("more events than bytes")
	})
}
