package main

import (
	"errors"
	"fmt"
	"io/fs"

	"weft/builder"
	"weft/builder/apt"
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
		Use:   "lock",
		Short: "Pin the Debian packages of a build, or take newer ones",
		Long: `Pin the Debian packages that a board needs, in the newest versions its suite
has. A lock can serve several boards: entries of packages that this board does
not need stay as they are. Nothing but indexes is fetched.

weft build makes a lock by itself when there is none.`,
		Example: `  weft lock --board x86-64 --lock weft.lock
  weft lock --board x86-64 --lock weft.lock --update`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.plan(t)
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
			if old != nil && !update {
				if _, _, err := old.Select(builder.Request(p)); err == nil {
					fmt.Fprintf(a.out, "%s pins all that %s needs; --update takes newer versions\n", s.lock, p.Board.Name)
					return nil
				}
			}
			lock, err := builder.Relock(cmd.Context(), source, old, p)
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
