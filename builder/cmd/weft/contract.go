package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"weft/builder"
	"weft/builder/contract"
	"weft/builder/machine"
	"weft/document"

	"github.com/spf13/cobra"
)

// contractCommand is weft contract.
func (a *app) contractCommand() *cobra.Command {
	var (
		t       target
		s       supply
		asJSON  bool
		devices bool
	)
	cmd := &cobra.Command{
		Use:   "contract [PROFILE]",
		Short: "Print what a profile needs of a board's kernel and image, and why",
		Long: `Print what a profile needs to work: kernel modules, parts of the kernel itself,
kernel settings, programs and files; whether the board and the image have it,
what it is met by, and what stops working without it. The board's kernel package
is looked at, so it is fetched when it is not in the cache.

A board of machines with device trees, such as the Raspberry Pi, also says what
must work on each; that is looked up in the trees. --devices prints every device
of the trees instead, with its drivers.

The exit code is 2 when something is missing.`,
		Example: `  weft contract k3s-flannel-vxlan --board x86-64-cloud
  weft contract k3s-canal --board rpi5
  weft contract --board rpi4 --devices
  weft contract ./mine.yaml --json | jq '.[] | select(.met | not)'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("weft contract takes one profile, not %d\nsee: weft contract --help", len(args))
			}
			return nil
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeProfiles(c, args, part)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if cmd.Flags().Changed("profile") {
					return usage("%s and --profile %s: name one profile\nsee: weft contract --help", args[0], t.profile)
				}
				t.profile = args[0]
			}
			found, err := a.contract(cmd.Context(), t, s)
			if err != nil {
				return err
			}
			switch {
			case devices && asJSON:
				err = writeJSON(a.out, found.machines)
			case devices:
				err = writeDevices(a.out, found.machines)
			case asJSON:
				err = writeJSON(a.out, found.rows)
			default:
				err = errors.Join(writeContract(a.out, found.rows), writeIdle(a.out, found.machines))
			}
			if err == nil && len(found.problems) > 0 {
				return found.problems
			}
			if err == nil && contract.Unmet(found.rows) > 0 {
				return quiet{exitInput}
			}
			return err
		},
	}
	t.flags(cmd)
	s.flags(cmd, "file that pins the packages (default: the newest kernel of the suite)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&devices, "devices", false, "print the devices of the board's device trees")
	return cmd
}

// A compared plan is what it needs, and whether that is there.
type compared struct {
	rows     []contract.Row
	machines []machine.Machine
	// problems are those of the device trees.
	problems document.Problems
}

// contract compares a profile and a board with the board's kernel.
func (a *app) contract(ctx context.Context, t target, s supply) (compared, error) {
	p, err := a.plan(t)
	if err != nil {
		return compared{}, err
	}
	source, results, _, err := a.source(s)
	if err != nil {
		return compared{}, err
	}
	o := builder.Options{Plan: p, Source: source, Results: results, LockFile: s.lock, BaseDir: filepath.Dir(t.board)}
	overlays, err := builder.Overlays(ctx, o)
	if err != nil {
		return compared{}, err
	}
	kernel, done, err := builder.OpenKernel(ctx, o)
	if err != nil {
		return compared{}, err
	}
	defer done()
	machines, problems, err := machine.Check(p, kernel, overlays)
	if err != nil {
		return compared{}, err
	}
	rows := append(contract.Rows(kernel, p.Contract, p.Profile), contract.Devices(machines)...)
	return compared{rows, machines, problems}, nil
}

// The columns of the table: NEED, KIND, MET and BY take half of a terminal.
const (
	needColumn = 24
	kindColumn = 9
	metColumn  = 5
)

// writeContract prints a table of 80 columns: a line a need, and below it what
// it is for.
func writeContract(w io.Writer, rows []contract.Row) error {
	if _, err := fmt.Fprintf(w, "%-*s%-*s%-*s%s\n", needColumn, "NEED", kindColumn, "KIND", metColumn, "MET", "BY, AND WHY"); err != nil {
		return err
	}
	const indent = needColumn + kindColumn + metColumn
	for _, r := range rows {
		met := "yes"
		if !r.Met {
			met = "NO"
			if r.Optional {
				met = "no"
			}
		}
		lines := append(wrap(r.By, lineWidth-indent), wrap(r.Why, lineWidth-indent)...)
		if r.Fix != "" {
			lines = append(lines, wrap("fix: "+r.Fix, lineWidth-indent)...)
		}
		head := fmt.Sprintf("%-*s", needColumn, r.Need)
		if len(r.Need) >= needColumn {
			// A long name has a line of its own.
			if _, err := fmt.Fprintln(w, r.Need); err != nil {
				return err
			}
			head = strings.Repeat(" ", needColumn)
		}
		for i, line := range lines {
			before := strings.Repeat(" ", indent)
			if i == 0 {
				before = fmt.Sprintf("%s%-*s%-*s", head, kindColumn, r.Kind, metColumn, met)
			}
			if _, err := fmt.Fprintln(w, before+line); err != nil {
				return err
			}
		}
	}
	if n := contract.Unmet(rows); n > 0 {
		// The table is longer than a screen, so what is wrong is named here again.
		var names []string
		for _, r := range rows {
			if !r.Met && !r.Optional {
				names = append(names, r.Need)
			}
		}
		verb := "are"
		if n == 1 {
			verb = "is"
		}
		text := fmt.Sprintf("%d of %d needs %s not met: %s", n, len(rows), verb, strings.Join(names, ", "))
		_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(wrap(text, lineWidth), "\n"))
		return err
	}
	_, err := fmt.Fprintf(w, "\nall %d needs are met\n", len(rows))
	return err
}

// wrap breaks text between words into lines of at most width characters; a
// word that is longer is broken.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for len(word) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			lines, word = append(lines, word[:width]), word[width:]
		}
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
