package main

import (
	"fmt"
	"path/filepath"

	"weft/document"
	"weft/profiles"
	"weft/profiles/rules"

	"github.com/spf13/cobra"
)

// checkCommand is weft check.
func (a *app) checkCommand() *cobra.Command {
	var (
		c            checker
		asJSON, list bool
		explain      string
	)
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "Check board, profile, cluster and other files",
		Long: `Check board, profile, cluster, node, netd and lock files. The weft key of a file
says which kind it is. Everything wrong with all files is printed at once, with
the way out. Without --board no network is used, and without --lock nothing is
written.

Each message ends with the rule that was broken; --explain tells its reason and
shows an example of each kind. A profile or cluster may override a rule that
does not hold for it:
  overrides:
    - {rule: B5, reason: the routers announce both families before boot}

With --board, profiles are also checked against the kernel and the programs that
an image for the board has, and clusters against the kernels of their boards;
packages that are not in the cache are fetched, or with --offline left out.
With --lock, the ranges of a sound cluster are written down beside its file;
from then on, changes that a running cluster does not survive are refused.`,
		Example: `  weft check my-profile.yaml my-cluster.yaml
  weft check --board x86-64 my-profile.yaml
  weft check --explain B7
  weft check profiles/*.yaml --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case (list || explain != "") && len(args) > 0:
				return usage("weft check takes files, or --explain, or --rules\nsee: weft check --help")
			case len(args) == 0 && !list && explain == "":
				return usage("weft check takes at least one file\nsee: weft check --help")
			}
			return nil
		},
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case list:
				return listRules(a.out, asJSON)
			case explain != "":
				return explainRule(a.out, explain, asJSON)
			}
			c.app, c.noted = a, map[string]bool{}
			var problems document.Problems
			for _, name := range args {
				found, err := c.file(cmd.Context(), name)
				if err != nil {
					return err
				}
				if len(found) == 0 && !asJSON {
					fmt.Fprintf(a.out, "%s: good\n", name)
				}
				problems = append(problems, found...)
			}
			if asJSON {
				if err := writeJSON(a.out, asFindings(problems)); err != nil {
					return err
				}
				if problems.Errors() != nil {
					return quiet{exitInput}
				}
				return nil
			}
			if problems.Errors() != nil {
				return problems
			}
			return a.warn(problems)
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().StringVar(&explain, "explain", "", "explain one rule, such as B7")
	cmd.Flags().BoolVar(&list, "rules", false, "list all rules")
	// The flag was just defined, the only reason this can fail.
	_ = cmd.RegisterFlagCompletionFunc("explain", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return rules.IDs(), cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// fileKind is the part of the weft key before its slash. A file without a
// usable key is taken for what its folder or name suggests, so that the
// message about the key comes from the right reader.
func fileKind(data []byte, name string) string {
	if kind := saidKind(data); kind != "" {
		return kind
	}
	switch {
	case filepath.Base(filepath.Dir(name)) == "boards":
		return "board"
	case filepath.Base(name) == filepath.Base(profiles.NodeFile):
		return "node"
	}
	return "profile"
}

// A finding is a problem for a program to read.
type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Level   string `json:"level"`
	Rule    string `json:"rule"`
	Message string `json:"message"`
	Note    string `json:"note,omitempty"`
	Fix     string `json:"fix,omitempty"`
}

// asFindings is never nil, so that good files print as an empty list.
func asFindings(problems document.Problems) []finding {
	list := []finding{}
	for _, p := range problems {
		list = append(list, finding{p.File, p.Line, p.Column, p.Level.String(), p.Rule, p.Message, p.Note, p.Fix})
	}
	return list
}
