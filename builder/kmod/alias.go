package kmod

import (
	"path"
	"slices"
	"strings"
)

// aliasTable finds modules by the names they answer to beside their own. The
// zero value is empty.
type aliasTable struct {
	exact    map[string][]string
	patterns []aliasPattern
}

// aliasPattern is an alias with wildcards, as those of drivers for devices.
type aliasPattern struct {
	pattern string
	module  string
}

// add notes that module answers to alias.
func (t *aliasTable) add(alias, module string) {
	alias = normaliseAlias(alias)
	if strings.ContainsAny(alias, "*?[") {
		t.patterns = append(t.patterns, aliasPattern{alias, module})
		return
	}
	if t.exact == nil {
		t.exact = map[string][]string{}
	}
	t.exact[alias] = append(t.exact[alias], module)
}

// find returns the modules that answer to name, sorted.
func (t *aliasTable) find(name string) []string {
	name = normaliseAlias(name)
	found := slices.Clone(t.exact[name])
	for _, p := range t.patterns {
		// A malformed pattern matches nothing, as for fnmatch(3).
		if ok, err := path.Match(p.pattern, name); ok && err == nil {
			found = append(found, p.module)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// normaliseAlias makes "-" and "_" equal, except between brackets, where "-"
// is a range (libkmod-util.c, alias_normalize).
func normaliseAlias(alias string) string {
	inside := false
	return strings.Map(func(r rune) rune {
		switch {
		case r == '[':
			inside = true
		case r == ']':
			inside = false
		case r == '-' && !inside:
			return '_'
		}
		return r
	}, alias)
}

// providers returns the modules that a softdep's word stands for: the module
// of that name, or those that answer to it as an alias. Crypto algorithms are
// asked for by alias: libcrc32c asks for "crc32c", which crc32c_generic and
// crc32c_intel are. None is no error.
//
// What is built in is known without reading a module. Then come the folders
// where algorithms live, and only for a name not found there all others.
func (k *Kernel) providers(name string) ([]string, error) {
	name = normalise(name)
	if k.Has(name) {
		return []string{name}, nil
	}
	if found := k.builtin.aliases.find(name); len(found) > 0 {
		return found, nil
	}
	for _, scope := range []struct {
		name string
		has  func(file string) bool
	}{
		{"algorithms", holdsAlgorithms},
		{"all", func(string) bool { return true }},
	} {
		table, err := k.aliasesOf(scope.name, scope.has)
		if err != nil {
			return nil, err
		}
		if found := table.find(name); len(found) > 0 {
			return found, nil
		}
	}
	return nil, nil
}

// holdsAlgorithms says whether a module's path is in one of the folders of
// crypto algorithms and checksums.
func holdsAlgorithms(file string) bool {
	parts := strings.Split(file, "/")
	if len(parts) < 3 || parts[0] != "kernel" {
		return false
	}
	switch parts[1] {
	case "crypto", "lib":
		return true
	case "arch":
		return len(parts) > 4 && (parts[3] == "crypto" || parts[3] == "lib")
	}
	return false
}

// aliasesOf returns the aliases of all modules whose path passes has, reading
// them at the first call for each scope.
func (k *Kernel) aliasesOf(scope string, has func(file string) bool) (aliasTable, error) {
	k.mu.Lock()
	table, known := k.scopes[scope]
	k.mu.Unlock()
	if known {
		return table, nil
	}
	var names []string
	for name, file := range k.modules {
		if has(file) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	infos, err := k.load(names)
	if err != nil {
		return aliasTable{}, err
	}
	for _, name := range names {
		for _, alias := range infos[name].aliases {
			table.add(alias, name)
		}
	}
	k.mu.Lock()
	k.scopes[scope] = table
	k.mu.Unlock()
	return table, nil
}
