package progress

import (
	"fmt"
	"strconv"
	"time"
)

// size writes an amount the way people read it: 34.4 MB, or 1138.
func size(n int64, unit Unit) string {
	if unit != Bytes {
		return strconv.FormatInt(n, 10)
	}
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 999_950:
		return fmt.Sprintf("%.1f KB", float64(n)/1e3)
	case n < 999_950_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// amount writes how much of the work is done, with the unit if it is not
// plain from the number.
func amount(done, total int64, unit Unit) string {
	text := size(done, unit)
	if total > 0 {
		text += " of " + size(total, unit)
	}
	if unit != Bytes {
		text += " " + string(unit)
	}
	return text
}

// rate writes how fast the work goes; "" when no time has passed to tell.
func rate(done int64, unit Unit, took time.Duration) string {
	if unit != Bytes || done <= 0 || took < time.Millisecond {
		return ""
	}
	return size(int64(float64(done)/took.Seconds()), unit) + "/s"
}

// left estimates the time to the end from the time so far; "" when it cannot
// be told.
func left(done, total int64, took time.Duration) string {
	if done <= 0 || total <= done || took < time.Second {
		return ""
	}
	return clock(time.Duration(float64(took) * float64(total-done) / float64(done)))
}

// clock writes a time left: 4s, 2m05s, 1h02m.
func clock(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", max(s, 1))
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
}

// took writes how long a finished task took: 0.34 s, 12.0 s, 2m05s.
func took(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return clock(d)
}

// percent is how much of total is done, 0 to 100.
func percent(done, total int64) int {
	if total <= 0 {
		return 0
	}
	return int(min(max(done, 0), total) * 100 / total)
}
