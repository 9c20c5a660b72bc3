package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/ipsec"
	"weft/netd/nstest"
	"weft/profiles"
)

// hub is this node's address in the IPsec network: higher than the peers', so
// that it waits for them to begin and loading is measured alone, without the
// key exchanges, which take as long as the peers' processors do.
var hub = netip.MustParseAddr("10.127.0.1")

// TestIPsecFigures measures the legacy backend, with a real charon: all policies
// and connections from nothing, one more, and a netd that starts again. It ends
// at 1,000 peers: charon takes a connection a call, a millisecond each, and 5,000
// key exchanges of 4096 bits are no network that anybody runs.
func TestIPsecFigures(t *testing.T) {
	sizes := []int{100}
	if *full {
		sizes = []int{100, 1000}
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) { measureIPsec(t, meter{os.Stdout}, n) })
	}
}

func measureIPsec(t *testing.T, m meter, n int) {
	x := nstest.New(t, "ipsec")
	x.Run(t, "ip", "link", "add", "eth0", "type", "bridge")
	x.Run(t, "ip", "address", "add", hub.String()+"/9", "dev", "eth0")
	x.Run(t, "ip", "link", "set", "eth0", "up")
	dir := t.TempDir()
	psk := filepath.Join(dir, "psk")
	if err := os.WriteFile(psk, []byte(strings.Repeat("secret", 16)), 0o600); err != nil {
		t.Fatal(err)
	}
	rawWall, rawCPU := rawPolicies(t, n)
	name := fmt.Sprintf("netd.ipsec.%d.", n)
	m.figure(name+"raw.wall", seconds(rawWall), "s")
	m.figure(name+"raw.cpu", seconds(rawCPU), "s")
	quiet := slog.New(slog.DiscardHandler)
	err := x.Do(func() error {
		engine := ipsec.New(dir, quiet, time.Now)
		defer func() {
			if err := ipsec.Remove(dir, quiet); err != nil {
				t.Error(err)
			}
		}()
		if err := answers(engine, ipsecWant(0, psk)); err != nil {
			return err
		}
		wall, cpu := taken(func() {
			for changed := true; changed; { // a conversation with charon is bounded
				var err error
				if changed, err = engine.Ensure(ipsecWant(n, psk)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
			}
		})
		m.figure(name+"wall", seconds(wall), "s")
		m.figure(name+"cpu", seconds(cpu), "s")
		m.figure(name+"wall-of-raw", seconds(wall)/seconds(rawWall), "x")
		wall, _ = taken(func() {
			if changed, err := ipsec.New(dir, quiet, time.Now).Ensure(ipsecWant(n, psk)); err != nil || changed {
				t.Errorf("a restart: changed %v, error %v", changed, err)
			}
		})
		m.figure(name+"restart", seconds(wall), "s")
		wall, _ = taken(func() {
			if changed, err := engine.Ensure(ipsecWant(n+1, psk)); err != nil || !changed {
				t.Errorf("one more: changed %v, error %v", changed, err)
			}
		})
		m.figure(name+"plus-1", millis(wall), "ms")
		have, err := netlink.XfrmPolicyList(netlink.FAMILY_V4)
		have = slices.DeleteFunc(have, func(p netlink.XfrmPolicy) bool { return len(p.Tmpls) == 0 }) // charon's own, for IKE
		if want := 3 * (n + 1); err == nil && len(have) != want {
			err = fmt.Errorf("the kernel has %d policies of %d", len(have), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ipsecWant is IPsec with n peers.
func ipsecWant(n int, psk string) ipsec.Want {
	w := ipsec.Want{Local: hub, Subnet: netip.MustParsePrefix("10.255.0.0/26"), ESP: profiles.DefaultESPProposal, PSKFile: psk}
	for i := range n {
		w.Peers = append(w.Peers, ipsec.Peer{Node: fmt.Sprint("peer-", i), Subnet: subnet4(i), Address: address4(i)})
	}
	return w
}

// answers waits until charon does.
func answers(engine *ipsec.Engine, want ipsec.Want) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	news, err := engine.Changes(ctx) // first, to miss nothing
	if err != nil {
		return err
	}
	if _, err = engine.Ensure(want); err == nil {
		return nil
	}
	for range news {
		if _, err = engine.Ensure(want); err == nil {
			return nil
		}
	}
	return fmt.Errorf("charon does not answer (it needs the package strongswan-swanctl, for its plugin vici): %w", err)
}

// taken is what f takes of this process and the kernel in its name.
func taken(f func()) (wall, cpu time.Duration) {
	start, used := time.Now(), threadCPU()
	f()
	return time.Since(start), threadCPU() - used
}

// rawPolicies is what the kernel takes for the policies of n peers, in a
// namespace of its own.
func rawPolicies(t *testing.T, n int) (wall, cpu time.Duration) {
	t.Helper()
	var messages [][]byte
	for _, p := range ipsecWant(n, "").Policies() {
		messages = append(messages, policyMessage(p))
	}
	err := nstest.New(t, "raw").Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_XFRM)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*batch); err != nil {
			return err
		}
		wall, cpu = taken(func() { err = send(fd, messages) })
		return err
	})
	if err != nil {
		t.Fatalf("raw: %v", err)
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
