package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"weft/builder/node"

	"github.com/spf13/cobra"
)

// versionCommand is weft version.
func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of weft and what it carries",
		Long: `Print the version of weft and of the Go it was compiled with, and for which
architectures it carries the programs of a node.`,
		Example: `  weft version
  weft version --json | jq -r .version`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info := struct {
				Version string   `json:"version"`
				Go      string   `json:"go"`
				Nodes   []string `json:"nodes"`
			}{version, runtime.Version(), nodeArches()}
			if asJSON {
				return writeJSON(a.out, info)
			}
			fmt.Fprintf(a.out, "weft %s (%s)\n", info.Version, info.Go)
			for _, arch := range info.Nodes {
				fmt.Fprintf(a.out, "carries init and netd for %s\n", arch)
			}
			if len(info.Nodes) == 0 {
				fmt.Fprintf(a.out, "carries no programs for nodes: %v\n", node.ErrNotEmbedded)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// nodeArches lists the architectures whose programs are embedded.
func nodeArches() []string {
	found := []string{}
	for _, arch := range []string{"amd64", "arm64"} {
		if _, err := node.Program(arch, "init"); err == nil {
			found = append(found, arch)
		}
	}
	return found
}

// writeJSON prints v for a program to read.
func writeJSON(w interface{ Write([]byte) (int, error) }, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(v)
}
