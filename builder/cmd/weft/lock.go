package main

import (
	"errors"
	"fmt"
	"io/fs"

	"weft/builder"
	"weft/builder/apt"
	"weft/builder/apt/fault"
	"weft/builder/plan"
	"weft/document"

	"github.com/spf13/cobra"
)

// lockCommand is weft lock.
func (a *app) lockCommand() *cobra.Command {
	var (
		t      target
		s      supply
		update bool
	)
	cmd := &cobra.Command{
		Use:   "lock [CLUSTER.yaml]",
		Short: "Pin the Debian packages of a build, or take newer ones",
		Long: `Pin the Debian packages that a board, or all boards of a cluster file need, in
the newest versions their suites have. A lock can serve several boards, also of
different architectures: entries of packages that these do not need stay as
they are. Nothing but indexes is fetched.

weft build makes a lock by itself when there is none.`,
		Example: `  weft lock --board x86-64 --lock weft.lock
  weft lock --board x86-64 --lock weft.lock --update
  weft lock home.yaml --lock out/weft.lock`,
		Args:              clusterFile,
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			plans, name, err := a.lockedPlans(cmd, args, t)
			if err != nil {
				return err
			}
			source, _, _, err := a.source(s)
			if err != nil {
				return err
			}
			old, err := readLock(s.lock)
			if err != nil {
				return err
			}
			if !update && builder.Pins(old, plans...) {
				fmt.Fprintf(a.out, "%s pins all that %s needs; --update takes newer versions\n", s.lock, name)
				return nil
			}
			lock, err := builder.Relock(cmd.Context(), source, old, plans...)
			if err != nil {
				return err
			}
			if err := builder.WriteLock(s.lock, lock); err != nil {
				return err
			}
			a.reportLock(old, lock)
			return nil
		},
	}
	t.flags(cmd)
	s.flags(cmd, "file that pins the packages")
	cmd.Flags().Lookup("lock").DefValue = "weft.lock"
	s.lock = "weft.lock"
	cmd.Flags().BoolVar(&update, "update", false, "take newer versions of what is pinned already")
	return cmd
}

// lockedPlans are what a lock is for, and its name for people: the plan of the
// flags, or those of a cluster file.
func (a *app) lockedPlans(cmd *cobra.Command, args []string, t target) ([]plan.Plan, string, error) {
	if len(args) == 0 {
		p, err := a.plan(t)
		return []plan.Plan{p}, p.Board.Name, err
	}
	for _, flag := range []string{"board", "profile"} {
		if cmd.Flags().Changed(flag) {
			return nil, "", usage("--%s: a cluster file has that itself\nsee: weft lock --help", flag)
		}
	}
	f, err := a.newFleet(args[0])
	if err != nil {
		return nil, "", err
	}
	return f.Plans(), args[0], nil
}

// notLocked names the verb that adds to a lock what a build did not find in
// it; what are the arguments that say what is built.
func notLocked(err error, lock, what string) error {
	if !errors.Is(err, fault.NotLocked) {
		return err
	}
	return &fault.Error{Kind: fault.NotLocked, Err: err, Fix: fmt.Sprintf("add it: weft lock %s --lock %s", what, lock)}
}

// readLock returns nil when there is no lock.
func readLock(path string) (*apt.Lock, error) {
	data, err := document.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return apt.ReadLock(path, data)
}

// reportLock says what changed.
func (a *app) reportLock(old, lock *apt.Lock) {
	before := map[string]string{}
	if old != nil {
		for _, e := range old.Packages {
			before[e.Name+" "+e.Arch+" "+e.Suite] = e.Version
		}
	}
	for _, e := range lock.Packages {
		switch was, ok := before[e.Name+" "+e.Arch+" "+e.Suite]; {
		case !ok:
			fmt.Fprintf(a.out, "+ %s %s\n", e.Name, e.Version)
		case was != e.Version:
			fmt.Fprintf(a.out, "~ %s %s, was %s\n", e.Name, e.Version, was)
		default:
			fmt.Fprintf(a.out, "  %s %s\n", e.Name, e.Version)
		}
	}
}
