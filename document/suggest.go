package document

import (
	"slices"
	"strings"
)

// maxWord is the longest word [Closest] looks at; the work grows with the
// square of the length, and no key or name of weft is longer.
const maxWord = 64

// Closest returns the known word that word is most likely a misspelling of,
// or "" when none is near. Letter case, hyphens and underscores do not count.
func Closest(word string, known []string) string {
	if word == "" || len(word) > maxWord {
		return ""
	}
	best, distance := "", len(word)/3+1
	for _, k := range known {
		if len(k) > maxWord {
			continue
		}
		if n := editDistance(fold(word), fold(k)); n < distance {
			best, distance = k, n
		}
	}
	return best
}

// DidYouMean returns the question for a misspelt word, or a list of the known
// words when none is near; it serves as [Problem.Fix].
func DidYouMean(word string, known []string) string {
	if near := Closest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	switch len(known) {
	case 0:
		return ""
	case 1:
		return "use " + known[0]
	}
	return "use one of " + strings.Join(known, ", ")
}

// fold brings words that people confuse to one form.
func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment).
func editDistance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = slices.Min([]int{last[j] + 1, row[j-1] + 1, last[j-1] + cost})
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
