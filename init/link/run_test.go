package link

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/profiles"
)

// inNamespace runs the calling test again in a network namespace of its own,
// as root there, and reports whether this is that run.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("WEFT_NAMESPACE") == t.Name() {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "WEFT_NAMESPACE="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in a network namespace (user namespaces must be allowed): %v\n%s", err, out)
	}
	return false
}

// cable makes a pair of devices, up0 and its far end isp0, which is up.
func cable(t *testing.T) {
	t.Helper()
	far := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "isp0"}, PeerName: "up0"}
	if err := netlink.LinkAdd(far); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(far); err != nil {
		t.Fatal(err)
	}
}

// server answers DHCP requests on isp0: 192.0.2.10/24 and what options add.
// The address can be changed while it runs.
type server struct {
	address chan net.IP
	named   string
}

func (s *server) run(t *testing.T, ctx context.Context) {
	t.Helper()
	far, err := netlink.LinkByName("isp0")
	if err != nil {
		t.Error(err)
		return
	}
	// ETH_P_IP in network byte order; both architectures are little-endian.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0x0008)
	if err != nil {
		t.Error(err)
		return
	}
	sock := os.NewFile(uintptr(fd), "server")
	context.AfterFunc(ctx, func() { sock.Close() })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: far.Attrs().Index}); err != nil {
		t.Error(err)
		return
	}
	address := net.IPv4(192, 0, 2, 10)
	buf := make([]byte, 2000)
	for {
		n, err := sock.Read(buf)
		if errors.Is(err, unix.ENETDOWN) {
			continue // told once when the device goes down
		}
		if err != nil {
			return
		}
		select {
		case address = <-s.address:
		default:
		}
		if n < 28 || buf[9] != 17 || buf[23] != 67 {
			continue
		}
		request, err := dhcpv4.FromBytes(buf[28:n])
		if err != nil {
			continue
		}
		answer := s.answer(request, address)
		to := unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: far.Attrs().Index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
		_ = unix.Sendto(fd, packet(answer.ToBytes()), 0, &to)
	}
}

func (s *server) answer(request *dhcpv4.DHCPv4, address net.IP) *dhcpv4.DHCPv4 {
	answer, err := dhcpv4.NewReplyFromRequest(request)
	if err != nil {
		panic(err)
	}
	kind := dhcpv4.MessageTypeOffer
	if request.MessageType() == dhcpv4.MessageTypeRequest {
		kind = dhcpv4.MessageTypeAck
		if !request.RequestedIPAddress().Equal(address) {
			kind = dhcpv4.MessageTypeNak
		}
	}
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	_, near, _ := net.ParseCIDR("203.0.113.1/32")
	answer.UpdateOption(dhcpv4.OptMessageType(kind))
	answer.UpdateOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 1)))
	if kind == dhcpv4.MessageTypeNak {
		return answer
	}
	answer.YourIPAddr = address
	answer.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(24, 32)))
	answer.UpdateOption(dhcpv4.OptClasslessStaticRoute(
		&dhcpv4.Route{Dest: all, Router: net.IPv4(203, 0, 113, 1)}, &dhcpv4.Route{Dest: near, Router: net.IPv4zero}))
	answer.UpdateOption(dhcpv4.OptDNS(net.IPv4(192, 0, 2, 53)))
	answer.UpdateOption(dhcpv4.OptHostName(s.named))
	answer.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{0x05, 0xaa}))
	answer.UpdateOption(dhcpv4.OptIPAddressLeaseTime(time.Hour))
	return answer
}

// packet puts an answer into an IPv4 packet for port 68, without checksums
// but the one IP wants.
func packet(payload []byte) []byte {
	b := make([]byte, 28+len(payload))
	b[0], b[2], b[3], b[8], b[9] = 0x45, byte(len(b)>>8), byte(len(b)), 64, 17
	copy(b[12:], []byte{192, 0, 2, 1, 255, 255, 255, 255})
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	sum = ^(sum>>16 + sum&0xffff)
	b[10], b[11] = byte(sum>>8), byte(sum)
	b[21], b[23] = 67, 68
	b[24], b[25] = byte((8+len(payload))>>8), byte(8+len(payload))
	copy(b[28:], payload)
	return b
}

// follow runs the manager and returns the states it tells and the names.
func follow(t *testing.T, links []profiles.Link) (<-chan []Uplink, <-chan string) {
	t.Helper()
	states, names := make(chan []Uplink, 1000), make(chan string, 100)
	// The sysfs mounted here shows another namespace's devices.
	sys := t.TempDir()
	for _, name := range []string{"up0", "lan.7", "bond0", "br0"} {
		dir := filepath.Join(sys, "class/net", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "type"), []byte("1\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		ended <- Run(ctx, Config{
			Links: links, Sys: sys, Random: rand.Reader, Hostname: func() string { return "n1" },
			UUID:    func() [16]byte { return [16]byte{1} },
			Go:      func(f func()) { go f() },
			Need:    func(string) {},
			Prepare: func(name string, ra bool) { t.Logf("prepare %s %v", name, ra) },
			Step:    func(name string, _ time.Duration, text string) { t.Logf("%s: %s", name, text) },
			Problem: func(err error) { t.Logf("problem: %v", err) },
			Changed: func(u []Uplink) { states <- u },
			Named:   func(name string) { names <- name },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return states, names
}

// until waits for a state.
func until(t *testing.T, states <-chan []Uplink, what string, ok func([]Uplink) bool) []Uplink {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case u := <-states:
			if ok(u) {
				return u
			}
		case <-deadline:
			t.Fatalf("no state with %s", what)
		}
	}
}

// kernel lists what ip(8) would: addresses and default routes of up0.
func kernel(t *testing.T) string {
	t.Helper()
	dev, err := netlink.LinkByName("up0")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := netlink.AddrList(dev, unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	routes, err := netlink.RouteList(dev, unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range addrs {
		all = append(all, fmt.Sprintf("address %s finite %v", a.IPNet, a.ValidLft > 0 && a.ValidLft <= 3600))
	}
	for _, r := range routes {
		if r.Protocol != unix.RTPROT_KERNEL {
			all = append(all, fmt.Sprintf("route %v via %v proto %d", r.Dst, r.Gw, r.Protocol))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "; ") + fmt.Sprintf("; mtu %d", dev.Attrs().MTU)
}

func has(addr string) func([]Uplink) bool {
	return func(ups []Uplink) bool {
		return len(ups) == 1 && slices.Contains(ups[0].Addresses, netip.MustParseAddr(addr))
	}
}

// TestDHCPConfiguresAnUplinkAndFollowsTheNetwork goes through a node's day:
// an address by DHCP, the cable pulled and put into another network, the
// device gone and back.
func TestDHCPConfiguresAnUplinkAndFollowsTheNetwork(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cable(t)
	s := &server{address: make(chan net.IP, 1), named: "given"}
	go s.run(t, t.Context())
	states, names := follow(t, []profiles.Link{{Match: profiles.Match{Name: "up0"}}})

	ups := until(t, states, "an address and its server", func(u []Uplink) bool { return has("192.0.2.10")(u) && len(u[0].DNS) == 1 })
	if got := <-names; got != "given" || ups[0].DNS[0] != netip.MustParseAddr("192.0.2.53") {
		t.Errorf("name %q, %+v", got, ups)
	}
	const want = "address 192.0.2.10/24 finite true; route 0.0.0.0/0 via 203.0.113.1 proto 16; route 203.0.113.1/32 via <nil> proto 16; mtu 1450"
	if got := kernel(t); got != want {
		t.Errorf("kernel: %s\nwant:   %s", got, want)
	}

	// The cable leads to another network, whose server takes the address back.
	s.address <- net.IPv4(192, 0, 2, 99)
	far, err := netlink.LinkByName("isp0")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(far); err != nil {
		t.Fatal(err)
	}
	until(t, states, "no carrier", func(u []Uplink) bool { return !u[0].Carrier && len(u[0].Addresses) == 1 })
	if err := netlink.LinkSetUp(far); err != nil {
		t.Fatal(err)
	}
	until(t, states, "the new address", has("192.0.2.99"))
	if got := kernel(t); !strings.Contains(got, "192.0.2.99/24") || strings.Contains(got, "192.0.2.10") {
		t.Errorf("kernel: %s", got)
	}

	// The device goes and comes back.
	if err := netlink.LinkDel(far); err != nil {
		t.Fatal(err)
	}
	until(t, states, "no uplink", func(u []Uplink) bool { return len(u) == 0 })
}

func TestStaticAddressesNeedNoServer(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	states, _ := follow(t, []profiles.Link{{
		Match:     profiles.Match{Name: "up0"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.2/24"), netip.MustParsePrefix("2001:db8::2/64")},
		Gateways:  []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("fe80::1")},
		DNS:       []netip.Addr{netip.MustParseAddr("2001:db8::53")},
		MTU:       1400,
	}})
	until(t, states, "nothing", func(u []Uplink) bool { return len(u) == 0 })
	cable(t) // the device appears later
	ups := until(t, states, "both addresses", func(u []Uplink) bool { return has("198.51.100.2")(u) && has("2001:db8::2")(u) })
	if len(ups[0].DNS) != 1 || !ups[0].Carrier {
		t.Errorf("uplinks %+v", ups)
	}
	const want = "address 198.51.100.2/24 finite false; route 0.0.0.0/0 via 198.51.100.1 proto 4; mtu 1400"
	if got := kernel(t); got != want {
		t.Errorf("kernel: %s\nwant:   %s", got, want)
	}
	dev, err := netlink.LinkByName("up0")
	if err != nil {
		t.Fatal(err)
	}
	routes, err := netlink.RouteList(dev, unix.AF_INET6)
	if err != nil || !slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Gw.Equal(net.ParseIP("fe80::1")) && r.Protocol == protoStatic }) {
		t.Errorf("routes %v, %v", routes, err)
	}
}
