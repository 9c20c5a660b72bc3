package vici

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
)

// example is the example of [VICI], "Encoding example".
var example = []byte("\x03\x04key1\x00\x06value1" +
	"\x01\x08section1" + "\x01\x0bsub-section" + "\x03\x04key2\x00\x06value2" + "\x02" +
	"\x04\x05list1" + "\x05\x00\x05item1" + "\x05\x00\x05item2" + "\x06" + "\x02")

func TestExampleOfTheSpecificationIsReadAndWritten(t *testing.T) {
	want := new(Section).Set("key1", "value1").Add("section1", new(Section).
		Add("sub-section", new(Section).Set("key2", "value2")).
		List("list1", "item1", "item2"))
	got, err := Parse(example)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v", got, err)
	}
	out, err := want.appendTo(nil, 0)
	if err != nil || string(out) != string(example) {
		t.Errorf("written %q, %v", out, err)
	}
	section := got.Section("section1")
	if v, _ := section.Section("sub-section").Get("key2"); v != "value2" || len(section.Values("list1")) != 2 {
		t.Errorf("section is %+v", section)
	}
	if _, there := got.Section("none").Section("at all").Get("anything"); there {
		t.Error("there is something in a section that does not exist")
	}
}

func TestCloneOfASectionIsOnesOwn(t *testing.T) {
	s := new(Section).Set("a", "1")
	one, other := s.Clone().Set("b", "2"), s.Clone().Set("b", "3")
	for want, section := range map[string]*Section{"2": one, "3": other, "": s} {
		if got, _ := section.Get("b"); got != want {
			t.Errorf("b is %q, want %q", got, want)
		}
		if a, _ := section.Get("a"); a != "1" {
			t.Errorf("a is %q", a)
		}
	}
}

func TestBrokenMessagesAreRefused(t *testing.T) {
	for name, message := range map[string]string{
		"a section that does not end":    "\x01\x01a",
		"a section that did not begin":   "\x02",
		"a list that does not end":       "\x04\x01a\x05\x00\x01b",
		"an item outside of a list":      "\x05\x00\x01b",
		"a list in a list":               "\x04\x01a\x04\x01b\x06\x06",
		"a key in a list":                "\x04\x01a\x03\x01b\x00\x00\x06",
		"a name longer than the message": "\x03\x09a",
		"a value longer than it":         "\x03\x01a\x00\x09b",
		"half a length":                  "\x03\x01a\x00",
		"an unknown element":             "\x07\x01a",
		"too deep":                       strings.Repeat("\x01\x01a", 20) + strings.Repeat("\x02", 20),
	} {
		if s, err := Parse([]byte(message)); err == nil {
			t.Errorf("%s: read as %+v", name, s)
		}
	}
}

func TestTooLongThingsAreNotSent(t *testing.T) {
	for name, s := range map[string]*Section{
		"name":  new(Section).Set(strings.Repeat("n", 256), ""),
		"value": new(Section).List("l", strings.Repeat("v", 65536)),
	} {
		if _, err := s.appendTo(nil, 0); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

// charon plays the other side: it reads packets and answers each with those
// of answers.
func charon(t *testing.T, answers ...[]string) *Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go func() {
		defer theirs.Close()
		for _, packets := range answers {
			var head [4]byte
			if _, err := io.ReadFull(theirs, head[:]); err != nil {
				return
			}
			io.CopyN(io.Discard, theirs, int64(binary.BigEndian.Uint32(head[:])))
			for _, p := range packets {
				theirs.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...))
			}
		}
	}()
	return New(ours)
}

func TestCommandsAreAnsweredOrRefused(t *testing.T) {
	c := charon(t, []string{"\x01\x03\x07success\x00\x03yes"},
		[]string{"\x01\x03\x07success\x00\x02no\x03\x06errmsg\x00\x03why"}, []string{"\x02"}, nil)
	ctx := t.Context()
	if _, err := c.Call(ctx, "load-conn", nil); err != nil {
		t.Error(err)
	}
	var refused *CommandError
	if _, err := c.Call(ctx, "load-conn", nil); !errors.As(err, &refused) || refused.Message != "why" {
		t.Errorf("refusal is %v", err)
	}
	if _, err := c.Call(ctx, "fly", nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown command: %v", err)
	}
	if _, err := c.Call(ctx, "version", nil); !errors.Is(err, io.EOF) {
		t.Errorf("charon went: %v", err)
	}
	if _, err := c.Call(ctx, "version", nil); err == nil || !strings.Contains(err.Error(), "of no use") {
		t.Errorf("broken connection: %v", err)
	}
}

func TestStreamsYieldTheirEvents(t *testing.T) {
	event := "\x07\x07list-sa\x01\x01a\x02"
	c := charon(t, []string{"\x05"}, []string{event, event, "\x01"}, []string{event, "\x05"}, []string{"\x01"})
	n := 0
	for s, err := range c.Stream(t.Context(), "list-sas", "list-sa", nil) {
		if err != nil || s.Section("a") == nil {
			t.Errorf("event is %+v, %v", s, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d events, want 2", n)
	}
	if _, err := c.Call(t.Context(), "version", nil); err != nil {
		t.Errorf("after a stream: %v", err)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := charon(t, []string{"\x05", "\x07\x03log\x03\x03msg\x00\x02hi"}, nil)
	var last error
	for e, err := range c.Events(ctx, "log") {
		if message, _ := e.Message.Get("msg"); err == nil && message != "hi" {
			t.Errorf("event is %+v", e)
		}
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("the end is told by %v", last)
	}
}

func TestHugePacketsAreRefused(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		go io.Copy(io.Discard, theirs)
		theirs.Write([]byte{0xff, 0xff, 0xff, 0xff})
	}()
	if _, err := New(ours).Call(t.Context(), "version", nil); err == nil || !strings.Contains(err.Error(), "4294967295") {
		t.Errorf("error is %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add([]byte("\x04\x01a\x05\x00\x01b\x06"))
	f.Add([]byte("\x02"))
	f.Fuzz(func(t *testing.T, message []byte) {
		s, err := Parse(message)
		if err != nil {
			return
		}
		out, err := s.appendTo(nil, 0)
		if err != nil || string(out) != string(message) {
			t.Errorf("%q was read and is written as %q, %v", message, out, err)
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte("\x07list-sa\x01\x01a\x02"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, s, err := parseEvent(body); err == nil && s == nil {
			t.Error("neither a message nor an error")
		}
	})
}
