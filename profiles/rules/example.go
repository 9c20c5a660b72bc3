package rules

import (
	"fmt"
	"strings"
)

// Text is the example as a person reads it: its parts, each under a comment
// that says what it is where there are several. The text ends each part with
// a line break; it is empty for a rule without examples.
func (e Example) Text() string {
	parts := []struct{ name, text string }{
		{"profile", e.Profile}, {"cluster", e.Cluster}, {"the cluster's lock", e.Lock}, {"what is known of the board and the image", e.Facts.text()},
	}
	used := 0
	for _, p := range parts {
		if p.text != "" {
			used++
		}
	}
	var b strings.Builder
	for _, p := range parts {
		if p.text == "" {
			continue
		}
		if used > 1 || p.name != "profile" {
			fmt.Fprintf(&b, "# %s\n", p.name)
		}
		b.WriteString(p.text)
	}
	return b.String()
}

// text writes facts as comments, since no file says them.
func (f Facts) text() string {
	var b strings.Builder
	for _, p := range []struct{ name, text string }{
		{"architecture", f.Arch}, {"kernel", f.Kernel}, {"the kernel lacks", strings.Join(f.Lacks, ", ")},
		{"programs", strings.Join(f.Programs, ", ")}, {"users", strings.Join(f.Users, ", ")},
		{"hosts", strings.ReplaceAll(strings.TrimSpace(f.Hosts), "\n", "; ")}, {"storage", f.Storage},
	} {
		if p.text != "" {
			fmt.Fprintf(&b, "#   %s: %s\n", p.name, p.text)
		}
	}
	return b.String()
}
