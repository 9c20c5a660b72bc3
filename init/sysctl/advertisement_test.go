package sysctl

import (
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

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

// set writes settings that the test itself needs.
func set(t *testing.T, list ...Setting) {
	t.Helper()
	for _, err := range WriteAll("/proc/sys", list) {
		t.Fatal(err)
	}
}

// cable makes a pair of devices whose addresses work at once, without
// duplicate address detection. Both are up.
func cable(t *testing.T, near, far string) {
	t.Helper()
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: far}, PeerName: near}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{near, far} {
		set(t, Setting{"net.ipv6.conf." + name + ".accept_dad", "0", ""})
		dev, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(dev); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, near, far)
}

// settled waits until devices have their link-local addresses, which the
// kernel gives once both ends are up.
func settled(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		dev, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			addrs, err := netlink.AddrList(dev, unix.AF_INET6)
			if err != nil {
				t.Fatal(err)
			}
			if len(addrs) > 0 && addrs[0].Flags&unix.IFA_F_TENTATIVE == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s has no link-local address", name)
			}
		}
	}
}

// advertise sends a router advertisement (RFC 4861 section 4.2) from a
// device: a default router for a minute.
func advertise(t *testing.T, from string) {
	t.Helper()
	dev, err := net.InterfaceByName(from)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for opt, value := range map[int]int{unix.IPV6_MULTICAST_HOPS: 255, unix.IPV6_MULTICAST_IF: dev.Index} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, opt, value); err != nil {
			t.Fatal(err)
		}
	}
	const routerAdvertisement, lifetime = 134, 60
	message := make([]byte, 16)
	message[0], message[4] = routerAdvertisement, 64
	binary.BigEndian.PutUint16(message[6:], lifetime)
	to := &unix.SockaddrInet6{Addr: [16]byte{0: 0xff, 1: 0x02, 15: 1}, ZoneId: uint32(dev.Index)}
	if err := unix.Sendto(fd, message, 0, to); err != nil {
		t.Fatal(err)
	}
}

// routed waits until the default route by a device is there, or is not, as
// wanted. Its absence is only seen after time enough for it to come.
func routed(t *testing.T, by string, want bool) {
	t.Helper()
	dev, err := netlink.LinkByName(by)
	if err != nil {
		t.Fatal(err)
	}
	has := func() bool {
		routes, err := netlink.RouteList(dev, unix.AF_INET6)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes {
			if r.Protocol == unix.RTPROT_RA && (r.Dst == nil || r.Dst.IP.IsUnspecified()) {
				return true
			}
		}
		return false
	}
	limit := 300 * time.Millisecond
	if want {
		limit = 20 * time.Second
	}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if has() == want && want {
			return
		}
	}
	if has() != want {
		t.Errorf("default route by %s: %v, want %v", by, !want, want)
	}
}

// forwarding is what a profile with IPv6 asks for.
var forwarding = []profiles.SysctlNeed{
	{Name: "net.ipv6.conf.default.forwarding", Value: "1"},
	{Name: "net.ipv6.conf.all.forwarding", Value: "1"},
}

func TestTheRouteLearnedBeforeForwardingStays(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cable(t, "up0", "isp0")
	advertise(t, "isp0")
	routed(t, "up0", true)
	set(t, Plan(forwarding, []Uplink{{"up0", true}}, true)...)
	routed(t, "up0", true)
	advertise(t, "isp0")
	routed(t, "up0", true)
}

// TestTheOtherOrderLosesTheRoute shows that the tests here can fail: it is
// the order most guides give.
func TestTheOtherOrderLosesTheRoute(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cable(t, "up0", "isp0")
	advertise(t, "isp0")
	routed(t, "up0", true)
	set(t, Setting{"net.ipv6.conf.all.accept_ra", "2", ""}, Setting{"net.ipv6.conf.all.forwarding", "1", ""})
	routed(t, "up0", false)
	advertise(t, "isp0")
	routed(t, "up0", false)
}

func TestAnUplinkThatAppearsLaterLearnsItsRoute(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	set(t, Plan(forwarding, nil, true)...)
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "isp0"}, PeerName: "up0"}); err != nil {
		t.Fatal(err)
	}
	set(t, AcceptRA(Uplink{"up0", true}))
	for _, name := range []string{"up0", "isp0"} {
		set(t, Setting{"net.ipv6.conf." + name + ".accept_dad", "0", ""})
		dev, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(dev); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, "up0", "isp0")
	advertise(t, "isp0")
	routed(t, "up0", true)
}

func TestAPodCannotBecomeTheNodesRouter(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	set(t, Plan(forwarding, nil, true)...)
	cable(t, "cni0", "pod0") // made after the node was set up, as a pod's is
	advertise(t, "pod0")
	routed(t, "cni0", false)
}

func TestAnUplinkWithoutAdvertisementsLearnsNothing(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cable(t, "up0", "isp0")
	set(t, Plan(forwarding, []Uplink{{"up0", false}}, true)...)
	advertise(t, "isp0")
	routed(t, "up0", false)
}
