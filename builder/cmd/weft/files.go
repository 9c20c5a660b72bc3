package main

import (
	"fmt"

	"weft/builder/plan"
	"weft/document"
	"weft/profiles"
	"weft/profiles/rancher"

	"github.com/spf13/cobra"
)

// planFiles are the flags of weft plan --files.
type planFiles struct {
	wanted     bool
	role, node string
}

// flags adds the flags to cmd.
func (f *planFiles) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.wanted, "files", false, "print the files that K3s or RKE2 reads on a node")
	cmd.Flags().StringVar(&f.role, "role", "", "role of the node, with --files: server or agent (default: that of the node file, or server)")
	cmd.Flags().StringVar(&f.node, "node", "", "node file of the node, with --files; or the name of a node of the cluster")
	completeNodes(cmd, "node", cobra.ShellCompDirectiveDefault)
	// The flag was just defined, the only reason this can fail.
	_ = cmd.RegisterFlagCompletionFunc("role", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{profiles.RoleServer, profiles.RoleAgent}, cobra.ShellCompDirectiveNoFileComp
	})
}

// A nodeFile is a file of a node for a program to read.
type nodeFile struct {
	Path string `json:"path"`
	Mode string `json:"mode"`
	Data string `json:"data,omitempty"`
	Link string `json:"link,omitempty"`
	From string `json:"from,omitempty"`
}

// printFiles prints the files of a node.
func (a *app) printFiles(p plan.Plan, f planFiles, asJSON bool) error {
	var node profiles.Node
	if f.node != "" {
		data, err := document.ReadFile(f.node)
		if err != nil {
			return named(err)
		}
		var problems document.Problems
		if node, _, problems = profiles.ReadNode(f.node, data); problems.Errors() != nil {
			return problems
		}
	}
	switch f.role {
	case "":
	case profiles.RoleServer, profiles.RoleAgent:
		node.Kubernetes.Role = f.role
	default:
		return usage("there is no role %q; --role is server or agent", f.role)
	}
	files := rancher.Render(p.Profile, node)
	if asJSON {
		list := []nodeFile{}
		for _, file := range files {
			list = append(list, nodeFile{file.Path, fmt.Sprintf("%04o", file.Mode.Perm()), string(file.Data), file.Link, file.From})
		}
		return writeJSON(a.out, list)
	}
	if len(files) == 0 {
		_, err := fmt.Fprintf(a.out, "no files: profile %s has no Kubernetes\n", p.Profile.Name)
		return err
	}
	_, err := a.out.Write(rancher.Print(files))
	return err
}
