package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/rules"
)

// block matches a YAML block of a page.
var block = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestFilesInPagesAreClean checks every whole profile, node and cluster file
// that a page shows. A cluster's profile is the first of its page that has the
// name of the cluster.
func TestFilesInPagesAreClean(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, page := range append(pages, "../README.md") {
		if page == "rules.md" {
			continue // parts of files, which package rules tests
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for i, m := range block.FindAllStringSubmatch(string(text), -1) {
			if !strings.HasPrefix(m[1], "weft: ") {
				continue
			}
			count++
			file := filepath.Join(dir, fmt.Sprintf("%d.yaml", i))
			for line := range strings.Lines(m[1]) {
				if name, ok := strings.CutPrefix(strings.TrimSpace(line), "name: "); ok && strings.HasPrefix(m[1], "weft: profile/") {
					file = filepath.Join(dir, name+"-profile.yaml")
					break
				}
			}
			if err := os.WriteFile(file, []byte(m[1]), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, p := range checkShown(file, []byte(m[1])) {
				t.Errorf("%s: %v", page, p)
			}
		}
	}
	if count < 3 {
		t.Errorf("only %d files are shown", count)
	}
}

// checkShown checks a file as weft check does.
func checkShown(file string, data []byte) document.Problems {
	switch kind, _, _ := strings.Cut(strings.TrimPrefix(string(data), "weft: "), "/"); kind {
	case "cluster":
		c, d, problems := cluster.Read(file, data)
		return rules.Cluster(c, d, problems, rules.Options{})
	case "node":
		_, _, problems := profiles.ReadNode(file, data)
		return problems
	case "profile":
		p, d, problems := profiles.Load(file, data)
		return rules.Profile(p, d, problems, rules.Options{})
	}
	return nil
}
