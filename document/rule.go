package document

// A Rule is one promise that files of one kind keep, as data: tables of rules
// can be listed, documented and tested one by one.
type Rule[T any] struct {
	// ID names the rule in messages and in the documentation.
	ID string
	// Level is the level of the problems the rule finds. A rule of level
	// Error may find warnings too.
	Level Level
	// Source says where the rule comes from: a standard, a measurement, the
	// behaviour of a program.
	Source string
	// Check returns what breaks the rule. It touches nothing but its
	// arguments, and need not set the id of the problems.
	Check func(value T, d *Document) Problems
}

// Apply checks value, which was read from d, against all rules.
//
// A place where [Decode] found a fault is not reported again: the value there
// is not what the file says, and what the rules would say about it misleads.
func Apply[T any](rules []Rule[T], value T, d *Document) Problems {
	var all Problems
	seen := map[Problem]bool{}
	for _, r := range rules {
		for _, p := range r.Check(value, d) {
			p.Rule, p.Level = r.ID, max(r.Level, p.Level)
			if !seen[p] && !d.Faulty(p.Position()) {
				seen[p] = true
				all = append(all, p)
			}
		}
	}
	return all
}
