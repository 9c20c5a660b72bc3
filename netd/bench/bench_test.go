package bench

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/lease"
	"weft/netd/netdtest"
	"weft/netd/nstest"
	"weft/netd/store/etcd"
	"weft/netd/store/etcd/client"
	"weft/netd/store/etcd/etcdtest"
	"weft/profiles"
)

var (
	full  = flag.Bool("full", false, "measure everything, up to 10,000 leases")
	check = flag.Bool("check", false, "fail when a figure is over its budget")
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// A kind is a backend with its families.
type kind struct {
	name, backend string
	dual          bool
}

func (k kind) families() int { return len(k.ipv6()) }

func (k kind) ipv6() []bool {
	if k.dual {
		return []bool{false, true}
	}
	return []bool{false}
}

var kinds = []kind{
	{"vxlan", profiles.BackendVXLAN, false},
	{"hostgw", profiles.BackendHostGW, false},
	{"vxlan-dual", profiles.BackendVXLAN, true},
}

// Peers by their number: subnets of 10.128.0.0/9 and fd42::/32, addresses of
// 10.0.0.0/9 and fd00:10::/64.
func subnet4(i int) netip.Prefix {
	n := uint32(10)<<24 | 128<<16 | uint32(i+1)<<6
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), 26)
}

func subnet6(i int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("fd42:0:%x::/64", i+1))
}

func address4(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
func address6(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:10::1:%x", i)) }

func macOf(i int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 1, byte(i >> 8), byte(i)} }

// entry is the key and the value of a peer's lease.
func entry(t testing.TB, k kind, i int) client.Op {
	t.Helper()
	l := lease.Lease{Backend: k.backend, IPv4: lease.Half{Subnet: subnet4(i), Address: address4(i), MAC: macOf(i).String(), VNI: 1}}
	data, err := l.Data(false)
	if err != nil {
		t.Fatal(err)
	}
	key, v6, data6 := keyPart(subnet4(i)), "null", ""
	if k.dual {
		key += "&" + keyPart(subnet6(i))
		v6, data6 = strconv.Quote(address6(i).String()), `,"BackendV6Data":`+string(data)
	}
	backendData := ""
	if data != nil {
		backendData = `,"BackendData":` + string(data)
	}
	value := fmt.Sprintf(`{"PublicIP":"%s","PublicIPv6":%s,"BackendType":"%s"%s%s,"Weft":{"node":"peer-%d","uuid":"10000000-0000-4000-8000-%012d"}}`,
		address4(i), v6, k.backend, backendData, data6, i, i)
	return client.Put(etcd.DefaultPrefix+"/subnets/"+key, value, 0)
}

func keyPart(p netip.Prefix) string { return fmt.Sprintf("%s-%d", p.Addr(), p.Bits()) }

// load writes or deletes the leases of peers, 100 at once: etcd takes 128.
func load(t testing.TB, s *etcdtest.Server, k kind, from, to int, remove bool) {
	t.Helper()
	for at := from; at < to; at += 100 {
		var ops []client.Op
		for i := at; i < min(at+100, to); i++ {
			op := entry(t, k, i)
			if remove {
				key := keyPart(subnet4(i))
				if k.dual {
					key += "&" + keyPart(subnet6(i))
				}
				op = client.Delete(client.Range{From: etcd.DefaultPrefix + "/subnets/" + key})
			}
			ops = append(ops, op)
		}
		if _, err := s.Client(t).Txn(context.Background(), nil, ops...); err != nil {
			t.Fatal(err)
		}
	}
}

// newNode makes one node on an etcd that holds the leases of n peers.
func newNode(t testing.TB, program string, s *etcdtest.Server, k kind, rtt time.Duration) *subject {
	t.Helper()
	c := netdtest.New(t, netdtest.Config{Program: program, Etcd: s, Nodes: 1, IPv6: k.dual, RTT: rtt,
		Change: func(_ int, c *profiles.Netd) {
			c.Network.Backend = profiles.Backend{Type: k.backend}
			if k == ipsecKind {
				c.Network.Backend.PSKFile = writePSK(t)
			}
			c.Network.Pods = []netip.Prefix{netip.MustParsePrefix("10.128.0.0/9")}
			c.Network.SubnetLength.IPv4 = 26
			if k.dual {
				c.Network.Pods = append(c.Network.Pods, netip.MustParsePrefix("fd42::/32"))
			}
		}})
	x := &subject{Node: c.Nodes[0], kind: k}
	x.Run(t, "ip", "address", "add", "10.0.0.1/9", "dev", "eth0") // all peers are on the link
	x.notify(t)
	x.listen(t)
	return x
}

// measure measures one backend with n leases.
func measure(t *testing.T, m meter, program string, k kind, n int) {
	s := etcdtest.Start(t)
	load(t, s, k, 0, n, false)
	x := newNode(t, program, s, k, 0)
	name := fmt.Sprintf("netd.%s.%d.", k.name, n)

	rawWall, rawCPU := rawLimit(t, n, k)
	m.figure(name+"raw.wall", seconds(rawWall), "s")
	m.figure(name+"raw.cpu", seconds(rawCPU), "s")

	start := x.startAndWait(t)
	r := x.WaitReady(t, n*k.families())
	if have := x.routes(t); have != n*k.families() {
		t.Fatalf("%d routes, want %d", have, n*k.families())
	}
	wall, cpu := r.LastWork.WallMillis/1000, r.LastWork.CPUMillis/1000
	over := !within(m, name+"wall", wall, 0.6, "s", n <= 5000)
	over = !within(m, name+"cpu", cpu, 0.3, "s", n <= 5000) || over
	m.figure(name+"wall-of-raw", wall/seconds(rawWall), "x")
	if rawCPU >= 5*time.Millisecond { // less is no measure: the kernel counts by ticks
		m.figure(name+"cpu-of-raw", cpu/seconds(rawCPU), "x")
	}
	m.figure(name+"start-to-ready", seconds(start), "s")
	m.figure(name+"process-cpu", seconds(x.cpu(t)), "s")
	m.figure(name+"rss", x.memory(t, "VmRSS"), "MB")
	m.figure(name+"rss-peak", x.memory(t, "VmHWM"), "MB")

	var pass, ends []float64
	for i := n; i < n+7; i++ {
		took := x.change(t, 1*k.families(), func() { load(t, s, k, i, i+1, false) })
		r = x.WaitReady(t, (i+1)*k.families())
		pass, ends = append(pass, r.LastWork.WallMillis), append(ends, millis(took))
	}
	slices.Sort(pass)
	slices.Sort(ends)
	over = !m.within(name+"plus-1", pass[len(pass)/2], 2, "ms") || over
	m.figure(name+"plus-1.put-to-route", ends[len(ends)/2], "ms")

	if n > 1000 {
		before := x.cpu(t)
		took := x.change(t, 1000*k.families(), func() { load(t, s, k, n-1000, n, true) })
		m.figure(name+"minus-1000", seconds(took), "s")
		m.figure(name+"minus-1000.cpu", seconds(x.cpu(t)-before), "s")
		before = x.cpu(t)
		took = x.change(t, 1000*k.families(), func() { load(t, s, k, n-1000, n, false) })
		m.figure(name+"plus-1000", seconds(took), "s")
		m.figure(name+"plus-1000.cpu", seconds(x.cpu(t)-before), "s")
	}

	x.Stop(t, unix.SIGKILL)
	start = x.startAndWait(t)
	r = x.WaitReady(t, (n+7)*k.families())
	m.figure(name+"restart", seconds(start), "s")
	m.figure(name+"restart.cpu", seconds(x.cpu(t)), "s")
	if !m.within(name+"restart.changes", float64(r.Counters.Changes), 0, "changes") {
		t.Errorf("the restart made %d changes, want 0", r.Counters.Changes)
	}
	if over && *check {
		t.Error("over budget")
	}
}

// within is [meter.within] where there is a budget.
func within(m meter, name string, value, budget float64, unit string, is bool) bool {
	if !is {
		m.figure(name, value, unit)
		return true
	}
	return m.within(name, value, budget, unit)
}

// measureFar measures an etcd that is 5 ms away: from the start of the process
// until 1,000 leases are programmed.
func measureFar(t *testing.T, m meter, program string, k kind) {
	s := etcdtest.Start(t)
	load(t, s, k, 0, 1000, false)
	var took []float64
	for round := range 5 {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			took = append(took, seconds(newNode(t, program, s, k, 5*time.Millisecond).startAndWait(t)))
		})
		for _, kv := range s.All(t, etcd.DefaultPrefix+"/subnets/") { // its own lease
			if strings.Contains(kv.Value, netdtest.UUID(1)) {
				s.Delete(t, kv.Key)
			}
		}
	}
	slices.Sort(took)
	if !m.within("netd."+k.name+".1000.rtt-5ms", took[len(took)/2], 0.2, "s") && *check {
		t.Error("over budget")
	}
}

func TestFigures(t *testing.T) {
	m := meter{os.Stdout}
	program := netdtest.Build(t)
	sizes, which := []int{100}, kinds[:1]
	if *full {
		sizes, which = []int{100, 1000, 5000, 10_000}, kinds
	}
	for _, k := range which {
		for _, n := range sizes {
			t.Run(fmt.Sprintf("%s %d", k.name, n), func(t *testing.T) { measure(t, m, program, k, n) })
		}
		if *full {
			t.Run(k.name+" far", func(t *testing.T) { measureFar(t, m, program, k) })
		}
	}
}

// subject is the node that is measured.
type subject struct {
	*netdtest.Node
	kind  kind
	ready chan time.Time
	heard <-chan int // numbers of routes that came or went
}

// notify listens for what netd tells the service manager.
func (x *subject) notify(t testing.TB) {
	t.Helper()
	path := x.Dir + "/notify"
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	x.Env = append(x.Env, "NOTIFY_SOCKET="+path)
	x.ready = make(chan time.Time, 16)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			if strings.Contains(string(b[:n]), "READY=1") {
				x.ready <- time.Now()
			}
		}
	}()
}

// startAndWait starts netd and returns how long it took until READY.
func (x *subject) startAndWait(t testing.TB) time.Duration {
	t.Helper()
	begin := time.Now()
	x.Start(t)
	select {
	case at := <-x.ready:
		return at.Sub(begin)
	case <-time.After(20 * time.Second):
		t.Fatalf("netd is not ready within 20 s:\n%s", x.Log())
		return 0
	}
}

// listen counts the routes that come and go.
func (x *subject) listen(t testing.TB) {
	t.Helper()
	x.heard = x.hear(t, unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
}

// hear delivers how many messages the kernel sends to groups of a netlink
// family.
func (x *subject) hear(t testing.TB, family int, groups ...uint) <-chan int {
	t.Helper()
	var events *nl.NetlinkSocket
	err := x.Do(func() (err error) {
		events, err = nl.Subscribe(family, groups...)
		return err
	})
	if err == nil {
		err = events.SetReceiveBufferSize(64<<20, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.Close)
	heard := make(chan int, 1<<16)
	go func() {
		for {
			messages, _, err := events.Receive()
			if err != nil {
				return
			}
			heard <- len(messages)
		}
	}()
	return heard
}

// change does something and returns how long it took from then until so many
// routes have come or gone.
func (x *subject) change(t testing.TB, routes int, do func()) time.Duration {
	t.Helper()
	drain(x.heard) // of before
	begin := time.Now()
	do()
	await(t, x.heard, routes)
	return time.Since(begin)
}

// await waits until n messages have come.
func await(t testing.TB, heard <-chan int, n int) {
	t.Helper()
	late := time.After(20 * time.Second)
	for n > 0 {
		select {
		case more := <-heard:
			n -= more
		case <-late:
			t.Fatalf("%d changes are still waited for", n)
		}
	}
}

// drain takes what has come, and tells how many messages that were.
func drain(heard <-chan int) (n int) {
	for len(heard) > 0 {
		n += <-heard
	}
	return n
}

// routes counts the routes to peers.
func (x *subject) routes(t testing.TB) int {
	t.Helper()
	have := countLines(x.Run(t, "ip", "-4", "route", "show", "root", "10.128.0.0/9"), " via ")
	if x.kind.dual {
		have += countLines(x.Run(t, "ip", "-6", "route", "show", "root", "fd42::/32"), " via ")
	}
	return have
}

func countLines(text, with string) int {
	n := 0
	for line := range strings.Lines(text) {
		if strings.Contains(line, with) {
			n++
		}
	}
	return n
}

// cpu is the CPU time netd has used.
func (x *subject) cpu(t testing.TB) time.Duration {
	t.Helper()
	return cpuOf(t, x.Process().Process.Pid)
}

// memory is a line of netd's /proc/PID/status, in MB.
func (x *subject) memory(t testing.TB, name string) float64 {
	t.Helper()
	return memoryOf(t, x.Process().Process.Pid, name)
}
