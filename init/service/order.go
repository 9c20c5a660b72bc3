package service

import (
	"fmt"
	"slices"
	"strings"
)

// needs are all that a service comes after.
func (s Spec) needs() []string { return slices.Concat(s.After, s.Requires) }

// Order sorts services so that each comes after those it needs; services that
// do not need each other keep their order. It refuses a name that is given
// twice, a need that is neither a stage nor a service, and services that need
// each other in a circle.
func Order(specs []Spec, stages []string) ([]Spec, error) {
	byName := make(map[string]Spec, len(specs))
	for _, s := range specs {
		if _, twice := byName[s.Name]; twice || slices.Contains(stages, s.Name) {
			return nil, fmt.Errorf("service %s: the name is taken", s.Name)
		}
		byName[s.Name] = s
	}
	var (
		sorted []Spec
		path   []string // from the first one looked at to the present one
		done   = map[string]bool{}
		visit  func(Spec) error
	)
	visit = func(s Spec) error {
		if done[s.Name] {
			return nil
		}
		if i := slices.Index(path, s.Name); i >= 0 {
			return fmt.Errorf("services wait for each other: %s", strings.Join(append(path[i:], s.Name), " after "))
		}
		path = append(path, s.Name)
		for _, need := range s.needs() {
			other, service := byName[need]
			switch {
			case service:
				if err := visit(other); err != nil {
					return err
				}
			case !slices.Contains(stages, need):
				return fmt.Errorf("service %s comes after %s, which is neither a service nor one of %s", s.Name, need, strings.Join(stages, ", "))
			}
		}
		path = path[:len(path)-1]
		done[s.Name] = true
		sorted = append(sorted, s)
		return nil
	}
	for _, s := range specs {
		if err := visit(s); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}

// dependents lists, for each service, those that need it and so are stopped
// before it.
func dependents(specs []Spec) map[string][]string {
	found := make(map[string][]string)
	for _, s := range specs {
		for _, need := range s.needs() {
			if !slices.Contains(found[need], s.Name) {
				found[need] = append(found[need], s.Name)
			}
		}
	}
	return found
}
