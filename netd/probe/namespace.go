package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is the name of the probe pod's network namespace. It is where
// "ip netns" looks for those it knows by name.
const (
	Namespace  = "weft-probe"
	namespaces = "/run/netns"
)

// path is the file that holds the namespace.
func path() string { return filepath.Join(namespaces, Namespace) }

// remove removes the pod. The bridge stays: other pods may hang on it.
func remove() error {
	if _, err := os.Stat(path()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if link, err := netlink.LinkByName(hostDevice); err == nil {
		if err := netlink.LinkDel(link); err != nil {
			return fmt.Errorf("remove device %s: %w", hostDevice, err)
		}
	}
	if err := unix.Unmount(path(), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount %s: %w", path(), err)
	}
	return os.Remove(path())
}

// openNamespace opens the pod's network namespace and makes it if needed.
func openNamespace() (*os.File, error) {
	if namespace, err := os.Open(path()); err == nil {
		if within(namespace, func() error { return nil }) == nil {
			return namespace, nil
		}
		namespace.Close() // an empty file, left when nothing was mounted on it
	}
	if err := makeNamespace(); err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", Namespace, err)
	}
	return os.Open(path())
}

// makeNamespace makes a network namespace and gives it a name, by mounting
// the file of a thread that is in it.
func makeNamespace() error {
	if err := os.MkdirAll(namespaces, 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path(), os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	file.Close()
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path(), "", unix.MS_BIND, ""); err != nil {
			return os.NewSyscallError("mount", err)
		}
		loopback, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(loopback)
	})
}

// within calls f on a thread that is in a network namespace.
func within(namespace *os.File, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return f()
	})
}

// onThread calls f on a thread of its own, which ends with it: whatever
// namespace f left it in, nothing else ever runs there.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends
		result <- f()
	}()
	return <-result
}
