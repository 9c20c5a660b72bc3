package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"weft/boards"
	"weft/builder/apt"
	"weft/document"
	"weft/profiles"

	"github.com/spf13/cobra"
)

// checkCommand is weft check.
func (a *app) checkCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "Check board, profile, node, netd and lock files; uses no network",
		Long: `Check board, profile, node, netd and lock files. The weft key of a file says
which kind it is. Everything wrong with all files is printed at once, with the
way out. No network is used and nothing is written.`,
		Example: `  weft check my-profile.yaml
  weft check profiles/*.yaml --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("weft check takes at least one file\nsee: weft check --help")
			}
			return nil
		},
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(_ *cobra.Command, args []string) error {
			var problems document.Problems
			for _, name := range args {
				found, err := checkFile(name)
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
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// checkFile checks one file as what its weft key says it is. A name that leads
// to no file is a problem like others, and does not hide those.
func checkFile(name string) (document.Problems, error) {
	data, err := document.ReadFile(name)
	for _, number := range []syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR} {
		if errors.Is(err, number) {
			return document.Problems{{File: name, Message: number.Error()}}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	var problems document.Problems
	switch kind := fileKind(data, name); kind {
	case "board":
		_, _, problems = boards.Read(name, data)
	case "node":
		_, _, problems = profiles.ReadNode(name, data)
	case "netd":
		_, _, problems = profiles.ReadNetd(name, data)
	case "lock":
		if _, err := apt.ReadLock(name, data); err != nil && !errors.As(err, &problems) {
			return nil, err
		}
	default:
		_, _, problems = profiles.Read(name, data)
	}
	return problems, nil
}

// fileKind is the part of the weft key before its slash. A file without a
// usable key is taken for what its folder or name suggests, so that the
// message about the key comes from the right reader.
func fileKind(data []byte, name string) string {
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "weft:"); ok {
			value, _, _ = strings.Cut(strings.Trim(strings.TrimSpace(value), `"'`), "/")
			return value
		}
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
