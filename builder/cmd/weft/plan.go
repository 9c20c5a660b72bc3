package main

import (
	"errors"
	"fmt"
	"io"

	"weft/boards"
	"weft/builder/plan"
	"weft/document"
	"weft/profiles"
	"weft/profiles/rules"

	"github.com/spf13/cobra"
)

// The board and profile that are built when none is named.
const (
	defaultBoard   = "x86-64-cloud"
	defaultProfile = "vxlan"
)

// A target is what the flags --board and --profile name.
type target struct{ board, profile string }

// flags adds the two flags to cmd.
func (t *target) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.board, "board", defaultBoard, "board: a shipped one's name, or a file")
	cmd.Flags().StringVar(&t.profile, "profile", defaultProfile, "profile: a shipped one's name, or a file")
	complete := func(flag string, names []string) {
		// The flag was just defined, the only reason this can fail.
		_ = cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return names, cobra.ShellCompDirectiveDefault
		})
	}
	complete("board", boards.Names())
	_ = cmd.RegisterFlagCompletionFunc("profile", completeProfiles)
}

// plan reads the board and the profile and resolves them. All that is wrong
// with both comes back at once; warnings are printed.
func (a *app) plan(t target) (plan.Plan, error) {
	for name, kind := range map[string]string{t.board: "board", t.profile: "profile"} {
		if asPath(name) != name {
			continue // a shipped one
		}
		if err := ofKind(name, kind); err != nil {
			return plan.Plan{}, err
		}
	}
	board, boardFile, problems, err := boards.Find(t.board)
	if err != nil {
		return plan.Plan{}, unfound(err)
	}
	profile, profileFile, more, err := profiles.Find(t.profile)
	if err != nil {
		return plan.Plan{}, unfound(err)
	}
	// A board that cannot be read says nothing about the hardware.
	facts := rules.Facts{Arch: board.Arch}
	more = rules.Profile(profile, profileFile, more, rules.Options{Facts: func(string) rules.Facts { return facts }})
	problems = append(problems, more...)
	if err := problems.Errors(); err != nil {
		return plan.Plan{}, problems
	}
	if err := a.warn(problems.Warnings()); err != nil {
		return plan.Plan{}, err
	}
	return plan.New(version, board, boardFile, profile, profileFile), nil
}

// unfound says that a name is no shipped one, or that there is no such file.
func unfound(err error) error {
	var unknown *document.UnknownError
	if errors.As(err, &unknown) {
		return inputError{err}
	}
	return named(err)
}

// warn prints problems that do not stop the work.
func (a *app) warn(problems document.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	return show(problems, a.err)
}

// planCommand is weft plan.
func (a *app) planCommand() *cobra.Command {
	var (
		t      target
		f      planFiles
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "plan [CLUSTER.yaml --node NAME]",
		Short: "Print every value of a build and where it comes from",
		Long: `Print every value of a build and where it comes from: file, line and column,
"default" for what no file sets, "derived" for what follows from the rest.

With --files, print the files that K3s or RKE2 reads on a node instead, as far
as they are known before it boots: for a role, or for the node of a node file.

Of a cluster file, --node names a node: what it is, and the build it gets.

Nothing is fetched and nothing is written.`,
		Example: `  weft plan
  weft plan --profile rke2-cilium --files --role agent
  weft plan --board x86-64 --profile ./my-profile.yaml
  weft plan home.yaml --node pi-2
  weft plan --json | jq '.[] | select(.path | startswith("contract"))'`,
		Args:              clusterFile,
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				for _, flag := range []string{"board", "profile", "files", "role"} {
					if cmd.Flags().Changed(flag) {
						return usage("--%s: a cluster file has that itself\nsee: weft plan --help", flag)
					}
				}
				return a.planNode(args[0], f.node, asJSON)
			}
			for _, flag := range []string{"node", "role"} {
				if cmd.Flags().Changed(flag) && !f.wanted {
					return usage("--%s: of which cluster? Name its file; or add --files, for the files of a node\nsee: weft plan --help", flag)
				}
			}
			p, err := a.plan(t)
			if err != nil {
				return err
			}
			if f.wanted {
				return a.printFiles(p, f, asJSON)
			}
			return a.printValues(p.Values(), asJSON)
		},
	}
	a.identityFlag(cmd)
	t.flags(cmd)
	f.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// planNode prints what a node of a cluster is, and its build.
func (a *app) planNode(file, name string, asJSON bool) error {
	f, err := a.fleet(file)
	if err != nil {
		return err
	}
	if name == "" {
		return usage("which node of %s? name it: --node NAME\nsee: weft plan --help", file)
	}
	i, err := f.Find(name)
	if err != nil {
		return err
	}
	all, err := members(f)
	if err != nil {
		return err
	}
	return a.printValues(append(f.Values(i, all[i]), f.Bases[all[i].Base].Plan.Values()...), asJSON)
}

// printValues prints values and where they come from.
func (a *app) printValues(values []plan.Value, asJSON bool) error {
	if asJSON {
		return writeJSON(a.out, values)
	}
	for _, v := range values {
		if err := writeValue(a.out, v); err != nil {
			return err
		}
	}
	return nil
}

// The width of a terminal, and the column in which origins stand when they
// can.
const (
	lineWidth    = 80
	originColumn = 46
)

// writeValue prints a value and where it comes from on one line if there is
// room, and what it is for on the next.
func writeValue(w io.Writer, v plan.Value) error {
	text := v.Path + " = " + v.Value
	if v.Reason != "" {
		_, err := fmt.Fprintf(w, "%s\n    %s\n    %s\n", text, v.Origin, v.Reason)
		return err
	}
	if max(len(text), originColumn-2)+2+len(v.Origin) > lineWidth {
		text += "\n"
		_, err := fmt.Fprintf(w, "%s%*s%s\n", text, originColumn, "", v.Origin)
		return err
	}
	_, err := fmt.Fprintf(w, "%-*s  %s\n", originColumn-2, text, v.Origin)
	return err
}
