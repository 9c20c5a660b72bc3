//go:build linux

// Package standin lets a program of a test stand in the place of netd on a
// node: the program becomes the netd that is appended to it, and leaves itself
// running beside, from where it can do to the node what cannot be done from
// outside.
//
// It is only for tests. What the program does there is its own business; what
// is appended is made by the test, see standsBefore in package qemutests.
package standin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// BecomeNetd becomes netd, with the arguments the program was called with. The
// first time on a node, the program is started once more beside it, with the
// arguments beside, if there are any; name tells programs apart. It returns
// only if it fails.
func BecomeNetd(name string, beside ...string) error {
	if len(beside) > 0 {
		if err := leaveBeside(name, beside); err != nil {
			return err
		}
	}
	netd, err := appended()
	if err != nil {
		return fmt.Errorf("the appended netd: %w", err)
	}
	fd, err := unix.MemfdCreate("netd", 0)
	if err != nil {
		return err
	}
	if _, err := os.NewFile(uintptr(fd), "netd").Write(netd); err != nil {
		return err
	}
	return unix.Exec(fmt.Sprint("/proc/self/fd/", fd), append([]string{"netd"}, os.Args[1:]...), os.Environ())
}

// leaveBeside starts the program beside netd, once since the node booted.
func leaveBeside(name string, args []string) error {
	f, err := os.OpenFile("/run/"+name, os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// appended is what is at the end of this program, before its length.
func appended() ([]byte, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var length [8]byte
	end, err := f.Seek(-int64(len(length)), io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(f, length[:]); err != nil {
		return nil, err
	}
	data := make([]byte, binary.BigEndian.Uint64(length[:]))
	_, err = f.ReadAt(data, end-int64(len(data)))
	return data, err
}

// Say writes a line to the node's console, which begins with the program's
// name.
func Say(name, format string, args ...any) {
	f, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	if err != nil {
		return // nobody would hear of it either
	}
	defer f.Close()
	fmt.Fprintf(f, "\n"+name+": "+format+"\n", args...)
}
