package document

import (
	"strings"
	"testing"
	"time"
)

// Hostile files must cost no more than a moment: init reads one from a
// partition that anybody can write.
func TestHostileFilesAreRefusedQuickly(t *testing.T) {
	const size = MaxSize - 16
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	for name, data := range map[string]string{
		"open brackets":         fill("["),
		"open braces":           fill("{"),
		"braces with keys":      fill("{a: "),
		"nested lists":          fill("- "),
		"nested explicit keys":  fill("? "),
		"list of nothing":       fill("-\n"),
		"unknown keys":          fill("a: b\n"),
		"anchors":               "list:\n" + fill("- &a b\n"),
		"one long line":         "name: " + fill("x"),
		"one long bad line":     "name: a: " + fill("x"),
		"open quote":            "name: \"" + fill("x\n"),
		"colons":                fill(":"),
		"documents":             fill("---\n"),
		"tabs":                  fill("\ta\n"),
		"carriage returns":      fill("\r"),
		"comments":              fill("# c\n"),
		"flow list never ended": "list: [" + fill("a, "),
		"deep indentation":      deep(1000),
		"small open brackets":   strings.Repeat("[", maxBisected-1),
		"small nested keys":     strings.Repeat("? ", maxBisected/2-1),
		"small open quote":      "name: \"" + strings.Repeat("x\n", maxBisected/2-8),
		"small flow list":       "list: [" + strings.Repeat("a, ", maxBisected/3-8),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			var s sample
			_, problems := Decode("hostile.yaml", []byte(data), &s)
			text := problems.Error()
			// Wide, since the machine may be busy; all of these take less
			// than half a second on a quiet one.
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			t.Logf("%s: %d problems, %d bytes of text", time.Since(start).Round(time.Millisecond), len(problems), len(text))
			if len(text) > 64<<10 {
				t.Errorf("%d bytes of text", len(text))
			}
		})
	}
}

// deep returns a mapping nested n levels deep by indentation.
func deep(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}
