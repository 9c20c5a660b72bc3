package status

import (
	"encoding/json"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace runs f in a network namespace of its own.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("install iproute2: make deps")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace: %v; run the tests as root", err)
	}
	f()
}

// ip runs ip(8) in the thread's namespace.
func ip(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// What is shown is what ip(8) shows.
func TestTheKernelsNetworkIsReadAsIPShowsIt(t *testing.T) {
	inNamespace(t, func() {
		for _, line := range []string{
			"link set lo up", "link add br0 type bridge", "link set br0 mtu 1400 up", "link add v0 type veth peer name v1", "link set v0 master br0 up", "link set v1 up",
			"addr add 10.9.0.1/24 dev br0", "addr add fd00:9::1/64 dev br0 nodad valid_lft 5000 preferred_lft 4000",
			"route add default via 10.9.0.2 metric 50", "route add 10.44.0.0/16 via 10.9.0.3 proto static",
			"-6 route add default via fd00:9::2 dev br0 proto ra metric 1024 expires 1800",
			"-6 route add fd00:44::/48 nexthop via fd00:9::3 dev br0 nexthop via fd00:9::4 dev br0",
			"route add blackhole 10.45.0.0/16", "route add 10.46.0.0/16 dev br0 table 200",
		} {
			ip(t, strings.Fields(line)...)
		}
		links, routes, err := Network()
		if err != nil {
			t.Fatal(err)
		}
		checkLinks(t, links)
		checkRoutes(t, routes)
	})
}

func checkLinks(t *testing.T, links []Link) {
	t.Helper()
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
	}
	if !slices.Equal(names, []string{"lo", "br0"}) {
		t.Errorf("links %q; the ends of pods should be left out", names)
	}
	var shown []struct {
		Address string
		MTU     int
	}
	if err := json.Unmarshal(ip(t, "-j", "link", "show", "br0"), &shown); err != nil || len(shown) != 1 {
		t.Fatal(shown, err)
	}
	br0 := links[1]
	// A bridge gets its carrier a moment later; the loopback has it at once.
	if lo := links[0]; !lo.Up || !lo.Carrier || lo.MAC != "" {
		t.Errorf("%+v", lo)
	}
	if br0.MAC != shown[0].Address || br0.MTU != shown[0].MTU || br0.Kind != "bridge" || !br0.Up {
		t.Errorf("%+v, ip shows %+v", br0, shown[0])
	}
	i := slices.IndexFunc(br0.Addresses, func(a Address) bool { return a.Prefix == "fd00:9::1/64" })
	if i < 0 || br0.Addresses[i].Valid == nil || *br0.Addresses[i].Valid < 4900 || *br0.Addresses[i].Valid > 5000 || *br0.Addresses[i].Preferred > 4000 {
		t.Errorf("addresses %+v", br0.Addresses)
	}
	i = slices.IndexFunc(br0.Addresses, func(a Address) bool { return a.Prefix == "10.9.0.1/24" })
	if i < 0 || br0.Addresses[i].Valid != nil {
		t.Errorf("addresses %+v", br0.Addresses)
	}
}

func checkRoutes(t *testing.T, routes []Route) {
	t.Helper()
	var got []string
	for _, r := range routes {
		text := r.To + " " + r.Via + " " + r.Device + " " + r.Origin
		if r.Expires != nil {
			text += " expires"
			if r.Origin == "ra" && (*r.Expires < 1700 || *r.Expires > 1800) {
				t.Errorf("%s in %d s", text, *r.Expires)
			}
		}
		got = append(got, text)
	}
	for _, want := range []string{
		"default 10.9.0.2 br0 boot", "default fd00:9::2 br0 ra expires", "10.44.0.0/16 10.9.0.3 br0 static", "10.9.0.0/24  br0 kernel",
		"fd00:44::/48 fd00:9::3 br0 boot", "fd00:44::/48 fd00:9::4 br0 boot",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no route %q in %q", want, got)
		}
	}
	for _, not := range []string{"10.45.", "10.46.", "fe80:", "ff00:"} {
		if slices.ContainsFunc(got, func(r string) bool { return strings.HasPrefix(r, not) }) {
			t.Errorf("a route to %s in %q", not, got)
		}
	}
	if !strings.HasPrefix(got[0], "default") || !strings.HasPrefix(got[1], "default") {
		t.Errorf("default routes do not come first: %q", got)
	}
}

// A route that has run out, but is still listed, has nothing left; one that
// says more bytes than it has is passed over.
func TestOddMessages(t *testing.T) {
	header := syscall.NlMsghdr{Type: unix.RTM_NEWROUTE}
	base := []byte{unix.AF_INET6, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_RA, 0, unix.RTN_UNICAST, 0, 0, 0, 0}
	life := append(slices.Clone(base), 36, 0, unix.RTA_CACHEINFO, 0)
	life = append(life, make([]byte, 32)...)
	life[len(base)+4+8], life[len(base)+4+9], life[len(base)+4+10], life[len(base)+4+11] = 0xff, 0xff, 0xff, 0xff // -1 tick
	got := parseRoute(syscall.NetlinkMessage{Header: header, Data: life}, nil)
	if len(got) != 1 || got[0].Expires == nil || *got[0].Expires != 0 {
		t.Errorf("%+v", got)
	}
	short := append(slices.Clone(base), 200, 0, unix.RTA_CACHEINFO, 0)
	if got := parseRoute(syscall.NetlinkMessage{Header: header, Data: short}, nil); len(got) != 1 || got[0].Expires != nil {
		t.Errorf("%+v", got)
	}
	if got := parseRoute(syscall.NetlinkMessage{Header: header, Data: base[:5]}, nil); got != nil {
		t.Errorf("%+v", got)
	}
}

func FuzzMessages(f *testing.F) {
	for _, what := range []int{unix.RTM_GETLINK, unix.RTM_GETADDR, unix.RTM_GETROUTE} {
		messages, err := dump(what, unix.AF_UNSPEC)
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range messages[:min(len(messages), 8)] {
			f.Add(m.Header.Type, m.Data)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint16, data []byte) {
		m := syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind}, Data: data}
		parseLink(m)
		if _, a, ok := parseAddress(m); ok {
			if _, err := netip.ParsePrefix(a.Prefix); err != nil {
				t.Errorf("address %q: %v", a.Prefix, err)
			}
		}
		for _, r := range parseRoute(m, nil) {
			if _, err := netip.ParsePrefix(r.To); r.To != "default" && err != nil {
				t.Errorf("route %q: %v", r.To, err)
			}
		}
	})
}
