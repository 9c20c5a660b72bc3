package document

import (
	"regexp"
	"strings"
	"testing"
)

// colours matches the sequences that a terminal does not show.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// screen is what a terminal shows of problems, in lines.
func screen(t *testing.T, ps Problems, color bool) []string {
	t.Helper()
	var b strings.Builder
	if err := ps.Write(&b, color); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(colours.ReplaceAllString(b.String(), ""), "\n"), "\n")
}

func TestNothingIsWiderThanATerminal(t *testing.T) {
	long := strings.Repeat("10.42.0.0/16, ", 30)
	for name, p := range map[string]Problem{
		"a long message": {File: "profile.yaml", Line: 3, Column: 5, Width: 4, Source: "pods: x",
			Message: strings.Repeat("a long tale ", 20), Fix: strings.Repeat("do this and that ", 20), Rule: "B7"},
		"a long line":              {File: "p.yaml", Line: 12345, Column: 200, Width: 13, Source: long, Message: "m", Note: strings.Repeat("note ", 40)},
		"the end of a long line":   {File: "p.yaml", Line: 1, Column: len(long) - 3, Width: 3, Source: long, Message: "m"},
		"the start of a long line": {File: "p.yaml", Line: 1, Column: 1, Width: 300, Source: long, Message: "m", Note: "here"},
		"wide characters":          {File: "profil-配置.yaml", Line: 1, Column: 12, Width: 6, Source: "name: \"配置ファイルの名前\"", Message: "名前 is no name", Note: "注意", Fix: "名前を変更"},
		"many wide characters":     {File: "p.yaml", Line: 1, Column: 60, Width: 4, Source: "name: " + strings.Repeat("配置ファイル", 20), Message: strings.Repeat("配置 ", 60)},
		"accents of their own":     {File: "p.yaml", Line: 1, Column: 7, Width: 3, Source: "name: " + strings.Repeat("e\u0301", 70) + "x", Message: "m"},
		"no place":                 {File: "p.yaml", Message: strings.Repeat("word ", 40), Note: strings.Repeat("note ", 40)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, line := range screen(t, Problems{p}, true) {
				if n := Columns(line); n > 80 {
					t.Errorf("%d columns: %s", n, line)
				}
			}
		})
	}
}

func TestUnderlineStandsBelowTheFault(t *testing.T) {
	for _, c := range []struct{ name, source, fault string }{
		{"plain text", "pods: [10.42.0.0/16]", "10.42.0.0/16"},
		{"after wide characters", "名前: 配置ファイル", "配置"},
		{"after marks", "n\u0301ame: x", "x"},
		{"in a long line", strings.Repeat("abc ", 50) + "FAULT" + strings.Repeat(" def", 50), "FAULT"},
		{"in a long line of wide characters", strings.Repeat("配置", 50) + "FAULT" + strings.Repeat("設定", 50), "FAULT"},
		{"after an odd number of columns", "x" + strings.Repeat("配置", 50) + "FAULT" + strings.Repeat("設定", 50), "FAULT"},
		{"at the end of a long line", strings.Repeat("配置", 60) + "FAULT", "FAULT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := strings.Index(c.source, c.fault)
			p := Problem{File: "f", Line: 1, Column: 1 + len([]rune(c.source[:at])), Width: len([]rune(c.fault)), Source: c.source, Message: "m"}
			lines := screen(t, Problems{p}, false)
			shown := strings.Index(lines[1], c.fault)
			caret := strings.Index(lines[2], "^")
			if shown < 0 || caret < 0 {
				t.Fatalf("not shown:\n%s", strings.Join(lines, "\n"))
			}
			if a, b := Columns(lines[1][:shown]), Columns(lines[2][:caret]); a != b {
				t.Errorf("the fault is in column %d, the underline in %d:\n%s", a, b, strings.Join(lines, "\n"))
			}
			if a, b := Columns(c.fault), strings.Count(lines[2], "^"); a != b {
				t.Errorf("the fault takes %d columns, the underline %d:\n%s", a, b, strings.Join(lines, "\n"))
			}
		})
	}
}

func TestOutsideATerminalAMessageIsOneLine(t *testing.T) {
	p := Problem{File: "f", Line: 1, Column: 1, Width: 1, Source: "x", Message: strings.Repeat("word ", 40) + "end", Fix: strings.Repeat("fix ", 40) + "end", Rule: "B7"}
	lines := screen(t, Problems{p}, false)
	if len(lines) != 4 || !strings.HasSuffix(lines[0], "end   [B7]") || !strings.HasSuffix(lines[3], "end") {
		t.Errorf("got %q", lines)
	}
	wrapped := screen(t, Problems{p}, true)
	if strings.Join(strings.Fields(strings.Join(wrapped, " ")), " ") != strings.Join(strings.Fields(strings.Join(lines, " ")), " ") {
		t.Errorf("wrapping changes the words: %q", wrapped)
	}
}

func TestWordsAreNotBroken(t *testing.T) {
	long := strings.Repeat("a", 100)
	if got := Wrap("see "+long+" now", 20); got != "see\n"+long+"\nnow" {
		t.Errorf("got %q", got)
	}
	if got := Wrap("one two three", 7); got != "one two\nthree" {
		t.Errorf("got %q", got)
	}
	if got := Wrap("配置 配置 配置", 9); got != "配置 配置\n配置" {
		t.Errorf("got %q", got)
	}
}
