package profiles

import (
	"slices"
	"strings"

	"weft/document"
)

// Silence leaves out the problems whose rules are overridden with a reason,
// and returns the rules that were silenced so. Problems that firm tells of are
// never left out: weft itself would stumble over them later.
func Silence(problems document.Problems, overrides []Override, firm func(document.Problem) bool) (kept document.Problems, silenced []string) {
	kept = problems[:0:0]
	for _, p := range problems {
		quiet := slices.ContainsFunc(overrides, func(o Override) bool {
			return o.Rule == p.Rule && strings.TrimSpace(o.Reason) != ""
		})
		if quiet && !firm(p) {
			silenced = append(silenced, p.Rule)
			continue
		}
		kept = append(kept, p)
	}
	return kept, silenced
}

// Firm tells whether a problem that [Check] found, or that was found in
// reading, cannot be overridden: errors here are about the file's form or
// about what netd refuses at boot too.
func Firm(p document.Problem) bool { return p.Level == document.Error }
