package apt

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"weft/builder/apt/fault"
)

// maxClosure bounds the packages that one package leads to; charon needs
// about 20.
const maxClosure = 256

// Closure returns the package called name and all that it needs to run, sorted
// by name: Pre-Depends and Depends, theirs, and so on. Of alternatives, one
// that is there already is taken, or else the first that the suite has; of
// packages that provide a virtual one, the first by name. Nothing is said
// about packages named in without: whoever names them knows that they are not
// needed.
func (x *Index) Closure(name string, without []string) ([]Package, error) {
	first, err := x.Package(name)
	if err != nil {
		return nil, err
	}
	all := []Package{first}
	for i := 0; i < len(all); i++ {
		for _, choice := range all[i].Depends {
			if slices.ContainsFunc(choice, func(r Relation) bool { return slices.Contains(without, r.Name) }) ||
				slices.ContainsFunc(all, func(p Package) bool { return p.satisfies(choice) }) {
				continue
			}
			p, err := x.choose(choice)
			if err != nil {
				return nil, &fault.Error{Kind: fault.UnknownPackage, File: "package " + all[i].Name,
					Reason: "what it depends on is missing", Err: err, Fix: "the mirror may be in the middle of an update: try again later"}
			}
			all = append(all, p)
		}
		if len(all) > maxClosure {
			return nil, fault.New(fault.Malformed, "package "+name,
				fmt.Sprintf("it leads to more than %d packages", maxClosure), "name a package that needs less")
		}
	}
	slices.SortFunc(all, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// satisfies tells whether the package is what a dependency asks for, by its
// name or as what it provides.
func (p Package) satisfies(choice Dependency) bool {
	return slices.ContainsFunc(choice, func(r Relation) bool {
		return p.Name == r.Name && r.allows(p.Version) ||
			slices.ContainsFunc(p.Provides, func(v Relation) bool { return v.Name == r.Name && r.providedBy(v) })
	})
}

// providedBy tells whether a provided name will do: one without a version is
// none of any version (Debian Policy 7.5).
func (r Relation) providedBy(v Relation) bool {
	return r.Op == "" || v.Op == "=" && r.allows(v.Version)
}

// choose is the first package of the suite that a dependency can be met by.
func (x *Index) choose(choice Dependency) (Package, error) {
	var names []string
	for _, r := range choice {
		if p, err := x.Package(r.Name); err == nil && r.allows(p.Version) {
			return p, nil
		}
		if p, found := x.provider(r); found {
			return p, nil
		}
		names = append(names, strings.TrimSpace(r.Name+" "+r.Op+" "+r.Version))
	}
	return Package{}, fault.New(fault.UnknownPackage, "package "+strings.Join(names, " or "),
		fmt.Sprintf("suite %s has none for %s", x.suite, x.arch), "check the suite and the components of the board file")
}

// provider is the first package by name that provides what r asks for.
func (x *Index) provider(r Relation) (Package, bool) {
	var names []string
	for _, part := range x.parts {
		for at := 0; ; {
			next := bytes.Index(part.text[at:], []byte("\nProvides: "))
			if next < 0 {
				break
			}
			at += next + 1
			line, _, _ := bytes.Cut(part.text[at:], []byte("\n"))
			if !bytes.Contains(line, []byte(r.Name)) {
				continue
			}
			// The stanza begins with the name.
			begin := bytes.LastIndex(part.text[:at], []byte("\n\nPackage: ")) + len("\n\nPackage: ")
			name, _, _ := bytes.Cut(part.text[begin:], []byte("\n"))
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if p, err := x.Package(name); err == nil && p.satisfies(Dependency{r}) {
			return p, true
		}
	}
	return Package{}, false
}

// Closure returns what the lock has for the closures of a request, each
// package once, sorted by name. A package the lock does not have is a fault
// of kind NotLocked; that the closure is complete is known only once its
// files are looked at.
func (l *Lock) Closure(r Request) ([]Entry, error) {
	var found []Entry
	for _, root := range r.Closures {
		there := false
		for _, e := range l.Packages {
			if e.Arch != r.Arch || e.Suite != r.Suite || e.Name != root && !slices.Contains(e.For, root) {
				continue
			}
			there = there || e.Name == root
			if !slices.ContainsFunc(found, func(f Entry) bool { return f.Name == e.Name }) {
				found = append(found, e)
			}
		}
		if !there {
			return nil, l.missing(root, r)
		}
	}
	sortEntries(found)
	return found, nil
}
