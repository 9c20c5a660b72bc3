package docs

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"weft/profiles/rules"
)

// families of rules, by the letter their ids begin with.
var families = []struct{ letters, title string }{
	{"A", "Files and keys"}, {"B", "Ranges and addresses"}, {"C", "Node ranges"}, {"D", "Backends"},
	{"E", "Egress and kubelets"}, {"F", "Names"}, {"G", "Network plugins and RKE2"}, {"H", "Servers and hardware"},
	{"I", "The node"}, {"N", "weft's own files"}, {"HW", "Boards"},
}

func TestRulePageSaysWhatTheRulesSay(t *testing.T) {
	var out bytes.Buffer
	out.WriteString("# Rules\n\nWritten from the rules by `go test ./docs -update`; do not edit.\n\n" +
		"`weft check` names the rule in brackets at the end of each message; `weft check --explain RULE`\n" +
		"prints what is here. A rule that does not hold for a network is overridden in the profile or the\n" +
		"cluster file, with its reason; errors about the form of a file, and those netd itself would stumble\n" +
		"over, stay:\n\n```yaml\noverrides:\n  - {rule: B5, reason: the routers announce both families before boot}\n```\n")
	count := 0
	for _, f := range families {
		fmt.Fprintf(&out, "\n## %s\n", f.title)
		for _, r := range rules.All() {
			if strings.TrimRight(r.ID, "0123456789") != f.letters {
				continue
			}
			count++
			fmt.Fprintf(&out, "\n### %s: %s\n\n%s\n\n- severity: %s\n- source: %s\n", r.ID, r.Title, r.Why, r.SeverityText(), r.Source)
			for _, e := range []struct{ name, text string }{{"Breaks it", r.Bad.Text()}, {"Keeps it", r.Good.Text()}} {
				if e.text != "" {
					fmt.Fprintf(&out, "\n%s:\n\n```yaml\n%s\n```\n", e.name, strings.TrimSpace(e.text))
				}
			}
		}
	}
	if count != len(rules.All()) {
		t.Errorf("the page has %d of %d rules", count, len(rules.All()))
	}
	fresh(t, "rules.md", out.Bytes())
}
