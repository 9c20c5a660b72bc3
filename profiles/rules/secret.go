package rules

import (
	"strings"
	"unicode/utf8"

	"weft/document"
)

// concealed puts stars over the values of secret keys: problems show the lines
// they are about, and end up in the logs of build machines. A line counts when
// it holds the name of a key and its value, which may be short.
func concealed(problems document.Problems, s *Subject) document.Problems {
	for _, n := range s.Nodes {
		for _, key := range n.Keys {
			value, is := n.Config[key.Name].Value.(string)
			if !key.Secret || !is || value == "" {
				continue
			}
			stars := strings.Repeat("*", utf8.RuneCountInString(value))
			for i, p := range problems {
				if before, after, there := strings.Cut(p.Source, key.Name); there {
					problems[i].Source = before + key.Name + strings.ReplaceAll(after, value, stars)
				}
			}
		}
	}
	return problems
}
