package progress

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

// hand is a clock that a test moves by hand.
type hand struct{ t time.Time }

func (h *hand) now() time.Time           { return h.t }
func (h *hand) pass(d time.Duration)     { h.t = h.t.Add(d) }
func newHand() *hand                     { return &hand{time.Unix(1_700_000_000, 0)} }
func readable(s string) string           { return strings.ReplaceAll(s, "\x1b", "␛") }
func width(columns int) func() int       { return func() int { return columns } }
func step(task Task, n int64, h *hand)   { h.pass(time.Second); task.Add(n) }
func moment(task Task, n int64, h *hand) { h.pass(time.Millisecond); task.Add(n) }

// story runs some tasks the same way on any display.
func story(d Display, h *hand) {
	kernel := d.Start("download linux-image-6.12.107+deb13-cloud-amd64", 34_402_644, Bytes)
	step(kernel, 10_000_000, h)
	moment(kernel, 1, h)
	files := d.Start("unpack linux-image-6.12.107+deb13-cloud-amd64", 0, Files)
	step(files, 500, h)
	fmt.Fprintln(d, "a word from somewhere else")
	step(kernel, 10_000_000, h)
	h.pass(5 * time.Second)
	step(files, 638, h)
	files.Done(nil)
	step(kernel, 14_402_643, h)
	kernel.Done(nil)
	bad := d.Start("download broken", 100, Bytes)
	step(bad, 50, h)
	bad.Done(errors.New("cut off"))
}

func TestLinesTellStartMiddleAndEnd(t *testing.T) {
	var out bytes.Buffer
	h := newHand()
	story(NewLines(&out, h.now), h)
	golden(t, "lines.txt", out.String())
}

func TestBarsAreDrawnInPlace(t *testing.T) {
	var out bytes.Buffer
	h := newHand()
	story(NewBars(&out, width(100), h.now), h)
	golden(t, "bars.txt", readable(out.String()))
}

func TestNarrowTerminalCutsTheNameFirst(t *testing.T) {
	var out bytes.Buffer
	h := newHand()
	story(NewBars(&out, width(60), h.now), h)
	golden(t, "narrow.txt", readable(out.String()))
}

func TestNoBarIsWiderThanTheTerminal(t *testing.T) {
	for columns := range 200 {
		task := barTask{name: "download some-package-with-a-rather-long-name", total: 1 << 30, done: 123 << 20, unit: Bytes}
		line := task.draw(columns, time.Time{}.Add(10*time.Second))
		if n := utf8.RuneCountInString(line); n >= max(columns, 1) {
			t.Errorf("%d columns in a terminal of %d: %q", n, columns, line)
		}
	}
}

func TestBarsAreNotDrawnMoreThanTenTimesASecond(t *testing.T) {
	var out bytes.Buffer
	h := newHand()
	task := NewBars(&out, width(80), h.now).Start("x", 10_000, Files)
	for range 5_000 {
		moment(task, 1, h)
	}
	if n := strings.Count(out.String(), "\n"); n > 52 {
		t.Errorf("%d drawings in 5 seconds", n)
	}
}

func TestManyTasksDoNotScrollTheTerminal(t *testing.T) {
	var out bytes.Buffer
	b := NewBars(&out, width(80), newHand().now)
	var last string
	for i := range 20 {
		out.Reset()
		b.Start(fmt.Sprintf("task %d", i), 0, Files)
		last = out.String()
	}
	if n := strings.Count(last, "\n"); n != maxBars+1 || !strings.Contains(last, "and 12 more") {
		t.Errorf("%d lines drawn: %q", n, last)
	}
}

func TestWorkDoneAgainCountsBack(t *testing.T) {
	var out bytes.Buffer
	h := newHand()
	task := NewLines(&out, h.now).Start("x", 100, Bytes)
	task.Add(60)
	task.Add(-60)
	h.pass(6 * time.Second)
	task.Add(10)
	if !strings.Contains(out.String(), "10 %, 10 B of 100 B") {
		t.Errorf("got %q", out.String())
	}
}

func TestTasksFromManyGoroutines(t *testing.T) {
	for _, d := range []Display{NewLines(&bytes.Buffer{}, time.Now), NewBars(&bytes.Buffer{}, width(80), time.Now)} {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				task := d.Start("x", 1000, Files)
				for range 1000 {
					task.Add(1)
				}
				fmt.Fprintln(d, "between")
				task.Done(nil)
			})
		}
		wg.Wait()
	}
}

func TestAFileIsNoTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if d, ok := For(f, false).(*Lines); !ok {
		t.Errorf("got %T", d)
	}
}

func TestAmountsAsPeopleReadThem(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{size(0, Bytes), "0 B"},
		{size(999, Bytes), "999 B"},
		{size(1000, Bytes), "1.0 KB"},
		{size(999_949, Bytes), "999.9 KB"},
		{size(999_950, Bytes), "1.0 MB"},
		{size(34_402_644, Bytes), "34.4 MB"},
		{size(2_500_000_000, Bytes), "2.5 GB"},
		{size(1138, Files), "1138"},
		{clock(300 * time.Millisecond), "1s"},
		{clock(125 * time.Second), "2m05s"},
		{clock(3725 * time.Second), "1h02m"},
		{took(340 * time.Millisecond), "0.34 s"},
		{took(12 * time.Second), "12.0 s"},
		{rate(100, Bytes, 0), ""},
		{left(10, 100, 0), ""},
		{left(10, 100, 10*time.Second), "1m30s"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
