package profiles

import (
	"fmt"
	"strings"

	"weft/document"
)

// RuleOld is the rule that a file says what it says in the newest format.
// What an older format called otherwise is read all the same, with a warning
// for each place.
const RuleOld = "A11"

// A migration turns a file of one format into the next. Formats change by
// adding to the table: a file of any older format goes through all the steps
// from its own, so a step is written once and never changed.
type migration struct {
	// from and to are the values of the weft key.
	from, to string
	// renamed are keys that have another name, by their paths in the older
	// format.
	renamed []renamed
}

// renamed is one key with its new name.
type renamed struct{ path, name string }

// profileMigrations are the steps from the first format of profiles to
// [Version], in order.
var profileMigrations = []migration{
	{from: "profile/v0", to: "profile/v1", renamed: []renamed{
		{"network.podCIDRs", "pods"},
		{"network.serviceCIDRs", "services"},
		{"network.nodeMask", "subnetLength"},
		{"network.ipMasq", "masquerade"},
	}},
}

// migrate brings a document to the newest format, in memory, and warns of
// what the file should say now.
func migrate(d *document.Document, steps []migration) document.Problems {
	var found document.Problems
	for _, step := range steps {
		if have, _ := d.Scalar("weft"); have != step.from {
			continue
		}
		newest := steps[len(steps)-1].to
		found = append(found, d.Problem("weft", fmt.Sprintf("%s is an older format", step.from)).
			WithRule(RuleOld).WithLevel(document.Warning).
			WithFix("write weft: "+newest+" and change what is named below"))
		for _, r := range step.renamed {
			old := r.path[strings.LastIndexByte(r.path, '.')+1:]
			p := d.KeyProblem(r.path, fmt.Sprintf("%s is called %s now", old, r.name)).
				WithRule(RuleOld).WithLevel(document.Warning).WithFix("write " + r.name)
			if d.Rename(r.path, r.name) {
				found = append(found, p)
			}
		}
		d.Set("weft", step.to)
	}
	return found
}
