package kmod

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"weft/profiles"
)

// State says how a kernel has what is needed.
type State string

// The states of a need.
const (
	Module  State = "module"  // a loadable module, with all it depends on
	BuiltIn State = "builtin" // part of the kernel itself
	Missing State = "missing" // not there, or not whole
	Absent  State = "absent"  // not there, and not missed
)

// A Finding is what a kernel has to say about one need of a contract.
type Finding struct {
	// Need is what was asked.
	Need profiles.ModuleNeed
	// State is the answer.
	State State
	// By are the modules that meet the need: those of the first of its ways
	// that is there whole. It is empty when none is, or when the kernel has
	// the feature without a module of that name.
	By []string
	// Detail says where the module is, or in a sentence what is wrong.
	Detail string
	// Lack is the part of Detail that does not repeat the need: what the
	// kernel does not have. It is empty when nothing is missing.
	Lack string
	// Fix says what would bring a missing one; empty for the others.
	Fix string
}

// OK says whether the need is met.
func (f Finding) OK() bool { return f.State != Missing }

// Check compares a kernel with a contract. It returns one finding for each
// need, in the order of the contract. Dependencies are followed: a module
// that lacks one counts as missing.
func Check(k *Kernel, contract profiles.Contract) []Finding {
	findings := make([]Finding, 0, len(contract.Modules))
	for _, need := range contract.Modules {
		findings = append(findings, k.check(need))
	}
	return findings
}

// Unmet returns those findings that are missing.
func Unmet(findings []Finding) []Finding {
	var unmet []Finding
	for _, f := range findings {
		if !f.OK() {
			unmet = append(unmet, f)
		}
	}
	return unmet
}

// check looks for one need: for the first of its ways that is there whole.
func (k *Kernel) check(need profiles.ModuleNeed) Finding {
	var first error
	for _, way := range need.Ways() {
		state, detail, err := k.way(way)
		if err == nil {
			f := Finding{Need: need, State: state, Detail: detail}
			if state == Module || k.Builtin(normalise(way.Name)) {
				f.By = way.Modules()
			}
			return f
		}
		if first == nil {
			first = err
		}
	}
	if need.Optional {
		return Finding{Need: need, State: Absent, Detail: "not there, and not missed"}
	}
	return k.unmet(need, first)
}

// way looks for one way to meet a need.
func (k *Kernel) way(way profiles.Alternative) (state State, detail string, err error) {
	for _, other := range way.With {
		if err := k.requirements(other); err != nil {
			return Missing, "", err
		}
	}
	name := normalise(way.Name)
	switch {
	case k.Builtin(name):
		return BuiltIn, "built in", nil
	case k.modules[name] == "" && way.Config != "" && k.Config.Value(way.Config) == "y":
		// modules.builtin lists what could have been a module; parts that
		// are always built in are known by their symbol alone.
		return BuiltIn, way.Config + "=y", nil
	}
	if err := k.requirements(name); err != nil {
		return Missing, "", err
	}
	return Module, k.modules[name], nil
}

// unmet explains why a need is not met.
func (k *Kernel) unmet(need profiles.ModuleNeed, err error) Finding {
	f := Finding{Need: need, State: Missing}
	because := fmt.Sprintf("; %s needs it: %s", need.Path, strings.TrimSuffix(need.Reason, "."))
	missing := new(MissingError)
	if !errors.As(err, &missing) {
		f.Lack = err.Error()
		f.Detail = f.Lack + because
		f.Fix = "unpack the kernel package again, or take kernel and modules from one build"
		return f
	}
	config := missing.Config
	if len(missing.Chain) <= 1 && need.Config != "" {
		config = k.Config.State(need.Config)
	}
	f.Lack = fmt.Sprintf("kernel %s has no module %s", k.Release, missing.Name)
	if len(missing.Chain) > 1 {
		f.Lack = fmt.Sprintf("kernel %s has module %s but not what it depends on: %s is missing (%s)",
			k.Release, normalise(need.Name), missing.Name, strings.Join(missing.Chain, " -> "))
	}
	if config != "" {
		f.Lack += fmt.Sprintf(": %s in %s", config, k.Release)
	}
	for _, other := range need.Any {
		f.Lack += ", nor " + other.Name + " instead"
	}
	f.Detail = f.Lack + because
	f.Fix = k.fix(need, missing, config)
	return f
}

// fix says what would bring a missing module.
func (k *Kernel) fix(need profiles.ModuleNeed, missing *MissingError, config string) string {
	if missing.Near != "" && need.Config == "" {
		return fmt.Sprintf("did you mean %s? Else %s", missing.Near, change(need))
	}
	if strings.HasSuffix(config, "=m") {
		return fmt.Sprintf("the kernel was built with it, so its file is in a package that is not here: add that package (linux-modules-extra-%s, kernel-modules-extra or the like), or use a kernel that comes whole%s",
			k.Release, k.others())
	}
	if len(missing.Chain) > 1 {
		return fmt.Sprintf("add the package or folder that holds %s, or use a kernel that comes whole%s; or %s",
			missing.Name, k.others(), change(need))
	}
	wanted := "with this module"
	if need.Config != "" {
		wanted = "with " + need.Config + "=m"
	}
	return fmt.Sprintf("use a kernel %s%s; or %s", wanted, k.others(), change(need))
}

// change says which line of the profile asks for a need.
func change(need profiles.ModuleNeed) string {
	switch {
	case need.Path == "modules" || strings.HasPrefix(need.Path, "modules["):
		return "take " + need.Name + " out of modules"
	case need.Path == "network.backend.type":
		return "choose another backend (network.backend.type)"
	case need.Path == "":
		return "use a profile without it"
	default:
		return "change " + need.Path
	}
}

// others names kernels of Debian that have more than this one. Its general
// kernel is its fullest, so for that there is none to name.
func (k *Kernel) others() string {
	switch {
	case strings.HasSuffix(k.Release, "-cloud-"+k.Arch):
		return fmt.Sprintf(", such as the package linux-image-%s", k.Arch)
	case strings.Contains(k.Release, "+deb") && strings.HasSuffix(k.Release, "-"+k.Arch):
		return ", such as a newer one from backports"
	default:
		return fmt.Sprintf(", such as the package linux-image-cloud-%s or linux-image-%s of trixie", k.Arch, k.Arch)
	}
}

// WriteTable writes findings for people: a line for each, and below them what
// is wrong with those that are missing and what would bring them.
func WriteTable(w io.Writer, findings []Finding) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MODULE\tHERE\tSYMBOL\tASKED BY\tWHY")
	for _, f := range findings {
		symbol := f.Need.Config
		if symbol == "" {
			symbol = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", f.Need.Name, f.State.answer(), symbol, f.Need.Path, f.Need.Reason)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, f := range Unmet(findings) {
		if _, err := fmt.Fprintf(w, "\n%s: %s\nfix: %s\n", f.Need.Name, f.Detail, f.Fix); err != nil {
			return err
		}
	}
	return nil
}

// answer is a state as yes or no.
func (s State) answer() string {
	switch s {
	case Module:
		return "yes, module"
	case BuiltIn:
		return "yes, built in"
	case Absent:
		return "no, optional"
	default:
		return "no"
	}
}
