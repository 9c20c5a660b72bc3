package chaos

import (
	"testing"
	"time"
)

func TestALossIsExcusedUntilBothEndsHaveHeard(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	l := &timeline{faults: map[string]int{}}
	l.excuse(at(10), 1, "moved")
	l.connected(at(12), 2, false) // cut off before it was over
	l.connected(at(30), 2, true)
	l.connected(at(40), 0, false)
	l.connected(at(41), 0, true)
	cases := []struct {
		name     string
		sent     float64
		from, to int
		cause    string
	}{
		{"before", 5, 1, 3, ""},
		{"under way", 9.5, 1, 3, "moved"},
		{"after", 11, 3, 1, "moved"},
		{"two others", 11, 2, 3, ""},
		{"heard", 15, 1, 3, ""},
		{"not heard", 29, 2, 1, "moved"},
		{"heard late", 33, 1, 2, "moved"},
		{"heard at last", 35, 1, 2, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := l.cause(at(c.sent), time.Second, c.from, c.to); got != c.cause {
				t.Errorf("cause is %q, want %q", got, c.cause)
			}
		})
	}
}

func TestWhatNeverSettlesIsExcusedForEver(t *testing.T) {
	start := time.Unix(1000, 0)
	l := &timeline{faults: map[string]int{}}
	l.connected(start, 1, false)
	l.excuse(start.Add(time.Second), 1, "moved")
	if got := l.cause(start.Add(time.Hour), time.Second, 1, 2); got != "moved" {
		t.Errorf("cause is %q", got)
	}
}
