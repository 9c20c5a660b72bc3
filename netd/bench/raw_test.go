package bench

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/netd/wanted"
)

// batch is how many bytes are sent at once.
const batch = 128 << 10

// rawLimit is what the kernel takes for the messages that peers need, in a
// namespace of its own: each is sent in one batch after the other, and only
// the last is confirmed.
func rawLimit(t testing.TB, n int, k kind) (wall, cpu time.Duration) {
	t.Helper()
	x := nstest.New(t, "raw")
	x.Run(t, "ip", "link", "add", "eth0", "type", "bridge")
	x.Run(t, "ip", "link", "set", "eth0", "up")
	x.Run(t, "ip", "address", "add", "10.0.0.1/9", "dev", "eth0")
	x.Run(t, "ip", nstest.AddAddress("eth0", "fd00:10::1/64")...)
	for _, d := range []struct{ name, local string }{{"flannel.1", "10.0.0.1"}, {"flannel-v6.1", "fd00:10::1"}} {
		x.Run(t, "ip", "link", "add", d.name, "type", "vxlan", "id", "1", "dev", "eth0", "local", d.local, "dstport", "8472", "nolearning")
		x.Run(t, "ip", "link", "set", d.name, "up")
	}
	err := x.Do(func() error {
		index := map[string]int{}
		for _, name := range []string{"eth0", "flannel.1", "flannel-v6.1"} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			index[name] = link.Attrs().Index
		}
		var messages [][]byte
		for i := range n {
			messages = append(messages, peerMessages(i, k, index)...)
		}
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		// The send buffer holds a batch.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*batch); err != nil {
			return err
		}
		start, used := time.Now(), threadCPU()
		if err := send(fd, messages); err != nil {
			return err
		}
		wall, cpu = time.Since(start), threadCPU()-used
		return nil
	})
	if err != nil {
		t.Fatalf("raw: %v", err)
	}
	have := 0
	for _, family := range []string{"-4", "-6"} {
		have += countLines(x.Run(t, "ip", family, "route", "show"), " via ")
	}
	if want := n * k.families(); have != want {
		t.Fatalf("raw: the kernel has %d routes of %d", have, want)
	}
	return wall, cpu
}

// send sends messages and waits until the last is done: the kernel does each
// batch before the call returns.
func send(fd int, messages [][]byte) error {
	buffer := make([]byte, 0, batch)
	flush := func() error {
		err := unix.Sendto(fd, buffer, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		buffer = buffer[:0]
		return err
	}
	for _, m := range messages {
		if len(buffer)+len(m) > batch {
			if err := flush(); err != nil {
				return err
			}
		}
		buffer = append(buffer, m...)
	}
	return flush()
}

// peerMessages are the messages for one peer.
func peerMessages(i int, k kind, index map[string]int) [][]byte {
	var all [][]byte
	for _, ipv6 := range k.ipv6() {
		subnet, address, device := subnet4(i), address4(i), "flannel.1"
		if ipv6 {
			subnet, address, device = subnet6(i), address6(i), "flannel-v6.1"
		}
		if k.backend == "host-gw" {
			all = append(all, routeMessage(subnet, address, index["eth0"], 0))
			continue
		}
		all = append(all,
			neighMessage(unix.AF_UNSPEC, subnet.Addr(), macOf(i), index[device]),
			neighMessage(unix.AF_BRIDGE, address, macOf(i), index[device]),
			routeMessage(subnet, subnet.Addr(), index[device], unix.RTNH_F_ONLINK))
	}
	return all
}

func neighMessage(family int, ip netip.Addr, mac net.HardwareAddr, index int) []byte {
	m := request(unix.RTM_NEWNEIGH)
	body := &netlink.Ndmsg{Family: uint8(family), Index: uint32(index), State: unix.NUD_PERMANENT}
	if family == unix.AF_BRIDGE {
		body.Flags = unix.NTF_SELF
	} else if body.Family = unix.AF_INET; ip.Is6() {
		body.Family = unix.AF_INET6
	}
	m.AddData(body)
	m.AddData(nl.NewRtAttr(unix.NDA_DST, ip.AsSlice()))
	m.AddData(nl.NewRtAttr(unix.NDA_LLADDR, mac))
	return m.Serialize()
}

func routeMessage(dst netip.Prefix, via netip.Addr, index int, flags uint32) []byte {
	m := request(unix.RTM_NEWROUTE)
	body := nl.NewRtMsg()
	body.Family, body.Dst_len, body.Protocol, body.Flags = unix.AF_INET, uint8(dst.Bits()), wanted.ProtocolFor(dst), flags
	if via.Is6() {
		body.Family = unix.AF_INET6
	}
	m.AddData(body)
	m.AddData(nl.NewRtAttr(unix.RTA_DST, dst.Addr().AsSlice()))
	m.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, via.AsSlice()))
	number := make([]byte, 4)
	nl.NativeEndian().PutUint32(number, uint32(index))
	m.AddData(nl.NewRtAttr(unix.RTA_OIF, number))
	return m.Serialize()
}

func request(kind int) *nl.NetlinkRequest {
	return nl.NewNetlinkRequest(kind, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
}

// threadCPU is the CPU time of the calling thread.
func threadCPU() time.Duration { return rusage(unix.RUSAGE_THREAD) }

// processCPU is the CPU time of this process.
func processCPU() time.Duration { return rusage(unix.RUSAGE_SELF) }

func rusage(who int) time.Duration {
	var used unix.Rusage
	if unix.Getrusage(who, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
