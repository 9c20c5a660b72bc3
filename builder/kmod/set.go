package kmod

import (
	"slices"
	"strings"
)

// How says by what a module came into a set.
type How string

// The ways into a set.
const (
	// Asked is a module given to [Kernel.Closure].
	Asked How = "asked"
	// Depends is one whose symbols another uses (depends=).
	Depends How = "depends"
	// Softdep is one another wants beside it (softdep=).
	Softdep How = "softdep"
	// Weakdep is one another asks the kernel for at run time (weakdep=).
	Weakdep How = "weakdep"
)

// A Member is one module of a [Set].
type Member struct {
	// Name is the module's name, with underscores.
	Name string
	// Path is its file below [Kernel.ModulesDir], as packaged, such as
	// kernel/drivers/net/vxlan/vxlan.ko.xz. For a built-in module it is the
	// path in modules.builtin, where no file is.
	Path string
	// Builtin says that it is part of the kernel itself.
	Builtin bool
	// Size is the size of the file as packaged, in bytes; 0 when built in.
	Size int64
	// How and By say why it is in the set: the kind of the need and the
	// member that has it, empty for those asked for.
	How How
	By  string
	// Depends are the modules it depends on directly, sorted.
	Depends []string
}

// A Set is a number of modules with all they need. The zero value is empty.
type Set struct {
	kernel  *Kernel
	members []Member
	index   map[string]int // into members, by name
	infos   map[string]*info
	notes   []string
}

// Members returns all modules, each after those it depends on and those its
// softdeps want before it. The order depends on nothing but the names.
func (s Set) Members() []Member { return slices.Clone(s.members) }

// Loadable returns the members that are files, in the order of Members.
func (s Set) Loadable() []Member {
	return slices.DeleteFunc(s.Members(), func(m Member) bool { return m.Builtin })
}

// Member returns the named module of the set.
func (s Set) Member(name string) (Member, bool) {
	i, ok := s.index[normalise(name)]
	if !ok {
		return Member{}, false
	}
	return s.members[i], true
}

// Notes are what a person may want to know but need not act on: softdeps that
// this kernel cannot fulfil.
func (s Set) Notes() []string { return slices.Clone(s.notes) }

// Size is the size of all files as packaged, in bytes.
func (s Set) Size() int64 {
	var sum int64
	for _, m := range s.members {
		sum += m.Size
	}
	return sum
}

// Why says how the named module came into the set, from the module asked for
// on, such as "vxlan -> ip6_udp_tunnel". A softdep or weakdep stands in
// parentheses behind the module it brought in.
func (s Set) Why(name string) string {
	var chain []string
	for m, ok := s.Member(name); ok; m, ok = s.Member(m.By) {
		link := m.Name
		if m.How == Softdep || m.How == Weakdep {
			link += " (" + string(m.How) + ")"
		}
		chain = append(chain, link)
	}
	slices.Reverse(chain)
	return strings.Join(chain, " -> ")
}

// dependencies returns all modules that the named one depends on, directly or
// not, in the order of the set; of those built in, none.
func (s Set) dependencies(name string) []Member {
	needed := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		m, ok := s.Member(name)
		if !ok {
			return
		}
		for _, d := range m.Depends {
			if !needed[d] {
				needed[d] = true
				visit(d)
			}
		}
	}
	visit(name)
	delete(needed, name) // a cycle leads back
	var list []Member
	for _, m := range s.members {
		if needed[m.Name] && !m.Builtin {
			list = append(list, m)
		}
	}
	return list
}
