package bench

import (
	"fmt"
	"io"
	"time"
)

// A meter prints figures.
type meter struct{ out io.Writer }

// figure prints one figure without a budget.
func (m meter) figure(name string, value float64, unit string) {
	fmt.Fprintf(m.out, "%-36s %10.4g %s\n", name, value, unit)
}

// within prints a figure and its budget, and reports whether it is kept.
func (m meter) within(name string, value, budget float64, unit string) bool {
	verdict := "of"
	if value > budget {
		verdict = "OVER"
	}
	fmt.Fprintf(m.out, "%-36s %10.4g %s   %s %.4g\n", name, value, unit, verdict, budget)
	return value <= budget
}

func seconds(d time.Duration) float64 { return d.Seconds() }
func millis(d time.Duration) float64  { return float64(d.Microseconds()) / 1000 }
