package main

import (
	"fmt"
	"io"
	"strings"

	"weft/document"
	"weft/profiles/rules"
)

// An explained rule is one for a program to read.
type explained struct {
	ID       string `json:"id"`
	Severity string `json:"severity"`
	Title    string `json:"title"`
	Why      string `json:"why"`
	Source   string `json:"source"`
	Bad      string `json:"bad,omitempty"`
	Good     string `json:"good,omitempty"`
}

// explained is a rule as --json prints it.
func asExplained(r rules.Rule) explained {
	return explained{r.ID, r.SeverityText(), r.Title, r.Why, r.Source, r.Bad.Text(), r.Good.Text()}
}

// listRules prints all rules, a line or two each.
func listRules(w io.Writer, asJSON bool) error {
	all := rules.All()
	if asJSON {
		list := make([]explained, len(all))
		for i, r := range all {
			list[i] = asExplained(r)
		}
		return writeJSON(w, list)
	}
	for _, r := range all {
		mark := " "
		if r.Level == document.Warning {
			mark = "w"
		}
		text := document.Wrap(r.Title, lineWidth-8)
		if _, err := fmt.Fprintf(w, "%-4s %s  %s\n", r.ID, mark, strings.ReplaceAll(text, "\n", "\n        ")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, "\nw: a warning. weft check --explain RULE tells more of one.")
	return err
}

// explainRule prints everything about one rule.
func explainRule(w io.Writer, id string, asJSON bool) error {
	r, known := rules.Find(id)
	if !known {
		return usage("there is no rule %q; %s\nsee: weft check --rules", id, document.DidYouMean(strings.ToUpper(id), near(id)))
	}
	if asJSON {
		return writeJSON(w, asExplained(r))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", document.Wrap(r.ID+": "+r.Title, lineWidth))
	for _, part := range []struct{ name, text string }{
		{"severity", r.SeverityText()}, {"why", r.Why}, {"source", r.Source},
	} {
		text := document.Wrap(part.text, lineWidth-10)
		fmt.Fprintf(&b, "%-9s %s\n", part.name+":", strings.ReplaceAll(text, "\n", "\n          "))
	}
	for _, e := range []struct{ name, text string }{{"breaks it", r.Bad.Text()}, {"keeps it", r.Good.Text()}} {
		if e.text != "" {
			fmt.Fprintf(&b, "\n%s:\n    %s\n", e.name, strings.ReplaceAll(strings.TrimSpace(e.text), "\n", "\n    "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// near lists the rules that begin like id, or all.
func near(id string) []string {
	var some []string
	for _, known := range rules.IDs() {
		if id != "" && strings.HasPrefix(known, strings.ToUpper(id[:1])) {
			some = append(some, known)
		}
	}
	if len(some) == 0 {
		return []string{"A1", "B1", "C1", "D1", "E1", "F1", "G1", "H1", "I1", "N1", "HW1"}
	}
	return some
}
