// Command netd is the daemon that carries the pod network of a node: it keeps
// the kernel's devices, routes and rules as the store says.
//
//	netd [-config FILE]   run; SIGHUP reads the file again
//	netd status           print how the running netd stands
//
// Ending it, by whatever signal, leaves the network working.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"weft/netd/status"
	"weft/profiles"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // also a configuration that is refused
)

// run is the program.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("netd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		config = flags.String("config", profiles.NetdFile, "configuration `file`")
		socket = flags.String("socket", profiles.DefaultNetdPaths.Socket, "status: unix `socket` of the running netd")
		debug  = flags.Bool("debug", false, "log every change")
	)
	command := ""
	if len(args) > 0 && args[0] == "status" {
		command, args = args[0], args[1:]
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "netd: unknown argument %q; the only command is status\n", flags.Arg(0))
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if command == "status" {
		return report(ctx, *socket, stdout, stderr)
	}
	level := slog.LevelInfo
	if *debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	err := serve(ctx, *config, log)
	var refused configError
	switch {
	case errors.As(err, &refused):
		_ = refused.problems.Write(stderr, false) // there is nobody left to tell
		return exitUsage
	case err != nil:
		fmt.Fprintln(stderr, "netd:", err)
		return exitFailed
	}
	return exitOK
}

// report prints how the running netd stands.
func report(ctx context.Context, socket string, stdout, stderr io.Writer) int {
	r, err := status.Fetch(ctx, socket)
	if err == nil {
		err = status.WriteTable(stdout, r)
	}
	if err != nil {
		fmt.Fprintln(stderr, "netd:", err)
		return exitFailed
	}
	return exitOK
}
