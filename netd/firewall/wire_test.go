package firewall

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/netd/wanted"
	"weft/profiles"
)

// A wire is two nodes with a pod each, a tunnel between them, and a host on
// the same LAN that is not of the cluster.
type wire struct {
	node, pod [2]*nstest.Node
	outside   *nstest.Node
}

// addresses are those of one family. The tunnel devices have the first of the
// subnets, as flannel's.
type addresses struct {
	name          string
	node, tunnel  [2]string
	gateway, pod  [2]string
	outside       string
	service       string
	group         string
	subnet        [2]string
	length, whole string
}

var wireFamilies = []addresses{
	{name: "IPv4", node: [2]string{"10.0.0.1", "10.0.0.2"}, tunnel: [2]string{"10.244.1.0", "10.244.2.0"},
		gateway: [2]string{"10.244.1.1", "10.244.2.1"}, pod: [2]string{"10.244.1.10", "10.244.2.10"}, outside: "10.0.0.9",
		service: "10.96.0.10", group: "239.1.1.1", subnet: [2]string{"10.244.1.0/24", "10.244.2.0/24"}, length: "/24", whole: "/32"},
	{name: "IPv6", node: [2]string{"fd00:10::1", "fd00:10::2"}, tunnel: [2]string{"fd42:0:0:1::", "fd42:0:0:2::"},
		gateway: [2]string{"fd42:0:0:1::1", "fd42:0:0:2::1"}, pod: [2]string{"fd42:0:0:1::a", "fd42:0:0:2::a"}, outside: "fd00:10::9",
		service: "fd42:0:1::10", group: "ff15::1", subnet: [2]string{"fd42:0:0:1::/64", "fd42:0:0:2::/64"}, length: "/64", whole: "/128"},
}

// newWire connects it all; MTUs are 1500 but for the tunnel's 1450.
func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{outside: nstest.New(t, "outside")}
	lan := nstest.NewLAN(t, "lan")
	four, six := wireFamilies[0], wireFamilies[1]
	lan.Attach(t, w.outside, "eth0", four.outside+"/24", six.outside+"/64")
	for i := range w.node {
		w.node[i] = nstest.New(t, fmt.Sprintf("node-%d", i+1))
		w.pod[i] = nstest.New(t, fmt.Sprintf("pod-%d", i+1))
		lan.Attach(t, w.node[i], "eth0", four.node[i]+"/24", six.node[i]+"/64")
	}
	veth := func(a *nstest.Node, deviceA string, b *nstest.Node, deviceB, mtu string) {
		if err := nstest.Veth(a, deviceA, b, deviceB); err != nil {
			t.Fatal(err)
		}
		a.Run(t, "ip", "link", "set", deviceA, "mtu", mtu, "up")
		b.Run(t, "ip", "link", "set", deviceB, "mtu", mtu, "up")
	}
	veth(w.node[0], "flannel.1", w.node[1], "flannel.1", "1450")
	for i := range w.node {
		veth(w.node[i], "pod", w.pod[i], "eth0", "1500")
	}
	for _, f := range wireFamilies {
		for i, n := range w.node {
			n.Run(t, "ip", nstest.AddAddress("flannel.1", f.tunnel[i]+f.whole)...)
			n.Run(t, "ip", nstest.AddAddress("pod", f.gateway[i]+f.length)...)
			n.Run(t, "ip", "route", "add", f.subnet[1-i], "via", f.tunnel[1-i], "dev", "flannel.1", "onlink")
			w.pod[i].Run(t, "ip", nstest.AddAddress("eth0", f.pod[i]+f.length)...)
			w.pod[i].Run(t, "ip", "route", "add", "default", "via", f.gateway[i])
			w.outside.Run(t, "ip", "route", "add", f.subnet[i], "via", f.node[i])
		}
	}
	return w
}

// protect puts the rules of network in place on both nodes.
func (w *wire) protect(t *testing.T, network profiles.Network) {
	t.Helper()
	for i, n := range w.node {
		own := wanted.Node{IPv4: netip.MustParsePrefix(wireFamilies[0].subnet[i]), IPv6: netip.MustParsePrefix(wireFamilies[1].subnet[i])}
		ensure(t, n, Wanted(own, network))
	}
}

// echo answers each datagram with the address it came from.
func echo(t *testing.T, n *nstest.Node, address, port string) {
	t.Helper()
	var conn net.PacketConn
	err := n.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", net.JoinHostPort(address, port))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 64)
		for {
			_, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo([]byte(from.(*net.UDPAddr).AddrPort().Addr().Unmap().String()), from)
		}
	}()
}

// seenAs sends a datagram from an address of a node (any when empty) and
// returns the source address the other side saw, which it sent back.
func seenAs(n *nstest.Node, from, to, port string) (seen string, err error) {
	err = n.Do(func() error {
		var dialer net.Dialer
		if from != "" {
			dialer.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
		}
		conn, err := dialer.Dial("udp", net.JoinHostPort(to, port))
		if err != nil {
			return err
		}
		defer conn.Close()
		buf := make([]byte, 64)
		for range 5 { // the first may be lost while neighbours are looked for
			if _, err = conn.Write([]byte("?")); err != nil {
				return err
			}
			conn.SetReadDeadline(time.Now().Add(time.Second))
			var n int
			if n, err = conn.Read(buf); err == nil {
				seen = string(buf[:n])
				return nil
			}
		}
		return err
	})
	return seen, err
}

// packetFilters runs a test with each packet filter.
func packetFilters(t *testing.T, f func(t *testing.T, mode string)) {
	t.Run("nftables", func(t *testing.T) { f(t, profiles.FirewallNFTables) })
	t.Run("iptables", func(t *testing.T) { f(t, profiles.FirewallIPTables) })
	t.Run("legacy iptables", func(t *testing.T) { useLegacy(t); f(t, profiles.FirewallIPTables) })
}

func TestPacketsHaveTheAddressesTheyShould(t *testing.T) {
	packetFilters(t, func(t *testing.T, mode string) {
		w := newWire(t)
		network := testNetwork(true)
		network.Firewall.Mode = mode
		w.protect(t, network)
		for _, family := range []string{"ip", "ip6"} { // port 7777 is decided about elsewhere
			w.node[0].Run(t, "nft", "add", "table", family, "marks")
			w.node[0].Run(t, "nft", "add", "chain", family, "marks", "pre", "{ type filter hook prerouting priority mangle; }")
			w.node[0].Run(t, "nft", "add", "rule", family, "marks", "pre", "udp", "dport", "7777", "meta", "mark", "set", "0x4000")
		}
		for _, f := range wireFamilies {
			for i := range w.pod {
				echo(t, w.pod[i], f.pod[i], "7000")
			}
			echo(t, w.outside, f.outside, "7000")
			echo(t, w.outside, f.outside, "7777")
			for _, c := range []struct {
				name           string
				from           *nstest.Node
				bound, to      string
				port, expected string
			}{
				{"pod to remote pod", w.pod[0], "", f.pod[1], "7000", f.pod[0]},
				{"host to remote pod", w.node[0], f.node[0], f.pod[1], "7000", f.tunnel[0]},
				{"host to own pod", w.node[0], f.node[0], f.pod[0], "7000", f.node[0]},
				{"pod to outside", w.pod[0], "", f.outside, "7000", f.node[0]},
				{"pod to outside, marked", w.pod[0], "", f.outside, "7777", f.pod[0]},
				{"outside to own pod", w.outside, "", f.pod[0], "7000", f.outside},
			} {
				if seen, err := seenAs(c.from, c.bound, c.to, c.port); err != nil || seen != c.expected {
					t.Errorf("%s, %s: seen as %q, %v; want %s", f.name, c.name, seen, err, c.expected)
				}
			}
			if seen, err := w.multicast(f); err != nil || seen != f.gateway[0] {
				t.Errorf("%s, multicast: seen as %q, %v; want %s", f.name, seen, err, f.gateway[0])
			}
		}
	})
}

// multicast sends from a pod address of node 1 to a group the outside is in
// and returns the source address seen there.
func (w *wire) multicast(f addresses) (seen string, err error) {
	var listener *net.UDPConn
	err = w.outside.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err == nil {
			listener, err = net.ListenMulticastUDP("udp", eth0, &net.UDPAddr{IP: net.ParseIP(f.group), Port: 7100})
		}
		return err
	})
	if err != nil {
		return "", err
	}
	defer listener.Close()
	err = w.node[0].Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		to := &net.UDPAddr{IP: net.ParseIP(f.group), Port: 7100}
		if to.IP.To4() == nil {
			to.Zone = "eth0"
		}
		// By itself IPv4 would take the device that has the source address.
		dialer := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(f.gateway[0])}, Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) {
				_ = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(eth0.Index)})
			})
		}}
		conn, err := dialer.Dial("udp", to.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("!"))
		return err
	})
	if err != nil {
		return "", err
	}
	listener.SetReadDeadline(time.Now().Add(3 * time.Second))
	_, from, err := listener.ReadFromUDPAddrPort(make([]byte, 64))
	return from.Addr().Unmap().String(), err
}

func TestForwardRulesLetPodsThroughADropPolicyInIPTables(t *testing.T) {
	inBothKinds(t, func(t *testing.T) {
		w := newWire(t)
		network := testNetwork(true)
		network.Firewall.Mode = profiles.FirewallIPTables
		w.protect(t, network)
		for i, program := range []string{"iptables", "ip6tables"} {
			f := wireFamilies[i]
			w.node[0].Run(t, program, "-P", "FORWARD", "DROP")
			echo(t, w.pod[1], f.pod[1], "7000")
			if _, err := seenAs(w.pod[0], "", f.pod[1], "7000"); err != nil {
				t.Errorf("%s: pods are not let through: %v", f.name, err)
			}
		}
	})
}

// A pod whose MTU is too large for the tunnel agrees on segments that fit,
// whichever side opens the connection.
func TestClampedSegmentsFitTheTunnel(t *testing.T) {
	packetFilters(t, func(t *testing.T, mode string) {
		w := newWire(t)
		network := testNetwork(true)
		network.Firewall.Mode = mode
		w.protect(t, network)
		// Segments have 12 bytes less than the MSS, for timestamps (RFC 7323).
		segment := map[string]int{"IPv4": 1450 - 20 - 20 - 12, "IPv6": 1450 - 40 - 20 - 12}
		for _, clamped := range []bool{false, true} {
			network.Firewall.MSSClamp = clamped
			w.protect(t, network)
			for _, f := range wireFamilies {
				want := segment[f.name]
				if !clamped {
					want += 50
				}
				for from := range w.pod {
					client, server, err := segments(w.pod[from], w.pod[1-from], f.pod[1-from])
					if err != nil || client != want || server != want {
						t.Errorf("%s, clamped %v: segments of %d and %d bytes, %v; want %d", f.name, clamped, client, server, err, want)
					}
				}
			}
		}
	})
}

// segments opens a connection and returns the segment size each side sends.
func segments(from, to *nstest.Node, address string) (client, server int, err error) {
	var listener net.Listener
	err = to.Do(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(address, "0"))
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	defer listener.Close()
	var near, far net.Conn
	err = from.Do(func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		near, err = (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	defer near.Close()
	if far, err = listener.Accept(); err != nil {
		return 0, 0, err
	}
	defer far.Close()
	if client, err = segmentOf(near); err != nil {
		return 0, 0, err
	}
	server, err = segmentOf(far)
	return client, server, err
}

func segmentOf(conn net.Conn) (size int, err error) {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO); err == nil {
			size = int(info.Snd_mss)
		}
	})
	if failed != nil {
		return 0, failed
	}
	return size, err
}
