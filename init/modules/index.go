// Package modules loads kernel modules: by name or by what a device asks for,
// dependencies first, as much at once as the order allows.
//
// It reads the files depmod(8) writes. It never unloads anything, and it runs
// no program: compressed modules are handed to the kernel as they are.
package modules

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"weft/init/keep"
)

// maxIndexFile bounds each index file, in bytes. Debian's whole modules.alias
// is about 1.5 MB.
const maxIndexFile = 16 << 20

// An Index knows the modules of one folder.
type Index struct {
	dir     string
	modules map[string]*module
	builtin map[string]bool
	aliases *Aliases
}

// module is one loadable module.
type module struct {
	name string
	file string   // relative to the index's folder
	hard []string // modules it cannot be loaded without
	pre  []string // modules that should be there before, if they exist
	post []string // modules that should come after
}

// ErrUnknown says that a name is no module, built in or loadable.
var ErrUnknown = errors.New("the kernel has no such module")

// Name returns a module's name as the kernel spells it: the last part of
// path, without .ko and compression, with underscores for dashes.
func Name(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if i := strings.Index(name, ".ko"); i >= 0 {
		name = name[:i]
	}
	return strings.ReplaceAll(name, "-", "_")
}

// ReadIndex reads modules.dep, modules.alias, modules.softdep and
// modules.builtin in dir. Only modules.dep must be there.
func ReadIndex(dir string) (*Index, error) {
	texts := make(map[string]string)
	for _, name := range []string{"modules.dep", "modules.alias", "modules.softdep", "modules.builtin"} {
		data, err := keep.Read(filepath.Join(dir, name), maxIndexFile)
		if err != nil && name == "modules.dep" {
			return nil, fmt.Errorf("module index: %w", err)
		}
		texts[name] = string(data)
	}
	x, err := NewIndex(texts["modules.dep"], texts["modules.alias"], texts["modules.softdep"], texts["modules.builtin"])
	if err != nil {
		return nil, fmt.Errorf("module index %s: %w", dir, err)
	}
	x.dir = dir
	return x, nil
}

// NewIndex makes an index from the text of depmod's files.
func NewIndex(dep, alias, softdep, builtin string) (*Index, error) {
	x := &Index{modules: make(map[string]*module), builtin: make(map[string]bool), aliases: NewAliases()}
	if err := x.readDep(dep); err != nil {
		return nil, err
	}
	for line := range strings.Lines(builtin) {
		if line = strings.TrimSpace(line); line != "" {
			x.builtin[Name(line)] = true
		}
	}
	x.readAlias(alias)
	x.readSoftdep(softdep)
	if err := x.checkOrder(); err != nil {
		return nil, err
	}
	return x, nil
}

// readDep reads modules.dep: "FILE: FILE…", paths relative to the folder.
func (x *Index) readDep(text string) error {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		file, deps, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("modules.dep:%d: no colon in %.60q", n, line)
		}
		if !filepath.IsLocal(file) {
			return fmt.Errorf("modules.dep:%d: %.60q leaves the module folder", n, file)
		}
		m := &module{name: Name(file), file: file}
		for _, dep := range strings.Fields(deps) {
			if name := Name(dep); name != m.name {
				m.hard = append(m.hard, name)
			}
		}
		x.modules[m.name] = m
	}
	return nil
}

// readAlias reads modules.alias: "alias PATTERN MODULE". Lines of another
// form are left out, as kmod does.
func (x *Index) readAlias(text string) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "alias ")
		if !ok {
			continue
		}
		i := strings.LastIndexByte(rest, ' ')
		if i <= 0 {
			continue
		}
		x.aliases.Add(strings.TrimSpace(rest[:i]), Name(rest[i+1:]))
	}
}

// readSoftdep reads modules.softdep: "softdep MODULE pre: A B post: C".
func (x *Index) readSoftdep(text string) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "softdep" {
			continue
		}
		m := x.modules[Name(words[1])]
		if m == nil {
			continue
		}
		var list *[]string
		for _, word := range words[2:] {
			switch {
			case word == "pre:":
				list = &m.pre
			case word == "post:":
				list = &m.post
			case list != nil:
				*list = append(*list, x.Resolve(word)...)
			}
		}
	}
}

// Resolve returns the loadable modules that a name or alias stands for;
// nothing when it is built in or unknown. A soft dependency may name a crypto
// algorithm, such as crc32c, instead of a module.
func (x *Index) Resolve(name string) []string {
	own := Name(name)
	if x.modules[own] != nil {
		return []string{own}
	}
	if x.builtin[own] {
		return nil
	}
	if found := x.Match(name); len(found) > 0 {
		return found
	}
	// Aliases are written with dashes; who asks may have written underscores,
	// which are the same to modprobe(8).
	return x.Match(strings.ReplaceAll(name, "_", "-"))
}

// Has reports whether the kernel has a module or feature called name: in the
// folder, built in, or by alias.
func (x *Index) Has(name string) bool {
	return x.builtin[Name(name)] || len(x.Resolve(name)) > 0
}

// Match lists the loadable modules that serve a modalias.
func (x *Index) Match(modalias string) []string {
	return slices.DeleteFunc(x.aliases.Match(modalias), func(m string) bool { return x.modules[m] == nil })
}

// Len is the number of loadable modules.
func (x *Index) Len() int { return len(x.modules) }

// checkOrder makes sure that following dependencies ends: modules wait for
// their dependencies, so a circle would wait for ever. depmod writes no
// circle of hard dependencies; one is an error. A soft dependency that closes
// a circle is dropped, as kmod does.
func (x *Index) checkOrder() error {
	names := slices.Sorted(maps.Keys(x.modules))
	for _, name := range names {
		for _, dep := range x.modules[name].hard {
			if x.modules[dep] == nil {
				return fmt.Errorf("modules.dep: %s needs %s, which is not listed", name, dep)
			}
		}
	}
	const (
		fresh = iota
		open
		done
	)
	state := make(map[string]int, len(names))
	var visit func(name string) error
	visit = func(name string) error {
		state[name] = open
		for _, dep := range x.modules[name].hard {
			switch state[dep] {
			case open:
				return fmt.Errorf("modules.dep: %s and %s need each other", name, dep)
			case fresh:
				if err := visit(dep); err != nil {
					return err
				}
			}
		}
		state[name] = done
		return nil
	}
	for _, name := range names {
		if state[name] == fresh {
			if err := visit(name); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		m := x.modules[name]
		wanted := m.pre
		m.pre = nil
		for _, dep := range wanted {
			if !x.reaches(dep, name, make(map[string]bool)) {
				m.pre = append(m.pre, dep)
			}
		}
	}
	return nil
}

// reaches reports whether loading from waits for to.
func (x *Index) reaches(from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	m := x.modules[from]
	for _, list := range [][]string{m.hard, m.pre} {
		for _, dep := range list {
			if x.reaches(dep, to, seen) {
				return true
			}
		}
	}
	return false
}
