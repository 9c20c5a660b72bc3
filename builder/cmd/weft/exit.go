package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"weft/builder/apt/fault"
	"weft/builder/guest"
	"weft/builder/node"
	"weft/document"
	"weft/qemu-tests/vm"

	"golang.org/x/term"
)

// The exit codes of weft, one for each kind of fault, so that a script can
// tell a typing error from a broken network.
const (
	exitOK          = 0
	exitInput       = 2   // what a person wrote is wrong: a file, a flag
	exitDependency  = 3   // something weft needs is not installed
	exitIO          = 4   // a disk or file could not be read or written
	exitNetwork     = 5   // a mirror could not be reached or did not answer
	exitNode        = 6   // a node that was booted failed, or did not get where it should
	exitInternal    = 70  // a fault of weft's own (EX_SOFTWARE of sysexits.h)
	exitInterrupted = 130 // SIGINT, as shells report it
)

// inputError marks err as caused by what a person typed.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

// nodeError marks err as the failure of a node that was booted.
type nodeError struct{ error }

func (e nodeError) Unwrap() error { return e.error }

// usage makes an error of a wrong argument.
func usage(format string, args ...any) error {
	return inputError{fmt.Errorf(format, args...)}
}

// fixPath is what to do about a file that a person named and that is not there.
const fixPath = "correct the path; it begins in this folder"

// named marks err as a typing error when it says that a file a person named
// is not there, or is a folder. Other faults of the disk stay what they are.
func named(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return inputError{fmt.Errorf("%w\nfix: %s", err, fixPath)}
	case errors.Is(err, syscall.EISDIR):
		return inputError{err}
	}
	return err
}

// remedy is the way out of a fault of the disk whose message names none;
// empty where only the caller could know one.
func remedy(err error) string {
	if text := err.Error(); strings.Contains(text, "\nfix: ") || strings.Contains(text, "\nsee: ") {
		return ""
	}
	for _, known := range []struct {
		number syscall.Errno
		fix    string
	}{
		{syscall.EISDIR, "name a file; this is a folder"},
		{syscall.ENOTDIR, "name a folder; a part of this path is a file"},
		{syscall.ENOSPC, "make room there, or use a place that has more"},
		{syscall.EDQUOT, "make room there, or use a place that has more"},
		{syscall.EROFS, "use a place that can be written"},
		{syscall.EACCES, "use a place that you may read and write, or ask its owner"},
	} {
		if errors.Is(err, known.number) {
			return known.fix
		}
	}
	return ""
}

// exitCode says which kind of fault err is.
func exitCode(err error) int {
	var (
		coded    interface{ ExitCode() int }
		problems document.Problems
		input    inputError
		image    *guest.ImageError
		missing  *vm.MissingError
		failure  *vm.Failure
		late     nodeError
		archive  *fault.Error
	)
	switch {
	case errors.As(err, &coded):
		return coded.ExitCode()
	case errors.As(err, &problems), errors.As(err, &input), errors.As(err, &image):
		return exitInput
	case errors.As(err, &missing), errors.Is(err, node.ErrNotEmbedded):
		return exitDependency
	case errors.As(err, &failure), errors.As(err, &late):
		return exitNode
	case errors.As(err, &archive):
		return archiveCode(archive.Kind)
	}
	return systemCode(err)
}

// archiveCode is the exit code of a fault of the Debian source.
func archiveCode(kind fault.Kind) int {
	switch kind {
	case fault.BadInput, fault.NoMirror, fault.UnknownPackage, fault.NotLocked:
		return exitInput
	case fault.Rotten:
		return exitIO
	}
	// What a mirror hands out is wrong, or nothing comes.
	return exitNetwork
}

// systemCode is the exit code of an error of the operating system. The types
// are named one by one: every error number of the system has the methods of
// net.Error.
func systemCode(err error) int {
	var (
		urlErr     *url.Error
		opErr      *net.OpError
		dnsErr     *net.DNSError
		pathErr    *fs.PathError
		linkErr    *os.LinkError
		syscallErr *os.SyscallError
		number     syscall.Errno
	)
	switch {
	case errors.As(err, &urlErr), errors.As(err, &opErr), errors.As(err, &dnsErr):
		return exitNetwork
	case errors.As(err, &pathErr), errors.As(err, &linkErr), errors.As(err, &syscallErr), errors.As(err, &number):
		return exitIO
	}
	return exitInternal
}

// explain prints err the way its kind wants to be read.
func (a *app) explain(err error) {
	var (
		problems document.Problems
		reported quiet
	)
	if errors.As(err, &reported) {
		return
	}
	if errors.As(err, &problems) {
		// There is no other place to complain to.
		_ = show(problems, a.err)
		return
	}
	fmt.Fprintf(a.err, "weft: %v\n", err)
	if fix := remedy(err); fix != "" {
		fmt.Fprintf(a.err, "fix: %s\n", fix)
	}
}

// colour reports whether w is a terminal that takes colours. See no-color.org
// for the variable.
func colour(w any) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && terminal(w)
}

// terminal tells whether a person sees what is written.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// show prints problems: wrapped on a terminal, in colour if it may be, and a
// line a message elsewhere.
func show(problems document.Problems, w io.Writer) error {
	if terminal(w) && !colour(w) {
		return problems.WriteWrapped(w)
	}
	return problems.Write(w, colour(w))
}

// quiet is an error that has been reported already and only carries its exit
// code.
type quiet struct{ code int }

func (q quiet) Error() string { return fmt.Sprintf("exit code %d", q.code) }

// ExitCode is the code weft exits with.
func (q quiet) ExitCode() int { return q.code }
