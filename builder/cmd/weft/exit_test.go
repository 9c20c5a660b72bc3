package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"weft/builder/apt/fault"
	"weft/builder/guest"
	"weft/builder/node"
	"weft/document"
	"weft/qemu-tests/vm"
)

func TestEachKindOfFaultHasItsExitCode(t *testing.T) {
	missing := &fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, c := range []struct {
		name string
		err  error
		code int
	}{
		{"problems with a file", document.Problems{{Message: "x"}}, exitInput},
		{"a wrong argument", usage("x"), exitInput},
		{"a named file that is not there", named(missing), exitInput},
		{"an image that cannot run", &guest.ImageError{Path: "x", Err: errors.New("y")}, exitInput},
		{"no programs of a node", node.ErrNotEmbedded, exitDependency},
		{"no QEMU", &vm.MissingError{}, exitDependency},
		{"a folder in place of a file", named(&fs.PathError{Op: "read", Path: "x", Err: syscall.EISDIR}), exitInput},
		{"a file of weft's that is not there", missing, exitIO},
		{"no permission", &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, exitIO},
		{"a named file without permission", named(&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}), exitIO},
		{"a rename", &os.LinkError{Op: "rename", Err: syscall.EXDEV}, exitIO},
		{"a full disk", os.NewSyscallError("write", syscall.ENOSPC), exitIO},
		{"a bare error number", syscall.ENOSPC, exitIO},
		{"a refused connection", refused, exitNetwork},
		{"a request", &url.Error{Op: "Get", URL: "x", Err: errors.New("y")}, exitNetwork},
		{"an unknown host", &net.DNSError{Name: "x"}, exitNetwork},
		{"anything else", errors.New("x"), exitInternal},
		{"one reported already", quiet{exitInput}, exitInput},
	} {
		for _, err := range []error{c.err, fmt.Errorf("wrapped: %w", c.err), errors.Join(c.err, errors.New("and more"))} {
			if got := exitCode(err); got != c.code {
				t.Errorf("%s: %d, want %d (%v)", c.name, got, c.code, err)
			}
		}
	}
}

func TestFaultsOfTheArchiveHaveTheirExitCodes(t *testing.T) {
	for code, kinds := range map[int][]fault.Kind{
		exitInput: {fault.BadInput, fault.NoMirror, fault.UnknownPackage, fault.NotLocked},
		exitNetwork: {fault.Network, fault.Missing, fault.Unsigned, fault.ForeignKey, fault.Tampered, fault.WrongSuite,
			fault.Expired, fault.NotYetValid, fault.TooLarge, fault.Malformed},
		exitIO: {fault.Rotten},
	} {
		for _, kind := range kinds {
			// What caused a fault does not change its kind.
			err := &fault.Error{Kind: kind, File: "x", Reason: "y", Err: &fs.PathError{Op: "read", Path: "x", Err: syscall.EIO}}
			if got := exitCode(fmt.Errorf("fetch: %w", err)); got != code {
				t.Errorf("%s: %d, want %d", kind, got, code)
			}
		}
	}
}

func TestAnInterruptIsNoFault(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &errs}
	if code := a.execute(ctx, []string{"build", "--out", t.TempDir()}); code != exitInterrupted || !strings.Contains(errs.String(), "weft: interrupted\n") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

func TestFaultsOfTheDiskNameTheWayOutOnce(t *testing.T) {
	disk := func(number syscall.Errno) error {
		return fmt.Errorf("image: %w", &fs.PathError{Op: "write", Path: "x", Err: number})
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{disk(syscall.ENOSPC), "fix: make room there"},
		{disk(syscall.EROFS), "fix: use a place that can be written"},
		{disk(syscall.EACCES), "fix: use a place that you may read and write"},
		{disk(syscall.EIO), ""},
		{fmt.Errorf("%w\nfix: set WEFT_CACHE", disk(syscall.EROFS)), "fix: set WEFT_CACHE"},
	} {
		var errs bytes.Buffer
		(&app{err: &errs}).explain(c.err)
		if said := errs.String(); !strings.Contains(said, c.want) || strings.Count(said, "fix:") > 1 || (c.want == "") == strings.Contains(said, "fix:") {
			t.Errorf("%q, want %q", said, c.want)
		}
	}
}
