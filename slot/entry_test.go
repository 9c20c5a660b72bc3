package slot

import (
	"errors"
	"strings"
	"testing"
)

func TestEntryNamesAreReadAndWritten(t *testing.T) {
	for _, test := range []struct {
		file  string
		entry Entry
		again string // how it is written, where that differs
	}{
		{"weft-a.conf", Entry{Slot: A}, ""},
		{"weft-b.conf", Entry{Slot: B}, ""},
		{"weft-a+3-0.conf", Entry{Slot: A, Counted: true, Left: 3}, ""},
		{"weft-b+0-3.conf", Entry{Slot: B, Counted: true, Done: 3}, ""},
		{"weft-b+2.conf", Entry{Slot: B, Counted: true, Left: 2}, "weft-b+2-0.conf"},
		{"weft-a+99-99.conf", Entry{Slot: A, Counted: true, Left: 99, Done: 99}, ""},
	} {
		got, err := ParseEntry(test.file)
		if err != nil || got != test.entry {
			t.Errorf("%s: got %+v, %v", test.file, got, err)
		}
		want := test.file
		if test.again != "" {
			want = test.again
		}
		if got.File() != want {
			t.Errorf("%s: written as %s", test.file, got.File())
		}
	}
}

func TestOtherNamesAreNoEntries(t *testing.T) {
	for _, file := range []string{
		"", "weft-.conf", "weft-c.conf", "weft-a", "weft-a.conf.bak", "a.conf", "arch.conf",
		"weft-a+.conf", "weft-a+-1.conf", "weft-a+3-.conf", "weft-a+x-0.conf", "weft-a+3-0-1.conf",
		"weft-a++3.conf", "weft-a+100-0.conf", "weft-a+99999999999999999999.conf", "weft-A.conf",
	} {
		if e, err := ParseEntry(file); !errors.Is(err, ErrNotEntry) {
			t.Errorf("%q was read as %+v, %v", file, e, err)
		}
	}
}

func TestNewEntryIsCountedAndBlessingEndsThat(t *testing.T) {
	e := NewEntry(B)
	if e.File() != "weft-b+3-0.conf" {
		t.Errorf("a new entry is %s", e.File())
	}
	if got := e.Blessed().File(); got != "weft-b.conf" {
		t.Errorf("blessed it is %s", got)
	}
}

func TestEntryText(t *testing.T) {
	got, err := EntryText{
		Slot: A, Title: "weft (slot a)", Version: "1.2", Priority: MaxPriority,
		Options: "root=PARTUUID=1 quiet",
	}.Text()
	want := `title    weft (slot a)
version  1.2
sort-key weft-00
linux    /weft/a/vmlinuz
initrd   /weft/a/initrd
options  root=PARTUUID=1 quiet
`
	if err != nil || got != want {
		t.Errorf("%v\ngot:\n%s\nwant:\n%s", err, got, want)
	}
}

func TestHigherPrioritySortsFirst(t *testing.T) {
	key := func(priority int) string {
		text, err := EntryText{Slot: A, Priority: priority}.Text()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(text, "sort-key ")
		return strings.Fields(rest)[0]
	}
	for p := range MaxPriority {
		if key(p+1) >= key(p) {
			t.Errorf("priority %d has key %s, priority %d key %s", p+1, key(p+1), p, key(p))
		}
	}
}

func TestEntryTextThatWouldStartAnotherKeyIsRefused(t *testing.T) {
	for want, text := range map[string]EntryText{
		"options has a line break or NUL at byte 5": {Slot: A, Options: "quiet\nlinux /evil"},
		"title has a line break or NUL at byte 0":   {Slot: A, Title: "\r"},
		"version has a line break or NUL at byte 1": {Slot: B, Version: "1\x00"},
		"slot b: priority 16 is not within 0..15":   {Slot: B, Priority: 16},
		"slot a: priority -1 is not within 0..15":   {Slot: A, Priority: -1},
	} {
		if _, err := text.Text(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestSlotNames(t *testing.T) {
	for _, n := range []Name{A, B} {
		if got, err := Parse(string(n)); err != nil || got != n {
			t.Errorf("%s: %s, %v", n, got, err)
		}
		if n.Other() == n || n.Other().Other() != n {
			t.Errorf("%s has the other slot %s", n, n.Other())
		}
	}
	for _, s := range []string{"", "c", "A", "ab"} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%q is a slot", s)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, s := range []string{"weft-a.conf", "weft-b+3-0.conf", "weft-a+2.conf", "weft-a+-.conf"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		e, err := ParseEntry(file)
		if err != nil {
			return
		}
		again, err := ParseEntry(e.File())
		if err != nil || again != e {
			t.Errorf("%q reads as %+v, which reads back as %+v, %v", file, e, again, err)
		}
	})
}
