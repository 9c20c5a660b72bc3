package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"weft/document"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// An app is one run of the command line: where it reads and writes, and the
// flags every verb has.
type app struct {
	in       io.Reader
	out, err io.Writer
	verbose  bool
	// identity is what --identity says.
	identity string
	// started says that a verb has begun its work; an error before that is
	// about the command line.
	started bool
}

// command is the whole command line.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "weft",
		Short: "Build appliance OS images with the cluster network woven in",
		Long: `weft builds appliance OS images with the cluster network woven in.

From a board (what the hardware is) and a profile (what the network is) it
writes a disk image that boots by UEFI and by BIOS, or on a Raspberry Pi. Only
writing to a card needs root.

Exit codes: 2 bad input, 3 something is not installed, 4 disk or file,
5 network or mirror, 6 a booted node, 70 a fault of weft's own, 130 interrupted.`,
		Example: `  weft build --out out                           build the default image
  weft run out/x86-64-cloud-vxlan.img            boot it in QEMU
  weft run --nodes 3 out/x86-64-cloud-vxlan.img  boot three of it
  weft flash out/my.img sdb                      write it to a card`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		// Without a RunE, cobra prints the help and calls that a success,
		// whatever the arguments are.
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun:           func(*cobra.Command, []string) { a.started = true },
		SuggestionsMinimumDistance: 2,
		DisableFlagsInUseLine:      true,
	}
	// Terminals have 80 columns.
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages ", "FlagUsagesWrapped 80 "))
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetIn(a.in)
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "tell more about what is done")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(a.buildCommand(), a.lockCommand(), a.checkCommand(), a.planCommand(), a.contractCommand(), a.profilesCommand(), a.importCommand(), a.newCommand(), a.clusterCommand(), a.nodeFileCommand(), a.inspectCommand(), a.runCommand(), a.flashCommand(), a.completionCommand(), a.versionCommand())
	return root
}

// log is where weft tells more about what it does: nowhere unless asked.
func (a *app) log() *slog.Logger {
	level := slog.LevelWarn
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}

// flagError says what is wrong with a flag in words for people.
func flagError(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		wrong   *pflag.InvalidValueError
	)
	text := err.Error()
	switch {
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := document.Closest(unknown.GetSpecifiedName(), names); near != "" {
			text += "; did you mean --" + near + "?"
		}
	case errors.As(err, &wrong):
		how := map[string]string{"int": "write a whole number", "bool": "write true or false", "duration": "write a time such as 90s or 10m"}
		if fix := how[wrong.GetFlag().Value.Type()]; fix != "" {
			text = fmt.Sprintf("--%s %s: %s", wrong.GetFlag().Name, wrong.GetValue(), fix)
		}
	}
	return usage("%s\nsee: %s --help", text, cmd.CommandPath())
}

// noArgs refuses arguments, with the verb's help at hand; an unknown verb is
// answered with the ones that are spelled alike.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		near := ""
		if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
			near = fmt.Sprintf("; did you mean %q?", names[0])
		}
		return usage("%s has no verb %q%s\nsee: %s --help", cmd.CommandPath(), args[0], near, cmd.CommandPath())
	}
	return usage("%s takes no argument %q\nsee: %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
}

// oneArg asks for exactly one argument, called what in messages.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage("%s takes one %s, not %d\nsee: %s --help", cmd.CommandPath(), what, len(args), cmd.CommandPath())
		}
		return nil
	}
}

// completeFiles completes arguments with files that end in one of the suffixes.
func completeFiles(suffixes ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return suffixes, cobra.ShellCompDirectiveFilterFileExt
	}
}
