package profiles

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"weft/document"
)

// RuleExtends is the rule that what a profile extends is there and sound.
const RuleExtends = "A14"

// maxExtends is how many profiles one may rest on, one over the other. What a
// person can keep in mind is fewer.
const maxExtends = 4

// ownKeys are what a profile does not take from the one it extends.
var ownKeys = []string{"weft", "name", "description", "extends"}

// Load reads a profile file like [Read], with what it extends. The Document
// knows the places of all values, in whichever file they are; the Profile
// names no file it extends any more, so that it can be written down whole.
func Load(file string, data []byte) (Profile, *document.Document, document.Problems) {
	d, problems := document.Parse(file, data)
	if !d.Parsed() {
		return Profile{}, d, problems
	}
	problems = append(problems, migrate(d, profileMigrations)...)
	missing := extend(d, file, maxExtends)
	problems = append(problems, missing...)
	p, more := fill(d)
	p.Extends = ""
	if missing.Errors() == nil {
		// Without its base, much would be said to be missing.
		problems = append(problems, more...)
	}
	problems.Sort()
	return p, d, problems
}

// extend lays d over the profile it names, which is first laid over the one
// that names.
func extend(d *document.Document, file string, depth int) document.Problems {
	const key = "extends"
	name, said := d.Scalar(key)
	if !said {
		return nil
	}
	refuse := func(message, fix string) document.Problems {
		return document.Problems{d.Problem(key, message).WithRule(RuleExtends).WithFix(fix)}
	}
	if depth == 0 {
		return refuse(fmt.Sprintf("more than %d profiles extend one another", maxExtends),
			"look for two that extend each other, or write the values out")
	}
	at, data, err := source(name, file)
	var unknown *document.UnknownError
	switch {
	case errors.As(err, &unknown):
		return refuse(err.Error(), document.DidYouMean(name, unknown.Known))
	case errors.Is(err, fs.ErrNotExist):
		return refuse(fmt.Sprintf("there is no file %s", at), "give a path that begins at this file's folder")
	case err != nil:
		return refuse(fmt.Sprintf("%s cannot be read: %v", at, err), "")
	}
	base, problems := document.Parse(at, data)
	if !base.Parsed() {
		return problems
	}
	problems = append(problems, migrate(base, profileMigrations)...)
	problems = append(problems, extend(base, at, depth-1)...)
	d.Over(base, ownKeys...)
	return problems
}

// source finds the text of a profile that another file names, and what it is
// called in messages. A path begins at that file's folder.
func source(name, from string) (file string, data []byte, err error) {
	if isPath(name) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(from), name)
		}
		data, err = document.ReadFile(name)
		return name, data, err
	}
	data, err = fs.ReadFile(shipped, name+".yaml")
	if err != nil {
		return name, nil, &document.UnknownError{Kind: "profile", Name: name, Known: Names()}
	}
	return "profiles/" + name + ".yaml", data, nil
}

// isPath tells a path from the name of a shipped profile.
func isPath(name string) bool {
	return strings.Contains(name, "/") || strings.HasSuffix(name, ".yaml")
}

// FindFrom is [Find] for a name that stands in another file: a path begins at
// the folder of that file.
func FindFrom(nameOrPath, file string) (Profile, *document.Document, document.Problems, error) {
	if isPath(nameOrPath) && !filepath.IsAbs(nameOrPath) {
		nameOrPath = filepath.Join(filepath.Dir(file), nameOrPath)
		if !isPath(nameOrPath) {
			nameOrPath = "./" + nameOrPath
		}
	}
	return Find(nameOrPath)
}
