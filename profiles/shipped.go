package profiles

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"weft/document"
)

// shipped holds the profiles that come with weft. Only Names and Find refer
// to it, so the linker leaves it out of init and netd.
//
//go:embed *.yaml
var shipped embed.FS

// Names lists the profiles that come with weft, sorted.
func Names() []string {
	files, err := fs.Glob(shipped, "*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(f, ".yaml")
	}
	slices.Sort(names)
	return names
}

// Find reads a profile: a shipped one by its name, or a file by its path.
// What holds a slash or ends in .yaml is a path. The error says that there is
// no such profile or that the file cannot be read; what is wrong inside the
// file is in the Problems.
func Find(nameOrPath string) (Profile, *document.Document, document.Problems, error) {
	if strings.Contains(nameOrPath, "/") || strings.HasSuffix(nameOrPath, ".yaml") {
		data, err := document.ReadFile(nameOrPath)
		if err != nil {
			return Profile{}, nil, nil, fmt.Errorf("profile: %w", err)
		}
		p, d, problems := Read(nameOrPath, data)
		return p, d, problems, nil
	}
	data, err := shipped.ReadFile(nameOrPath + ".yaml")
	if err != nil {
		return Profile{}, nil, nil, &UnknownError{Name: nameOrPath}
	}
	p, d, problems := Read("profiles/"+nameOrPath+".yaml", data)
	if p.Name != nameOrPath {
		problems = append(problems, d.Problem("name", "the name of a shipped profile is the name of its file").
			WithRule("N2").WithFix("write "+nameOrPath))
	}
	return p, d, problems, nil
}

// UnknownError says that no profile with a name comes with weft.
type UnknownError struct {
	// Name is what was asked for.
	Name string
}

// Error names the profile and those there are.
func (e *UnknownError) Error() string {
	text := fmt.Sprintf("there is no profile %q", e.Name)
	if near := document.Closest(e.Name, Names()); near != "" {
		text += "; did you mean " + near + "?"
	}
	return text + " (weft has " + strings.Join(Names(), ", ") + "; a path to a file of your own holds a slash or ends in .yaml)"
}
