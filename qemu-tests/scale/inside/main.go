//go:build linux

// Command inside measures, on a node, what WireGuard peers cost netd's
// reconciler, beside what they cost the kernel alone; it says each figure on the
// console as a line "scale: name value unit", and then "scale: done".
//
// It is only for measuring, and works in a network namespace of its own, so that
// the node's netd is not touched.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"weft/netd/diff"
	"weft/netd/kernel"
	"weft/netd/lease"
	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/netd/wireguard"
	"weft/profiles"
	"weft/qemu-tests/standin"
)

// fewer is how many leases go at once, in the figure of that name.
const fewer = 1000

func main() {
	if err := run(); err != nil {
		standin.Say("scale", "FAIL: %v", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) == 1 { // once more, with a network of its own
		cmd := exec.Command("/proc/self/exe", "measure")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		return cmd.Run()
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for _, n := range []int{100, 1000, 5000, 10000} {
		if err := measure(n, lo.Attrs().Index); err != nil {
			return fmt.Errorf("%d leases: %w", n, err)
		}
	}
	standin.Say("scale", "done")
	return nil
}

// measure prints the figures for so many leases.
func measure(n, underlayIndex int) error {
	name := fmt.Sprintf("netd.wireguard.%d.", n)
	say := func(what string, value float64, unit string) {
		standin.Say("scale", "%s%s %.4g %s", name, what, value, unit)
	}
	rawWall, rawCPU, err := raw(n)
	if err != nil {
		return fmt.Errorf("the kernel alone: %w", err)
	}
	say("raw.wall", rawWall.Seconds(), "s")
	say("raw.cpu", rawCPU.Seconds(), "s")

	key, err := wireguard.Generate(&counter{})
	if err != nil {
		return err
	}
	node := wanted.Node{Name: "self", IPv4: netip.MustParsePrefix("10.255.0.0/26"), PublicKey: key.Public(),
		Underlay: underlay.Choice{IPv4: underlay.Device{Index: underlayIndex, Name: "lo", MTU: 1500, Address: netip.MustParseAddr("10.0.0.1")}}}
	network := profiles.Network{Pods: []netip.Prefix{netip.MustParsePrefix("10.128.0.0/9")},
		Backend: profiles.Backend{Type: profiles.BackendWireGuard}}.WithDefaults()
	conn, err := kernel.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.WireGuard().Learn(key)
	leases := make([]lease.Lease, n)
	for i := range leases {
		leases[i] = leaseOf(i)
	}

	var plan wanted.Plan
	wall, cpu, err := taken(func() error {
		plan, err = wanted.For(node, network, leases)
		return errors.Join(err, apply(conn, wanted.State{}, plan.State))
	})
	if err != nil {
		return err
	}
	if len(plan.Peers) != n {
		return fmt.Errorf("%d peers are honoured", len(plan.Peers))
	}
	say("wall", wall.Seconds(), "s")
	say("cpu", cpu.Seconds(), "s")
	say("wall-of-raw", wall.Seconds()/rawWall.Seconds(), "x")
	say("cpu-of-raw", cpu.Seconds()/rawCPU.Seconds(), "x")
	say("rss", float64(resident())/1e6, "MB")

	scope := kernel.Scope{Names: []string{plan.State.Links[0].Name}, Networks: network.Pods}
	var again int
	wall, _, err = taken(func() error {
		have, err := conn.Read(scope)
		again = len(diff.Diff(have, plan.State))
		return err
	})
	if err != nil {
		return err
	}
	say("restart", wall.Seconds(), "s")
	say("restart.changes", float64(again), "changes")

	wall, _, err = taken(func() error {
		more, added, simple := plan.With(leaseOf(n), nil)
		if !simple {
			return errors.New("one more lease is not simple")
		}
		plan = more
		return apply(conn, wanted.State{}, added)
	})
	if err != nil {
		return err
	}
	say("plus-1", float64(wall.Microseconds())/1000, "ms")

	if n > fewer {
		wall, _, err = taken(func() error {
			less, err := wanted.For(node, network, leases[:n-fewer])
			return errors.Join(err, apply(conn, plan.State, less.State))
		})
		if err != nil {
			return err
		}
		say(fmt.Sprint("minus-", fewer), wall.Seconds(), "s")
	}
	link, err := netlink.LinkByName(plan.State.Links[0].Name)
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}

// apply makes the kernel's state have become want.
func apply(conn *kernel.Conn, have, want wanted.State) error {
	for _, f := range conn.Apply(diff.Diff(have, want)) {
		return f
	}
	return nil
}

// raw is what the kernel takes for the peers: they are given to it at once.
func raw(n int) (wall, cpu time.Duration, err error) {
	device := &netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: "raw"}}
	if err := netlink.LinkAdd(device); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, netlink.LinkDel(device)) }()
	client, err := wgctrl.New()
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	key, err := wgtypes.GenerateKey()
	if err != nil {
		return 0, 0, err
	}
	// The key first: another key costs the kernel every peer once more.
	port := 51999
	if err := client.ConfigureDevice("raw", wgtypes.Config{PrivateKey: &key, ListenPort: &port}); err != nil {
		return 0, 0, err
	}
	var config wgtypes.Config
	for i := range n {
		l := leaseOf(i)
		public, err := wgtypes.ParseKey(l.IPv4.PublicKey)
		if err != nil {
			return 0, 0, err
		}
		config.Peers = append(config.Peers, wgtypes.PeerConfig{PublicKey: public,
			Endpoint:   net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.IPv4.Address, profiles.DefaultListenPort)),
			AllowedIPs: []net.IPNet{{IP: l.IPv4.Subnet.Addr().AsSlice(), Mask: net.CIDRMask(l.IPv4.Subnet.Bits(), 32)}}})
	}
	return taken(func() error { return client.ConfigureDevice("raw", config) })
}

// leaseOf is the lease of peer i.
func leaseOf(i int) lease.Lease {
	n := uint32(10)<<24 | 128<<16 | uint32(i+1)<<6
	subnet := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	key := sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i)))
	return lease.Lease{Node: fmt.Sprint("peer-", i), Backend: lease.WireGuard, IPv4: lease.Half{
		Subnet: netip.PrefixFrom(subnet, 26), Address: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}),
		PublicKey: wgtypes.Key(key).String()}}
}

// taken is what f takes.
func taken(f func() error) (wall, cpu time.Duration, err error) {
	start, used := time.Now(), cpuTime()
	err = f()
	return time.Since(start), cpuTime() - used, err
}

// cpuTime is the CPU time this process has used.
func cpuTime() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// resident is the most memory this process has held, in bytes (getrusage(2):
// ru_maxrss is in KiB).
func resident() int64 {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return used.Maxrss << 10
}

// A counter is random enough for a key that protects nothing.
type counter struct{ n byte }

func (c *counter) Read(b []byte) (int, error) {
	for i := range b {
		c.n++
		b[i] = c.n
	}
	return len(b), nil
}
