package main

import (
	"slices"
	"strings"

	"weft/document"
	"weft/profiles/cluster"

	"github.com/spf13/cobra"
)

// completionCommand is weft completion. It takes the place of cobra's own,
// which has no examples and answers an unknown shell with its help.
func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "fish", "powershell", "zsh"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a script that lets a shell complete weft's arguments",
		Long: `Print a script that lets a shell complete weft's verbs, flags and arguments.
The shells are ` + strings.Join(shells, ", ") + `.`,
		Example: `  source <(weft completion bash)
  weft completion bash > /etc/bash_completion.d/weft
  weft completion zsh > "${fpath[1]}/_weft"
  weft completion fish > ~/.config/fish/completions/weft.fish`,
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return usage("weft completion takes one of %s\nsee: weft completion --help", strings.Join(shells, ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.out)
			}
			return root.GenZshCompletion(a.out)
		},
	}
}

// completeNodes completes a flag of cmd with the nodes of the cluster file that
// stands before it; and with files, where one of those can be meant.
func completeNodes(cmd *cobra.Command, flag string, otherwise cobra.ShellCompDirective) {
	// The flag was just defined, the only reason this can fail.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 || !isClusterFile(args[0]) {
			return nil, otherwise
		}
		data, err := document.ReadFile(args[0])
		if err != nil {
			return nil, otherwise
		}
		// A file with mistakes may have names nevertheless.
		c, _, _ := cluster.Read(args[0], data)
		var names []string
		for _, n := range c.Nodes {
			names = append(names, n.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}
