package kmod

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// The files that depmod(8) writes into a modules folder, for the modules of
// one set. Modules come in the order of the set, dependencies first, so a
// reader that loads them line by line needs no graph.

// Dep returns modules.dep: a line for each module with all modules it depends
// on, directly or not, those to load first last (modules.dep(5)). Paths are
// relative to the modules folder. suffix is the ending of the files as they
// are stored, such as ".ko"; with "" they are stored as packaged.
func (s Set) Dep(suffix string) []byte {
	var b strings.Builder
	for _, m := range s.Loadable() {
		b.WriteString(m.StoredAs(suffix) + ":")
		needed := s.dependencies(m.Name)
		slices.Reverse(needed)
		for _, d := range needed {
			b.WriteString(" " + d.StoredAs(suffix))
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// StoredAs returns the path of the member's file below the modules folder,
// when files end in suffix; with "" as packaged.
func (m Member) StoredAs(suffix string) string {
	if suffix == "" {
		return m.Path
	}
	stem, _ := splitSuffix(m.Path)
	return stem + suffix
}

// Alias returns modules.alias: the device ids and other names that each
// module answers to, as the module has them.
func (s Set) Alias() []byte {
	var b strings.Builder
	b.WriteString("# Aliases extracted from modules themselves.\n")
	for _, m := range s.Loadable() {
		for _, alias := range s.infos[m.Name].aliases {
			fmt.Fprintf(&b, "alias %s %s\n", alias, m.Name)
		}
	}
	return []byte(b.String())
}

// Softdep returns modules.softdep.
func (s Set) Softdep() []byte {
	var b strings.Builder
	b.WriteString("# Soft dependencies extracted from modules themselves.\n")
	for _, m := range s.Loadable() {
		for _, softdep := range s.infos[m.Name].softdeps {
			fmt.Fprintf(&b, "softdep %s %s\n", m.Name, softdep)
		}
	}
	return []byte(b.String())
}

// Builtin returns modules.builtin, whole: what is built in is there whatever
// the set is, and who asks for such a module at run time must not be refused.
func (s Set) Builtin() []byte {
	var b strings.Builder
	for _, line := range s.kernel.builtin.lines {
		b.WriteString(line + "\n")
	}
	return []byte(b.String())
}

// Firmware returns the firmware files that the members name, built-in ones
// included, sorted. Names are relative to lib/firmware and may hold
// wildcards, as in brcm/brcmfmac*-sdio.*.bin. Not every file is needed by
// every device. Names that are no clean relative path, such as those that
// linux-libre puts in, can name no file and are left out.
func (s Set) Firmware() []string {
	var names []string
	for _, i := range s.infos {
		for _, name := range i.firmware {
			if fs.ValidPath(name) && path.Base(name) != "." {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
