package service

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRingKeepsTheLastLines(t *testing.T) {
	r := &Ring{}
	if got := r.Last(5); len(got) != 0 {
		t.Errorf("empty: %q", got)
	}
	for i := range ringLines + 3 {
		r.Add(fmt.Sprint(i))
	}
	if got := r.Last(2); !slices.Equal(got, []string{fmt.Sprint(ringLines + 1), fmt.Sprint(ringLines + 2)}) {
		t.Errorf("last two: %q", got)
	}
	all := r.Last(10 * ringLines)
	if len(all) != ringLines || all[0] != "3" {
		t.Errorf("%d lines from %q", len(all), all[0])
	}
}

func TestWarnings(t *testing.T) {
	for line, want := range map[string]bool{
		`time=2026-11-21T02:00:00Z level=WARN msg="peer is gone"`:       true,
		`time=2026-11-21T02:00:00Z level=ERROR msg=x`:                   true,
		`time=2026-11-21T02:00:00Z level=INFO msg="a WARN in the text"`: false,
		`{"time":"x","level":"ERROR","msg":"x"}`:                        true,
		`{"time":"x","level":"INFO","msg":"x"}`:                         false,
		`<3>kernel style`:                                               true,
		`<6>kernel style`:                                               false,
		`panic: runtime error: invalid memory address`:                  true,
		`fatal error: all goroutines are asleep - deadlock!`:            true,
		`<`: false,
		``:  false,
	} {
		if got := Warning(line); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

func TestLinesAreCutNotLost(t *testing.T) {
	long := strings.Repeat("x", 3*lineBytes)
	var got []string
	readLines(strings.NewReader("one\r\n\n"+long+"\nlast without end"), func(s string) { got = append(got, s) })
	if len(got) != 3 || got[0] != "one" || len(got[1]) != lineBytes || got[2] != "last without end" {
		t.Errorf("%d lines: %.80q", len(got), got)
	}
}

func TestNotices(t *testing.T) {
	for message, want := range map[string]Notice{
		"READY=1":                          {Ready: true},
		"READY=1\nSTATUS=all programmed\n": {Ready: true, Status: "all programmed", HasStatus: true},
		"STATUS=":                          {HasStatus: true},
		"STOPPING=1":                       {Stopping: true},
		"READY=0\nMAINPID=5\nnonsense":     {},
		"RELOADING=1\nMONOTONIC_USEC=5":    {Reloading: true},
		"WATCHDOG=1":                       {Alive: true},
		"WATCHDOG=trigger":                 {Wedged: true},
		"WATCHDOG_USEC=20000000":           {Every: 20 * time.Second},
		"WATCHDOG_USEC=-1":                 {},
		"WATCHDOG_USEC=99999999999999":     {},
		"STATUS=a=b":                       {Status: "a=b", HasStatus: true},
		"":                                 {},
	} {
		if got := ParseNotice([]byte(message)); got != want {
			t.Errorf("%q: %+v, want %+v", message, got, want)
		}
	}
}

func FuzzParseNotice(f *testing.F) {
	f.Add([]byte("READY=1\nSTATUS=x"))
	f.Add([]byte("WATCHDOG=1\nWATCHDOG_USEC=1"))
	f.Fuzz(func(t *testing.T, message []byte) {
		if n := ParseNotice(message); strings.Contains(n.Status, "\n") || n.Every < 0 || n.Every > maxWatchdog {
			t.Errorf("%+v", n)
		}
	})
}
