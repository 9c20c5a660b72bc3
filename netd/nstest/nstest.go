// Package nstest gives tests network namespaces of their own, with real
// devices, routes and rules, as root or as anybody else.
//
// It is for tests only. [Main] runs a test binary again inside new
// namespaces, so that nothing a test does is seen outside of it.
package nstest

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inside is the environment variable that says that namespaces are made.
const inside = "WEFT_NSTEST"

// Main is to be called by TestMain: it runs the tests of m in new network and
// mount namespaces, in which the caller is root, and returns the exit code.
func Main(m *testing.M) int {
	if os.Getenv(inside) != "" {
		if err := setup(); err != nil {
			fmt.Fprintln(os.Stderr, "nstest:", err)
			return 1
		}
		return m.Run()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  unix.SIGKILL,
	}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	// The signal at the parent's death is that of its thread.
	runtime.LockOSThread()
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nstest: new namespaces:", err, "(are user namespaces allowed?)")
		return 1
	}
	return 0
}

// setup makes the namespaces usable: mounts stay inside, /run is empty, the
// loopback device is up.
func setup() error {
	if err := mounts(); err != nil {
		return err
	}
	return loopback()
}

func mounts() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("none", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return nil
}

func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// A Node is a network namespace with a /run of its own.
type Node struct {
	Name     string
	net, mnt *os.File
}

// settings are the kernel settings of a node: it forwards, as the profile's
// contract asks, and its addresses can be used at once.
var settings = map[string]string{
	"ipv4/ip_forward":              "1",
	"ipv6/conf/all/forwarding":     "1",
	"ipv6/conf/default/forwarding": "1",
	"ipv6/conf/all/accept_dad":     "0",
	"ipv6/conf/default/accept_dad": "0",
}

// New makes a node, which is gone at the end of the test.
func New(t testing.TB, name string) *Node {
	t.Helper()
	n := &Node{Name: name}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if err := errors.Join(mounts(), loopback()); err != nil {
			return err
		}
		for setting, value := range settings {
			if err := os.WriteFile("/proc/sys/net/"+setting, []byte(value), 0); err != nil {
				return err
			}
		}
		var err error
		if n.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		n.mnt, err = os.Open("/proc/thread-self/ns/mnt")
		return err
	})
	if err != nil {
		t.Fatalf("node %s: %v", name, err)
	}
	t.Cleanup(func() { n.net.Close(); n.mnt.Close() })
	return n
}

// Do calls f on a thread that is in the node's namespaces.
func (n *Node) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		for _, file := range []*os.File{n.mnt, n.net} {
			if err := unix.Setns(int(file.Fd()), 0); err != nil {
				return os.NewSyscallError("setns", err)
			}
		}
		return f()
	})
}

// onThread calls f on a thread of its own, which ends with it.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result <- f()
	}()
	return <-result
}

// Run runs a command in the node and returns what it prints. The test fails
// with the command; a missing one is named with what to install.
func (n *Node) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := n.Try(t, name, args...)
	if err != nil {
		t.Fatalf("%s: %s %s: %v\n%s", n.Name, name, strings.Join(args, " "), err, out)
	}
	return out
}

// Try is [Node.Run] for commands that may fail.
func (n *Node) Try(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is missing: install iproute2, nftables and iputils-ping (make deps)", name)
	}
	var out bytes.Buffer
	err := n.Do(func() error {
		cmd := exec.Command(name, args...)
		cmd.Stdout, cmd.Stderr = &out, &out
		return cmd.Run()
	})
	return out.String(), err
}

// Start starts a prepared command in the node.
func (n *Node) Start(cmd *exec.Cmd) error {
	return n.Do(cmd.Start)
}

// A LAN is an Ethernet that nodes are attached to.
type LAN struct{ bridge netlink.Link }

// NewLAN makes a LAN, which is gone at the end of the test.
func NewLAN(t testing.TB, name string) *LAN {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		t.Fatalf("LAN %s: %v", name, err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(bridge) })
	if err := netlink.LinkSetUp(bridge); err != nil {
		t.Fatalf("LAN %s: %v", name, err)
	}
	return &LAN{bridge}
}

// Attach gives a node a device on the LAN, with addresses that can be used at
// once.
func (l *LAN) Attach(t testing.TB, n *Node, device string, addresses ...string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "l" + n.Name
	outer := &netlink.Veth{LinkAttrs: attrs, PeerName: device, PeerNamespace: netlink.NsFd(n.net.Fd())}
	err := netlink.LinkAdd(outer)
	if err == nil {
		err = errors.Join(netlink.LinkSetMaster(outer, l.bridge), netlink.LinkSetUp(outer))
	}
	if err != nil {
		t.Fatalf("attach %s: %v", n.Name, err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(outer) })
	n.Run(t, "ip", "link", "set", device, "up")
	for _, a := range addresses {
		n.Run(t, "ip", AddAddress(device, a)...)
	}
}

// AddAddress are the arguments of ip that give a device an address.
func AddAddress(device, address string) []string {
	args := []string{"address", "add", address, "dev", device}
	if p, err := netip.ParsePrefix(address); err == nil && p.Addr().Is6() {
		args = append(args, "nodad")
	}
	return args
}

// Eventually waits until a condition holds and fails the test when it does
// not within a time; what says what was waited for. It returns how long it
// took.
func Eventually(t testing.TB, within time.Duration, what string, condition func() error) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		err := condition()
		took := time.Since(start)
		if err == nil {
			return took
		}
		if took > within {
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
		time.Sleep(2 * time.Millisecond) // polling, with a deadline
	}
}

// Veth connects two nodes by a pair of devices.
func Veth(a *Node, deviceA string, b *Node, deviceB string) error {
	return a.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = deviceA
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: deviceB, PeerNamespace: netlink.NsFd(b.net.Fd())})
	})
}
