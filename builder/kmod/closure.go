package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Closure returns the named modules with everything they need: what they
// depend on, and what their softdeps and weakdeps ask for, as far as this
// kernel has it. Names may be written with "-" or "_"; modules that are built
// in are members too.
//
// A module that is not there is a [*MissingError]; all of them are reported,
// joined. A softdep that cannot be fulfilled is only noted, as modprobe does.
func (k *Kernel) Closure(names ...string) (Set, error) {
	c := k.newClosure()
	var wave []need
	for _, name := range names {
		wave = append(wave, need{name: normalise(name), how: Asked})
	}
	if err := c.require(wave); err != nil {
		return Set{}, err
	}
	if err := c.wishes(); err != nil {
		return Set{}, err
	}
	return c.set()
}

// requirements is the closure without softdeps and weakdeps: what must be
// there for the module to load at all.
func (k *Kernel) requirements(name string) error {
	return k.newClosure().require([]need{{name: normalise(name), how: Asked}})
}

// A need is one edge of the graph: a module, and who wants it and how.
type need struct {
	name string
	how  How
	by   string
}

// closure is a set in the making.
type closure struct {
	kernel *Kernel
	// members are in the order of arrival, at is their place by name.
	members []Member
	at      map[string]int
	infos   map[string]*info
	// before are the wishes about order: for each module, those its own or
	// their softdeps want loaded before it.
	before map[string][]string
	notes  []string
}

func (k *Kernel) newClosure() *closure {
	return &closure{kernel: k, at: map[string]int{}, infos: map[string]*info{}, before: map[string][]string{}}
}

// require adds the modules of wave and all they depend on, breadth first, so
// that each member is explained by a shortest chain.
func (c *closure) require(wave []need) error {
	var missing []error
	for len(wave) > 0 {
		slices.SortStableFunc(wave, func(a, b need) int { return strings.Compare(a.name, b.name) })
		fresh, absent := c.admit(wave)
		missing = append(missing, absent...)
		if err := c.describe(fresh); err != nil {
			return err
		}
		wave = nil
		for _, name := range fresh {
			for _, d := range c.infos[name].depends {
				wave = append(wave, need{name: d, how: Depends, by: name})
			}
		}
	}
	return errors.Join(missing...)
}

// admit makes members of those needs that are not members yet, and returns
// their names and an error for each module that is not there.
func (c *closure) admit(wave []need) (fresh []string, missing []error) {
	absent := map[string]bool{}
	for _, n := range wave {
		if _, ok := c.at[n.name]; ok || absent[n.name] {
			continue
		}
		if !c.kernel.Has(n.name) {
			absent[n.name] = true
			missing = append(missing, c.kernel.missing(n.name, append(c.chain(n.by), n.name)))
			continue
		}
		m := Member{Name: n.name, How: n.how, By: n.by, Path: c.kernel.modules[n.name]}
		if c.kernel.Builtin(n.name) {
			m.Builtin, m.Path = true, c.kernel.builtin.paths[n.name]
		}
		c.at[n.name] = len(c.members)
		c.members = append(c.members, m)
		fresh = append(fresh, n.name)
	}
	return fresh, missing
}

// chain returns the members that lead to name, from the one asked for on.
func (c *closure) chain(name string) []string {
	var chain []string
	for name != "" {
		chain = append(chain, name)
		name = c.members[c.at[name]].By
	}
	slices.Reverse(chain)
	return chain
}

// describe reads what the named members say about themselves.
func (c *closure) describe(names []string) error {
	var loadable []string
	for _, name := range names {
		if c.members[c.at[name]].Builtin {
			c.infos[name] = &info{}
			if i := c.kernel.builtin.infos[name]; i != nil {
				c.infos[name] = i
			}
			continue
		}
		loadable = append(loadable, name)
	}
	infos, err := c.kernel.load(loadable)
	if err != nil {
		return err
	}
	for _, name := range loadable {
		c.infos[name] = infos[name]
		m := &c.members[c.at[name]]
		m.Depends = slices.Compact(slices.Sorted(slices.Values(infos[name].depends)))
	}
	return nil
}

// wishes follows softdeps and weakdeps of all members, and of the members
// these bring in.
func (c *closure) wishes() error {
	for next := 0; next < len(c.members); next++ {
		m := c.members[next]
		i := c.infos[m.Name]
		for _, list := range []struct {
			how   How
			names []string
			order func(m, other string)
		}{
			{Softdep, i.pre, func(m, other string) { c.before[m] = append(c.before[m], other) }},
			{Softdep, i.post, func(m, other string) { c.before[other] = append(c.before[other], m) }},
			{Weakdep, i.weak, func(string, string) {}},
		} {
			for _, name := range list.names {
				added, err := c.wish(need{name: name, how: list.how, by: m.Name})
				if err != nil {
					return err
				}
				for _, other := range added {
					list.order(m.Name, other)
				}
			}
		}
	}
	return nil
}

// wish adds the modules that a softdep or weakdep stands for, if they are
// there with all they depend on, and returns their names.
func (c *closure) wish(n need) ([]string, error) {
	providers, err := c.kernel.providers(n.name)
	if err != nil {
		return nil, err
	}
	if len(providers) == 0 {
		c.notes = append(c.notes, fmt.Sprintf("%s wants %s (%s), which kernel %s does not have", n.by, n.name, n.how, c.kernel.Release))
		return nil, nil
	}
	var added []string
	for _, name := range providers {
		err := c.kernel.requirements(name)
		if missing := new(MissingError); errors.As(err, &missing) {
			c.notes = append(c.notes, fmt.Sprintf("%s wants %s (%s), left out: %s", n.by, name, n.how, missing))
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := c.require([]need{{name: name, how: n.how, by: n.by}}); err != nil {
			return nil, err
		}
		added = append(added, name)
	}
	return added, nil
}

// set puts the members in order and measures their files.
func (c *closure) set() (Set, error) {
	s := Set{kernel: c.kernel, index: map[string]int{}, infos: c.infos, notes: c.notes}
	for _, name := range c.order() {
		m := c.members[c.at[name]]
		if !m.Builtin {
			info, err := fs.Stat(c.kernel.fsys, c.kernel.ModulesDir+"/"+m.Path)
			if err != nil {
				return Set{}, fmt.Errorf("module %s: %w", m.Path, err)
			}
			m.Size = info.Size()
		}
		s.index[m.Name] = len(s.members)
		s.members = append(s.members, m)
	}
	return s, nil
}
