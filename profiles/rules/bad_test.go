package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/document"
)

// leastBad is how many files with faults there must be.
const leastBad = 120

// TestBadFilesBreakTheRightRuleAtTheRightPlace checks every file of
// testdata/bad as weft check does. Comments at its top say which rules it
// breaks where ("# expect: B7 at 6:14", with the file before the line when it
// is another), and what is known of the image ("# kernel: 5.4.0").
func TestBadFilesBreakTheRightRuleAtTheRightPlace(t *testing.T) {
	count := 0
	for _, kind := range []string{"profiles", "clusters"} {
		files, err := filepath.Glob("../testdata/bad/" + kind + "/*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		count += len(files)
		for _, f := range files {
			t.Run(kind+"/"+filepath.Base(f), func(t *testing.T) {
				data, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				want, facts := header(string(data))
				if len(want) == 0 {
					t.Fatal("the file does not say what it breaks")
				}
				problems := check(t, f, facts)
				var got []string
				for _, p := range problems {
					place := fmt.Sprintf("%d:%d", p.Line, p.Column)
					if rel, err := filepath.Rel(filepath.Dir(f), p.File); err != nil {
						t.Fatal(err)
					} else if rel != filepath.Base(f) {
						place = rel + ":" + place
					}
					got = append(got, p.Rule+" at "+place)
				}
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("got %q, want %q\n%v", got, want, problems)
				}
				for _, p := range problems {
					checkWording(t, p)
					if strings.Contains(fmt.Sprint(p), "verysecret") {
						t.Errorf("a secret is printed: %v", p)
					}
				}
			})
		}
	}
	if count < leastBad {
		t.Errorf("there are %d files with faults, fewer than %d", count, leastBad)
	}
}

// header reads the comments at the top of a file.
func header(text string) (want []string, f Facts) {
	for line := range strings.Lines(text) {
		line, comment := strings.CutPrefix(strings.TrimSpace(line), "# ")
		if !comment {
			break
		}
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "expect":
			want = append(want, value)
		case "kernel":
			f.Kernel = value
		case "lacks":
			f.Lacks = strings.Split(value, ", ")
		case "arch":
			f.Arch = value
		case "programs":
			f.Programs = strings.Split(value, ", ")
		case "users":
			f.Users = strings.Split(value, ", ")
		case "hosts":
			f.Hosts = value + "\n"
		}
	}
	return want, f
}

// checkWording wants a problem to say what is wrong and what to do.
func checkWording(t *testing.T, p document.Problem) {
	t.Helper()
	if p.Message == "" || p.Fix == "" || strings.HasSuffix(p.Message, ".") || strings.Contains(p.Message, "%!") {
		t.Errorf("a problem that does not help:\n%v", p)
	}
}

func TestGoodFilesAreClean(t *testing.T) {
	files, err := filepath.Glob("../testdata/good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, f := range files {
		if problems := check(t, f, Facts{}); len(problems) > 0 {
			t.Errorf("%s:\n%v", f, problems)
		}
	}
}
