package document

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// A Shelf is the files of one kind that come with weft. A person names one of
// them, or a file of their own by its path.
type Shelf[T any] struct {
	// Kind is what a file is, such as board, and Dir the folder it is said to
	// lie in, such as boards.
	Kind, Dir string
	// Files holds NAME.yaml for each.
	Files fs.FS
	// Read reads one file.
	Read func(file string, data []byte) (T, *Document, Problems)
}

// Names lists what is on the shelf, sorted.
func (s Shelf[T]) Names() []string {
	// The pattern is sound, the only thing Glob can complain of.
	files, _ := fs.Glob(s.Files, "*.yaml")
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(f, ".yaml")
	}
	slices.Sort(names)
	return names
}

// Find reads what nameOrPath stands for: a file on the shelf by its name, or
// one by its path. What holds a slash or ends in .yaml is a path. The error
// says that there is nothing of that name ([UnknownError]) or that the file
// cannot be read; what is wrong inside the file is in the Problems.
func (s Shelf[T]) Find(nameOrPath string) (value T, d *Document, problems Problems, err error) {
	if strings.Contains(nameOrPath, "/") || strings.HasSuffix(nameOrPath, ".yaml") {
		data, err := ReadFile(nameOrPath)
		if err != nil {
			return value, nil, nil, fmt.Errorf("%s: %w", s.Kind, err)
		}
		value, d, problems = s.Read(nameOrPath, data)
		return value, d, problems, nil
	}
	data, err := fs.ReadFile(s.Files, nameOrPath+".yaml")
	if err != nil {
		return value, nil, nil, &UnknownError{Kind: s.Kind, Name: nameOrPath, Known: s.Names()}
	}
	value, d, problems = s.Read(s.Dir+"/"+nameOrPath+".yaml", data)
	return value, d, problems, nil
}

// UnknownError says that nothing of a name is on a shelf.
type UnknownError struct {
	// Kind is what was looked for, Name what it was called, and Known what
	// there is.
	Kind, Name string
	Known      []string
}

// Error names what was asked for and what there is.
func (e *UnknownError) Error() string {
	text := fmt.Sprintf("there is no %s %q", e.Kind, e.Name)
	if near := Closest(e.Name, e.Known); near != "" {
		text += "; did you mean " + near + "?"
	}
	known := strings.Join(e.Known, ", ")
	if len(e.Known) > maxListed {
		known = fmt.Sprintf("%d, see weft %ss", len(e.Known), e.Kind)
	}
	return text + " (weft has " + known + "; a path to a file of your own holds a slash or ends in .yaml)"
}

// maxListed is how many names a message lists.
const maxListed = 12
