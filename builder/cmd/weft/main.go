// Command weft builds appliance OS images with the cluster network woven in,
// and boots them in virtual machines.
//
// Each verb is a file of this package; what they do lives in the packages
// under builder.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker: make weft.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second interrupt ends weft at once, as people expect.
	go func() {
		<-ctx.Done()
		stop()
	}()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(a.execute(ctx, os.Args[1:]))
}

// execute runs the command line args, explains what went wrong, and returns
// the exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	root := a.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		fmt.Fprintln(a.err, "weft: interrupted")
		return exitInterrupted
	}
	if !a.started {
		err = inputError{err}
	}
	a.explain(err)
	return exitCode(err)
}
