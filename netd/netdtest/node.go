package netdtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/netd/status"
	"weft/netd/store/etcd/etcdtest"
	"weft/profiles"
)

// A Node is one of a [Cluster].
type Node struct {
	*nstest.Node
	// Number counts from 1.
	Number int
	// Dir holds all of the node's files.
	Dir string
	// Config is what [Node.WriteConfig] writes.
	Config profiles.Netd
	// Way is the node's way to etcd.
	Way *etcdtest.Proxy

	// Env is what the environment of netd has beside the test's.
	Env []string

	program    string
	generation [2]int // of its addresses

	mu      sync.Mutex
	process *exec.Cmd
	ended   chan struct{}
	log     buffer
}

// WriteConfig writes the node's configuration.
func (x *Node) WriteConfig(t testing.TB) {
	t.Helper()
	data, err := x.Config.YAML()
	if err == nil {
		err = os.WriteFile(filepath.Join(x.Dir, "netd.yaml"), data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Start starts netd and waits for nothing. It ends with the test.
func (x *Node) Start(t testing.TB) {
	t.Helper()
	cmd := exec.Command(x.program, "-config", filepath.Join(x.Dir, "netd.yaml"))
	cmd.Env = append(os.Environ(), x.Env...)
	cmd.Stdout, cmd.Stderr = &x.log, &x.log
	if err := x.Node.Start(cmd); err != nil {
		t.Fatalf("%s: start netd: %v", x.Name, err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	x.mu.Lock()
	x.process, x.ended = cmd, ended
	x.mu.Unlock()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() && x.Process() == cmd {
			t.Logf("log of netd on %s:\n%s", x.Name, x.Log())
		}
	})
}

// Stop sends netd a signal and waits until it has ended.
func (x *Node) Stop(t testing.TB, signal unix.Signal) {
	t.Helper()
	if err := x.process.Process.Signal(signal); err != nil {
		t.Fatalf("%s: netd has ended by itself: %v\n%s", x.Name, err, x.Log())
	}
	select {
	case <-x.ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: netd did not end within 20 s of %v\n%s", x.Name, signal, x.Log())
	}
}

// Ended reports whether netd has ended.
func (x *Node) Ended() bool {
	select {
	case <-x.ended:
		return true
	default:
		return false
	}
}

// Process is the netd that was started last.
func (x *Node) Process() *exec.Cmd { return x.process }

// Report asks netd how it stands.
func (x *Node) Report() (status.Report, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return status.Fetch(ctx, x.Config.Paths.Socket)
}

// WaitReady waits until netd is ready with so many peer entries, one a peer
// and family.
func (x *Node) WaitReady(t testing.TB, peers int) status.Report {
	t.Helper()
	var r status.Report
	nstest.Eventually(t, 30*time.Second, x.Name+" ready", func() (err error) {
		if x.Ended() {
			t.Fatalf("%s: netd has ended\n%s", x.Name, x.Log())
		}
		if r, err = x.Report(); err != nil {
			return err
		}
		if !r.Ready || len(r.Peers) != peers {
			return fmt.Errorf("ready %t (%s) with %d peers of %d", r.Ready, r.Reason, len(r.Peers), peers)
		}
		_, err = x.Subnets()
		return err
	})
	return r
}

// Move gives the node other addresses of the families chosen, as a router
// that was replaced does.
func (x *Node) Move(t testing.TB, ipv4, ipv6 bool) {
	t.Helper()
	if ipv4 {
		x.Run(t, "ip", "address", "del", Address4(x.Number, x.generation[0]), "dev", "eth0")
		x.generation[0]++
		x.Run(t, "ip", "address", "add", Address4(x.Number, x.generation[0]), "dev", "eth0")
		x.Run(t, "ip", "route", "replace", "default", "via", router4)
	}
	if ipv6 {
		x.Run(t, "ip", "address", "del", Address6(x.Number, x.generation[1]), "dev", "eth0")
		x.generation[1]++
		x.Run(t, "ip", nstest.AddAddress("eth0", Address6(x.Number, x.generation[1]))...)
		x.Run(t, "ip", "route", "replace", "default", "via", router6)
	}
}

// Subnets are the node's pod subnets, as its subnet.env has them, IPv4 first.
func (x *Node) Subnets() ([]netip.Prefix, error) {
	data, err := os.ReadFile(x.Config.Paths.SubnetEnv)
	if err != nil {
		return nil, err
	}
	var found []netip.Prefix
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		name, value, _ := strings.Cut(scan.Text(), "=")
		if name != "FLANNEL_SUBNET" && name != "FLANNEL_IPV6_SUBNET" {
			continue
		}
		p, err := netip.ParsePrefix(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.Config.Paths.SubnetEnv, err)
		}
		found = append(found, p.Masked())
	}
	if len(found) == 0 {
		return nil, errors.New("subnet.env names no subnet")
	}
	return found, nil
}

// AddPod makes a pod with a host number in the node's subnets, on a bridge as
// the CNI bridge plugin makes it.
func (x *Node) AddPod(t testing.TB, host int) (*nstest.Node, []netip.Addr) {
	t.Helper()
	subnets, err := x.Subnets()
	if err != nil {
		t.Fatal(err)
	}
	pod := nstest.New(t, fmt.Sprintf("%s-pod-%d", x.Name, host))
	veth := fmt.Sprintf("pod%d", host)
	if err := nstest.Veth(x.Node, veth, pod, "eth0"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Try(t, "ip", "link", "show", "cni0"); err != nil {
		x.Run(t, "ip", "link", "add", "cni0", "mtu", "1430", "type", "bridge")
		x.Run(t, "ip", "link", "set", "cni0", "up")
	}
	x.Run(t, "ip", "link", "set", veth, "master", "cni0", "up")
	pod.Run(t, "ip", "link", "set", "eth0", "mtu", "1430", "up")
	var addresses []netip.Addr
	for _, s := range subnets {
		gateway, address := s.Addr().Next(), s.Addr()
		for range host {
			address = address.Next()
		}
		if !strings.Contains(x.Run(t, "ip", "address", "show", "dev", "cni0"), " "+gateway.String()+"/") {
			x.Run(t, "ip", nstest.AddAddress("cni0", netip.PrefixFrom(gateway, s.Bits()).String())...)
		}
		pod.Run(t, "ip", nstest.AddAddress("eth0", netip.PrefixFrom(address, s.Bits()).String())...)
		pod.Run(t, "ip", "route", "add", "default", "via", gateway.String())
		addresses = append(addresses, address)
	}
	return pod, addresses
}

// Log is all that netd has said, over restarts.
func (x *Node) Log() string { return x.log.String() }

// buffer is a log that is read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
