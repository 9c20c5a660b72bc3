package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"weft/profiles"
)

// A command is one thing netd does when it is called.
type command struct {
	// name is the first argument; use shows what may follow it.
	name, use string
	// short says in one line what the command is for, long says the rest.
	short, long string
	// flags adds the command's own flags.
	flags func(*flag.FlagSet, *options)
	// args is how many arguments follow the flags.
	args int
	run  func(context.Context, options, io.Writer, io.Writer) int
}

// options are what flags and arguments of a command can say.
type options struct {
	config, socket string
	debug, json    bool
	args           []string
}

// commands are all of netd's, in the order of its help.
func commands() []command {
	return []command{
		{name: "run", use: "[-config FILE] [-debug]", short: "keep this node's network; also without a command",
			long: `Keeps devices, routes and rules as the store says, until it is ended; ending
it, by whatever signal, leaves the network working. SIGHUP reads the
configuration again; one that is refused leaves the old one in force.`,
			flags: func(f *flag.FlagSet, o *options) {
				configFlag(f, o)
				f.BoolVar(&o.debug, "debug", false, "log every change")
			}, run: runDaemon},
		{name: "check", use: "[-config FILE]", short: "check the configuration and do nothing else",
			long: `Prints everything that is wrong with the configuration, with its place and
the way out. Exit code 2 says that netd would refuse it.`,
			flags: configFlag, run: runCheck},
		{name: "status", use: "[-json]", short: "print how the running netd stands",
			long: `Prints the node, whether everything wanted is in the kernel and if not why and
what to do, and a line for each peer. With -json the whole report.`,
			flags: reportFlags, run: runStatus},
		{name: "peers", use: "[-json]", short: "print every peer with all that is known of it",
			long: `Prints for each peer and address family where it is reached, by what device and
MTU, what the kernel holds of it, the last handshake and ping, what is wrong
with it and what to do.`,
			flags: reportFlags, run: runPeers},
		{name: "explain", use: "[-json] ADDRESS|SUBNET", short: "print where a packet to an address goes, and why",
			long: `Follows a packet to a pod, a node or anything else from this node: whose address
it is, the route, neighbour, forwarding entry and outer address that carry it,
the MTU, the firewall's rule, and what of it the kernel lacks.`,
			flags: reportFlags, args: 1, run: runExplain},
		{name: "rotate", use: "", short: "replace the WireGuard key of this node",
			long: `Asks the running netd to replace its key now. Peers learn the new key from the
store; traffic goes on meanwhile. See "netd status" for how far it is.`,
			flags: socketFlag, run: runRotate},
		{name: "version", use: "", short: "print the version", run: runVersion},
	}
}

func commandNamed(name string) (command, bool) {
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if i < 0 {
		return command{}, false
	}
	return all[i], true
}

// configFlag, socketFlag and reportFlags are flags that commands share.
func configFlag(f *flag.FlagSet, o *options) {
	f.StringVar(&o.config, "config", profiles.NetdFile, "configuration `FILE`")
}

func socketFlag(f *flag.FlagSet, o *options) {
	f.StringVar(&o.socket, "socket", profiles.DefaultNetdPaths.Socket, "unix `SOCKET` of the running netd")
}

func reportFlags(f *flag.FlagSet, o *options) {
	socketFlag(f, o)
	f.BoolVar(&o.json, "json", false, "print JSON")
}

// flagSet are a command's flags, to be parsed into o.
func (c command) flagSet(o *options) *flag.FlagSet {
	f := flag.NewFlagSet("netd "+c.name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	if c.flags != nil {
		c.flags(f, o)
	}
	return f
}

// invoke reads the flags of a command and runs it. Flags may stand after the
// argument, too.
func invoke(ctx context.Context, c command, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := c.flagSet(&o)
	for {
		err := flags.Parse(args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			c.help(stdout)
			return exitOK
		case err != nil:
			fmt.Fprintf(stderr, "netd %s: %v\nsee: netd help %s\n", c.name, err, c.name)
			return exitUsage
		}
		if flags.NArg() == 0 {
			break
		}
		o.args = append(o.args, flags.Arg(0))
		args = flags.Args()[1:]
	}
	switch {
	case len(o.args) > c.args:
		fmt.Fprintf(stderr, "netd %s: unknown argument %q\nsee: netd help %s\n", c.name, o.args[c.args], c.name)
		return exitUsage
	case len(o.args) < c.args:
		fmt.Fprintf(stderr, "netd %s: what to? Write: netd %s %s\n", c.name, c.name, c.use)
		return exitUsage
	}
	return c.run(ctx, o, stdout, stderr)
}

func isHelp(arg string) bool { return slices.Contains([]string{"-h", "-help", "--help"}, arg) }

// help prints what netd can do, or what one command does.
func help(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		c, found := commandNamed(args[0])
		if !found {
			return unknown(args[0], stderr)
		}
		c.help(stdout)
		return exitOK
	}
	fmt.Fprint(stdout, "netd carries the pod network of a node.\n\nCommands:\n")
	table := tabwriter.NewWriter(stdout, 0, 0, 3, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(table, "  %s\t%s\n", c.name, c.short)
	}
	fmt.Fprintf(table, "  help\tprint this, or what one command does\n")
	table.Flush()
	fmt.Fprint(stdout, `
Exit codes: 0 done; 1 failed, or no netd answers; 2 used wrongly, or a
configuration that is refused.

More about one: netd help COMMAND
`)
	return exitOK
}

// help prints what a command does.
func (c command) help(stdout io.Writer) {
	fmt.Fprintf(stdout, "%s%s.\n\n", capital(c.short[:1]), c.short[1:])
	use := "netd " + c.name
	if c.use != "" {
		use += " " + c.use
	}
	fmt.Fprintf(stdout, "  %s\n", use)
	if c.long != "" {
		fmt.Fprintf(stdout, "\n%s\n", c.long)
	}
	flags := c.flagSet(new(options))
	any := false
	flags.VisitAll(func(*flag.Flag) { any = true })
	if any {
		fmt.Fprint(stdout, "\nFlags:\n")
		flags.SetOutput(stdout)
		flags.PrintDefaults()
	}
}

// capital is a letter's capital.
func capital(letter string) string {
	if letter >= "a" && letter <= "z" {
		return string(letter[0] - 'a' + 'A')
	}
	return letter
}
