package profiles

import (
	"fmt"

	"weft/document"
)

// Read reads a profile file that extends no other and checks what concerns
// the node and netd; [Load] takes one that does, and package rules checks what
// concerns Kubernetes. file is the name it has in messages.
//
// The Profile is what the file says, without defaults; see
// [Profile.WithDefaults]. It is sound only when the Problems hold no error.
func Read(file string, data []byte) (Profile, *document.Document, document.Problems) {
	d, problems := document.Parse(file, data)
	if !d.Parsed() {
		return Profile{}, d, problems
	}
	problems = append(problems, migrate(d, profileMigrations)...)
	p, more := fill(d)
	problems = append(problems, more...)
	if p.Extends != "" {
		problems = append(problems, d.Problem("extends", "this profile must be resolved first").
			WithRule(RuleExtends).WithFix("build an image with weft; it writes the profile out whole"))
	}
	problems.Sort()
	return p, d, problems
}

// fill takes the values out of a document and checks them.
func fill(d *document.Document) (Profile, document.Problems) {
	var p Profile
	problems := d.Fill(&p)
	return p, append(problems, Check(p, d)...)
}

// Check checks what concerns the node and netd in a profile that was read from
// d. Warnings that the profile overrides are left out.
func Check(p Profile, d *document.Document) document.Problems {
	problems, _ := Silence(document.Apply(profileRules, p, d), p.Overrides, Firm)
	return problems
}

// ReadNode reads a node file and checks what can be checked without its
// profile; [NetdFor] checks the rest. Files over [MaxNodeFile] are refused.
func ReadNode(file string, data []byte) (Node, *document.Document, document.Problems) {
	if len(data) > MaxNodeFile {
		_, d, _ := read(file, nil, nodeRules)
		return Node{}, d, document.Problems{{
			File: file, Rule: document.RuleText,
			Message: fmt.Sprintf("the file is larger than %d KiB", MaxNodeFile>>10),
			Fix:     "keep only what makes this node differ; the rest belongs in the profile",
		}}
	}
	return read(file, data, nodeRules)
}

// ReadNetd reads netd's configuration and checks it. Paths that are left out
// are filled in before that, so that what is checked is what netd works with.
func ReadNetd(file string, data []byte) (Netd, *document.Document, document.Problems) {
	return read(file, data, netdRules, func(n *Netd) { n.Paths = n.Paths.withDefaults() })
}

// read decodes a file, completes what it holds and applies the rules of its
// kind.
func read[T any](file string, data []byte, rules []document.Rule[T], complete ...func(*T)) (T, *document.Document, document.Problems) {
	var v T
	d, problems := document.Decode(file, data, &v)
	if !d.Parsed() {
		return v, d, problems
	}
	for _, c := range complete {
		c(&v)
	}
	problems = append(problems, document.Apply(rules, v, d)...)
	problems.Sort()
	return v, d, problems
}
