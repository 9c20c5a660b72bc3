package bench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/ipsec"
	"weft/netd/netdtest"
	"weft/netd/nstest"
	"weft/profiles"
)

// hub is this node's address in the IPsec network: higher than the peers', so
// that it waits for them to begin and programming is measured alone, without
// the key exchanges, which take as long as processors do.
var hub = netip.MustParseAddr("10.127.0.1")

var ipsecKind = kind{"ipsec", profiles.BackendIPsec, false}

// TestIPsecFigures measures the legacy backend, with a real charon: the engine
// that keeps it, call by call, and a whole netd.
func TestIPsecFigures(t *testing.T) {
	m := meter{os.Stdout}
	program := netdtest.Build(t)
	sizes := []int{100}
	if *full {
		sizes = []int{100, 1000, 5000, 10_000}
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			measureIPsecEngine(t, m, n)
			measureIPsecNode(t, m, program, n)
		})
	}
}

// An engine is the engine of backend ipsec, in this process.
type engine struct {
	*ipsec.Engine
	*nstest.Node
	dir, psk string
	told     chan struct{} // there are news
}

// newEngine makes a node with an engine. Its clock stands still, so that it
// never loses patience with peers that do not exist, and has charon begin
// thousands of key exchanges with them.
func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{Node: nstest.New(t, "ipsec"), dir: t.TempDir(), psk: writePSK(t), told: make(chan struct{}, 1)}
	e.Run(t, "ip", "link", "add", "eth0", "type", "bridge")
	e.Run(t, "ip", "address", "add", hub.String()+"/9", "dev", "eth0")
	e.Run(t, "ip", "link", "set", "eth0", "up")
	now, quiet := time.Now(), slog.New(slog.DiscardHandler)
	e.Engine = ipsec.New(e.dir, quiet, func() time.Time { return now })
	var news iter.Seq2[struct{}, error]
	err := e.Do(func() (err error) { news, err = e.Changes(t.Context()); return err })
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for range news {
			select {
			case e.told <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		if err := e.Do(func() error { return ipsec.Remove(e.dir, quiet) }); err != nil {
			t.Error(err)
		}
	})
	return e
}

// settle does what netd does until it has nothing to do: the conversations
// with charon are bounded, and news ask for a look.
func (e *engine) settle(want ipsec.Want) error {
	for {
		_, err := e.Ensure(want)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		select {
		case <-e.told:
		default:
			if err == nil {
				return nil
			}
		}
	}
}

// measureIPsecEngine measures all policies and connections from nothing, and
// peers that come and go.
func measureIPsecEngine(t *testing.T, m meter, n int) {
	name := fmt.Sprintf("netd.ipsec.%d.", n)
	const more = 7 // peers that join one after the other
	e, all := newEngine(t), ipsecWant(n+more, "")
	all.PSKFile = e.psk
	want := func(n int) ipsec.Want {
		w := all
		w.Peers = all.Peers[:n]
		return w
	}
	charon, over := e.measureAll(t, m, name, want(n))
	settle := func(n int) (wall, cpu time.Duration) {
		var err error
		wall, cpu = taken(func() { err = e.settle(want(n)) })
		if err != nil {
			t.Fatal(err)
		}
		return wall, cpu
	}
	var took []float64
	for i := range more {
		wall, _ := settle(n + i + 1)
		took = append(took, millis(wall))
	}
	slices.Sort(took)
	over = !m.within(name+"plus-1", took[len(took)/2], 2, "ms") || over
	change := func(what string, to int) {
		before := cpuOf(t, charon)
		wall, cpu := settle(to)
		m.figure(name+what, seconds(wall), "s")
		m.figure(name+what+".cpu", seconds(cpu), "s")
		m.figure(name+what+".charon-cpu", seconds(cpuOf(t, charon)-before), "s")
		if have := e.policies(t); have != 3*to {
			t.Errorf("%s: the kernel has %d policies of %d", what, have, 3*to)
		}
	}
	if n >= 1000 {
		change("minus-1000", n+more-1000)
		change("plus-1000", n+more)
	}
	if over && *check {
		t.Error("over budget")
	}
}

// measureAll measures all policies and connections from nothing: the kernel's
// part of it, charon's, and both. It returns charon's process, and whether
// something is over its budget.
func (e *engine) measureAll(t *testing.T, m meter, name string, want ipsec.Want) (charon int, over bool) {
	n := len(want.Peers)
	rawWall, rawCPU := rawPolicies(t, n)
	m.figure(name+"raw.wall", seconds(rawWall), "s")
	m.figure(name+"raw.cpu", seconds(rawCPU), "s")

	// Charon does not run yet: the first call does the kernel's part and starts
	// it.
	var err error
	wall, cpu := taken(func() { err = e.Do(func() error { _, err := e.Ensure(want); return err }) })
	if have := e.policies(t); have != 3*n {
		t.Fatalf("the kernel has %d policies of %d: %v", have, 3*n, err)
	}
	select {
	case <-e.told:
	case <-time.After(20 * time.Second):
		t.Fatalf("charon does not answer (it needs the package strongswan-swanctl, for its plugin vici): %v", err)
	}
	over = !within(m, name+"policies.wall", seconds(wall), 0.6, "s", n <= 5000)
	m.figure(name+"policies.cpu", seconds(cpu), "s")
	m.figure(name+"policies.wall-of-raw", seconds(wall)/seconds(rawWall), "x")
	if rawCPU >= 5*time.Millisecond { // less is no measure: the kernel counts by ticks
		m.figure(name+"policies.cpu-of-raw", seconds(cpu)/seconds(rawCPU), "x")
	}

	charon = charonOf(t, e.Node, e.dir)
	before := cpuOf(t, charon)
	charonWall, talkCPU := taken(func() { err = e.settle(want) })
	if err != nil {
		t.Fatal(err)
	}
	m.figure(name+"charon.wall", seconds(charonWall), "s")
	m.figure(name+"charon.cpu", seconds(cpuOf(t, charon)-before), "s")
	m.figure(name+"charon.rss", memoryOf(t, charon, "VmRSS"), "MB")
	over = !within(m, name+"wall", seconds(wall+charonWall), 0.6, "s", n <= 5000) || over
	over = !within(m, name+"cpu", seconds(cpu+talkCPU), 0.3, "s", n <= 5000) || over
	return charon, over
}

// policies counts the policies of peers in the kernel; those of charon's own
// sockets have no protocol.
func (e *engine) policies(t testing.TB) int {
	t.Helper()
	return countLines(e.Run(t, "ip", "xfrm", "policy"), "proto esp ")
}

// ipsecWant is IPsec with n peers.
func ipsecWant(n int, psk string) ipsec.Want {
	w := ipsec.Want{Local: hub, Subnet: netip.MustParsePrefix("10.255.0.0/26"), ESP: profiles.DefaultESPProposal, PSKFile: psk}
	for i := range n {
		w.Peers = append(w.Peers, ipsec.Peer{Node: fmt.Sprint("peer-", i), Subnet: subnet4(i), Address: address4(i)})
	}
	return w
}

// writePSK writes a pre-shared key and returns the file.
func writePSK(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "psk")
	if err := os.WriteFile(file, []byte(strings.Repeat("secret", 16)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// charonOf is the process of the charon that has its files in a folder of a
// node.
func charonOf(t testing.TB, x *nstest.Node, dir string) (pid int) {
	t.Helper()
	err := x.Do(func() error {
		data, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// taken is what f takes of this process, which does nothing else meanwhile,
// and of the kernel in its name.
func taken(f func()) (wall, cpu time.Duration) {
	runtime.GC() // what was measured before is not f's to collect
	start, used := time.Now(), processCPU()
	f()
	return time.Since(start), processCPU() - used
}

// rawPolicies is what the kernel takes for the policies of n peers, each time in
// a namespace of its own: the best of three, since it varies twofold.
func rawPolicies(t *testing.T, n int) (wall, cpu time.Duration) {
	t.Helper()
	var messages [][]byte
	for _, p := range ipsecWant(n, "").Policies() {
		messages = append(messages, policyMessage(p))
	}
	for range 3 {
		err := nstest.New(t, "raw").Do(func() error {
			fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_XFRM)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*batch); err != nil {
				return err
			}
			w, c := taken(func() { err = send(fd, messages) })
			if wall == 0 || w < wall {
				wall, cpu = w, c
			}
			return err
		})
		if err != nil {
			t.Fatalf("raw: %v", err)
		}
	}
	return wall, cpu
}

func policyMessage(p ipsec.Policy) []byte {
	m := nl.NewNetlinkRequest(nl.XFRM_MSG_UPDPOLICY, 0)
	info := &nl.XfrmUserpolicyInfo{Dir: uint8(p.Direction)}
	info.Sel.Family = unix.AF_INET
	info.Sel.Saddr.FromIP(p.Src.Addr().AsSlice())
	info.Sel.Daddr.FromIP(p.Dst.Addr().AsSlice())
	info.Sel.PrefixlenS, info.Sel.PrefixlenD = uint8(p.Src.Bits()), uint8(p.Dst.Bits())
	for _, limit := range []*uint64{&info.Lft.SoftByteLimit, &info.Lft.HardByteLimit, &info.Lft.SoftPacketLimit, &info.Lft.HardPacketLimit} {
		*limit = nl.XFRM_INF
	}
	m.AddData(info)
	template := &nl.XfrmUserTmpl{Family: unix.AF_INET, Reqid: ipsec.ReqID, Mode: 1, // tunnel
		Aalgos: ^uint32(0), Ealgos: ^uint32(0), Calgos: ^uint32(0)}
	template.XfrmId.Proto = unix.IPPROTO_ESP
	template.XfrmId.Daddr.FromIP(p.To.AsSlice())
	template.Saddr.FromIP(p.From.AsSlice())
	m.AddData(nl.NewRtAttr(int(nl.XFRMA_TMPL), template.Serialize()))
	return m.Serialize()
}
