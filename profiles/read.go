package profiles

import (
	"fmt"

	"weft/document"
)

// Read reads a profile file and checks it. file is the name it has in
// messages.
//
// The Profile is what the file says, without defaults; see
// [Profile.WithDefaults]. It is sound only when the Problems hold no error.
func Read(file string, data []byte) (Profile, *document.Document, document.Problems) {
	return read(file, data, profileRules)
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

// ReadNetd reads netd's configuration and checks it.
func ReadNetd(file string, data []byte) (Netd, *document.Document, document.Problems) {
	return read(file, data, netdRules)
}

// read decodes a file and applies the rules of its kind.
func read[T any](file string, data []byte, rules []document.Rule[T]) (T, *document.Document, document.Problems) {
	var v T
	d, problems := document.Decode(file, data, &v)
	if !d.Parsed() {
		return v, d, problems
	}
	problems = append(problems, document.Apply(rules, v, d)...)
	problems.Sort()
	return v, d, problems
}
