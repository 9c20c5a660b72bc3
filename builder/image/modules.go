package image

import (
	"errors"
	"fmt"
	"slices"

	"weft/builder/kmod"
	"weft/builder/machine"
	"weft/document"
)

// moduleSets are the modules an image carries.
type moduleSets struct {
	// boot is in the initramfs, root in the root. The root carries the boot
	// modules too: the initramfs is gone after boot, and a disk may be
	// plugged in later.
	boot, root kmod.Set
	// machines are those that the board is, with the device trees that the
	// boot partition has.
	machines []machine.Machine
}

// modules finds the modules the plan needs with all they depend on, and
// checks the contract. Everything missing comes back at once.
func (in Input) modules() (moduleSets, error) {
	p, k := in.Plan, in.Kernel
	if k.Arch != p.Board.Arch {
		return moduleSets{}, document.Problems{
			p.BoardProblem("kernel", fmt.Sprintf("the kernel is for %s and the board is %s", k.Arch, p.Board.Arch)).
				WithFix("name a kernel of the board's architecture"),
		}
	}
	machines, problems, err := machine.Check(p, k, in.Overlays)
	if err != nil {
		return moduleSets{}, err
	}
	wanted := slices.Concat(p.Board.Boot.Load, p.Board.Boot.Drivers, in.known(machine.Boot(machines)))
	boot, errBoot := k.Closure(wanted...)
	wanted = slices.Concat(wanted, p.Board.Drivers, in.known(machine.Modules(machines)))
	findings := kmod.Check(k, p.Contract)
	for _, f := range findings {
		wanted = append(wanted, f.By...)
	}
	root, errRoot := k.Closure(wanted...)
	problems = append(problems, in.contract(findings)...)
	if err := errors.Join(errBoot, errRoot); err != nil {
		// Closure ends at the first fault; people want to see all of them.
		problems = append(problems, in.missing("boot.load", p.Board.Boot.Load)...)
		problems = append(problems, in.missing("boot.drivers", p.Board.Boot.Drivers)...)
		problems = append(problems, in.missing("drivers", p.Board.Drivers)...)
		if len(problems) == 0 {
			return moduleSets{}, err
		}
	}
	if len(problems) > 0 {
		problems.Sort()
		return moduleSets{}, problems
	}
	return moduleSets{boot: boot, root: root, machines: machines}, nil
}

// known are those of the named modules that the kernel has. What does not
// work for want of the others has been told by [machine.Check].
func (in Input) known(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !in.Kernel.Has(name) })
}

// RuleKernel is the rule that the kernel has what the profile asks of it.
const RuleKernel = "D4"

// contract turns what the kernel lacks into problems of the profile's lines.
func (in Input) contract(findings []kmod.Finding) document.Problems {
	var problems document.Problems
	for _, f := range kmod.Unmet(findings) {
		problems = append(problems, in.Plan.ProfileProblem(f.Need.Path, f.Lack).
			WithRule(RuleKernel).WithNote(f.Need.Reason).WithFix(f.Fix))
	}
	for _, f := range kmod.CheckSymbols(in.Kernel, in.Plan.Contract) {
		if !f.OK {
			problems = append(problems, in.Plan.ProfileProblem(f.Need.Path, f.Detail).
				WithRule(RuleKernel).WithNote(f.Need.Reason).WithFix(f.Fix))
		}
	}
	return problems
}

// missing makes a problem for every name of a list in the board file
// that the kernel cannot provide.
func (in Input) missing(path string, names []string) document.Problems {
	var problems document.Problems
	for i, name := range names {
		_, err := in.Kernel.Closure(name)
		var missing *kmod.MissingError
		if errors.As(err, &missing) {
			problems = append(problems, in.Plan.BoardProblem(document.Index(path, i), missing.Error()).
				WithFix("remove the name, or take a kernel that has the module"))
		} else if err != nil {
			problems = append(problems, in.Plan.BoardProblem(document.Index(path, i), err.Error()))
		}
	}
	return problems
}
