// The runtime looks for limits of its cgroup at the start and every second
// from then on (runtime package, GOMAXPROCS). netd's gives it none.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command netd is the daemon that carries the pod network of a node: it keeps
// the kernel's devices, routes and rules as the store says.
//
//	netd [-config FILE]   run; SIGHUP reads the file again
//	netd check            check the configuration and do nothing
//	netd status           print how the running netd stands
//	netd peers            print every peer with all that is known of it
//	netd explain ADDRESS  print where a packet goes, and why
//	netd rotate           replace the node's WireGuard key
//	netd version          print the version
//
// Ending it, by whatever signal, leaves the network working.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"weft/document"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // also a netd that does not answer
	exitUsage  = 2 // also a configuration that is refused
)

// run is the program: a command with its arguments. Without a command it is
// the daemon, as are arguments that begin with a flag.
func run(args []string, stdout, stderr io.Writer) int {
	name := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	} else if len(args) > 0 && isHelp(args[0]) {
		name, args = "help", args[1:]
	}
	if name == "help" {
		return help(args, stdout, stderr)
	}
	c, found := commandNamed(name)
	if !found {
		return unknown(name, stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	return invoke(ctx, c, args, stdout, stderr)
}

// unknown refuses a command that netd does not have.
func unknown(name string, stderr io.Writer) int {
	names := []string{"help"}
	for _, c := range commands() {
		names = append(names, c.name)
	}
	hint := ""
	if near := document.Closest(name, names); near != "" {
		hint = "; did you mean " + near + "?"
	}
	fmt.Fprintf(stderr, "netd: unknown command %q%s\nsee: netd help\n", name, hint)
	return exitUsage
}
