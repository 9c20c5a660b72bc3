package explain

import (
	"bufio"
	"fmt"
	"io"

	"weft/netd/status"
)

// Write writes an answer for people.
func Write(out io.Writer, a Answer, style status.Style) error {
	w := bufio.NewWriter(out)
	style.Column = 12
	style.Text(w, a.Target+": "+a.Verdict)
	fmt.Fprintln(w)
	for _, s := range a.Steps {
		text, colour := s.Text, ""
		if s.Missing {
			text, colour = text+"  ABSENT", status.Red
		}
		style.Field(w, s.Name, colour, text)
	}
	if len(a.Problems) > 0 {
		fmt.Fprintln(w)
	}
	for _, p := range a.Problems {
		style.Field(w, "problem", status.Red, p.Text)
		style.Field(w, "fix", status.Yellow, p.Fix)
	}
	return w.Flush()
}
