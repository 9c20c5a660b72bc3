// Package rules holds what profiles and clusters must keep to become a network
// that works: every rule as data, with its reason, its source and two
// examples, and a function that finds what breaks it.
//
// The rules about the form of a file are in package document, those about the
// node and netd in package profiles, and those about hardware in package
// boards, because init, netd and the builder need them without the rest; they
// are explained here too. This package reads files that others refer to, and
// touches nothing else.
package rules

import (
	"slices"
	"strings"

	"weft/document"
)

// A Rule is one promise.
type Rule struct {
	// ID is what messages, overrides and the documentation call it.
	ID string
	// Title says in one sentence what holds.
	Title string
	// Level is the level of what the rule finds. A rule of level Error may
	// find warnings too.
	Level document.Level
	// Severity says when it is an error and when a warning, where that
	// depends on something; else it is empty.
	Severity string
	// Why says what happens when it is broken.
	Why string
	// Source says where that is known from: a standard, a program's source, a
	// measurement, a report.
	Source string
	// Since and Until are the first version of Kubernetes it holds for and
	// the first it holds for no more; empty for no bound.
	Since, Until string
	// Bad breaks the rule, Good just does not.
	Bad, Good Example
	// node finds what breaks the rule on one node, whole what breaks it in a
	// profile or cluster as a whole. A rule without both is checked in
	// another package.
	node  func(*Node) document.Problems
	whole func(*Subject) document.Problems
}

// An Example is a part of a profile, and of a cluster that has it.
type Example struct {
	// Profile and Cluster are YAML.
	Profile, Cluster string
	// Lock is the lock of the cluster, for rules about what may not change.
	Lock string
	// Facts are what is known of the hardware and the image.
	Facts Facts
}

// Level and version, as a person says it.
func (r Rule) severity() string {
	text := r.Severity
	if text == "" {
		text = r.Level.String()
	}
	switch {
	case r.Since != "" && r.Until != "":
		text += ", for Kubernetes " + r.Since + " to before " + r.Until
	case r.Since != "":
		text += ", for Kubernetes from " + r.Since
	case r.Until != "":
		text += ", for Kubernetes before " + r.Until
	}
	return text
}

// SeverityText says when the rule is an error and when a warning.
func (r Rule) SeverityText() string { return r.severity() }

// All lists the rules in the order of their ids: by letters, then by number.
func All() []Rule {
	all := slices.Concat(formRules(), keyRules(), addressRules(), familyRules(), subnetRules(), backendRules(),
		underlayRules(), egressRules(), nameRules(), pluginRules(), rke2Rules(), serverRules(), hardwareRules(),
		systemRules(), ownRules(), boardRules())
	slices.SortFunc(all, func(a, b Rule) int { return compareIDs(a.ID, b.ID) })
	return all
}

// compareIDs orders B2 before B10.
func compareIDs(a, b string) int {
	la, lb := strings.TrimRight(a, "0123456789"), strings.TrimRight(b, "0123456789")
	if la != lb {
		return strings.Compare(la, lb)
	}
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// Find returns the rule with an id; letter case does not count.
func Find(id string) (Rule, bool) {
	for _, r := range All() {
		if strings.EqualFold(r.ID, id) {
			return r, true
		}
	}
	return Rule{}, false
}

// IDs lists the ids of all rules.
func IDs() []string {
	var ids []string
	for _, r := range All() {
		ids = append(ids, r.ID)
	}
	return ids
}
