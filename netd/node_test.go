package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/netd/status"
	"weft/netd/wanted"
	"weft/profiles"
)

// asNetd is the environment variable that makes the test binary be netd.
const asNetd = "WEFT_TEST_NETD"

func TestMain(m *testing.M) {
	if os.Getenv(asNetd) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(nstest.Main(m))
}

// families of a test network.
type families struct{ v4, v6 bool }

var (
	onlyIPv4 = families{v4: true}
	onlyIPv6 = families{v6: true}
	dual     = families{v4: true, v6: true}
)

func (f families) String() string {
	switch f {
	case onlyIPv4:
		return "IPv4"
	case onlyIPv6:
		return "IPv6"
	}
	return "dual stack"
}

// cluster is nodes on one LAN, each with its netd.
type cluster struct {
	families
	lan   *nstest.LAN
	nodes []*node // node-1 is nodes[0]
}

// node is a node of a cluster.
type node struct {
	*nstest.Node
	number  int
	dir     string
	config  profiles.Netd
	netd    *exec.Cmd
	exited  chan struct{}
	log     *lockedBuffer
	notices *notices
}

// underlay and subnets of a node, by its number.
func underlay4(n int) string { return fmt.Sprintf("10.0.0.%d/24", n) }
func underlay6(n int) string { return fmt.Sprintf("fd00:10::%x/64", n) }
func subnet4(n int) string   { return fmt.Sprintf("10.244.%d.0/24", n) }
func subnet6(n int) string   { return fmt.Sprintf("fd42:0:0:%x::/64", n) }

// newCluster makes n nodes whose netd is configured and not yet started.
func newCluster(t testing.TB, f families, n int, change ...func(*profiles.Netd)) *cluster {
	t.Helper()
	c := &cluster{families: f, lan: nstest.NewLAN(t, "lan")}
	var peers []profiles.Peer
	for i := 1; i <= n; i++ {
		peers = append(peers, peer(f, i))
	}
	for i := 1; i <= n; i++ {
		c.nodes = append(c.nodes, c.newNode(t, i, peers, change))
	}
	return c
}

func (c *cluster) newNode(t testing.TB, i int, peers []profiles.Peer, change []func(*profiles.Netd)) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "netd") // short: the path of a unix socket has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	x := &node{Node: nstest.New(t, fmt.Sprintf("node-%d", i)), number: i, dir: dir, log: &lockedBuffer{}}
	self := peer(c.families, i)
	x.config = profiles.Netd{
		Weft: profiles.NetdVersion,
		Node: profiles.NetdNode{Name: self.Name, UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i),
			Addresses: self.Addresses, Subnets: self.Subnets},
		Network: profiles.Network{Peers: slices.DeleteFunc(slices.Clone(peers), func(p profiles.Peer) bool { return p.Name == self.Name })},
		Paths: profiles.NetdPaths{Socket: dir + "/sock", SubnetEnv: dir + "/subnet.env",
			CNI: dir + "/cni/10-weft.conflist"},
	}
	var addresses []string
	if c.v4 {
		x.config.Network.Pods = append(x.config.Network.Pods, netip.MustParsePrefix("10.244.0.0/16"))
		addresses = append(addresses, underlay4(i))
	}
	if c.v6 {
		x.config.Network.Pods = append(x.config.Network.Pods, netip.MustParsePrefix("fd42::/48"))
		addresses = append(addresses, underlay6(i))
	}
	for _, f := range change {
		f(&x.config)
	}
	x.config.Network = x.config.Network.WithDefaults()
	c.lan.Attach(t, x.Node, "eth0", addresses...)
	x.notices = listenNotices(t, dir+"/notify")
	x.writeConfig(t)
	return x
}

// peer is node number i as its peers know it.
func peer(f families, i int) profiles.Peer {
	p := profiles.Peer{Name: fmt.Sprintf("node-%d", i)}
	if f.v4 {
		p.Addresses = append(p.Addresses, netip.MustParsePrefix(underlay4(i)).Addr())
		p.Subnets = append(p.Subnets, netip.MustParsePrefix(subnet4(i)))
	}
	if f.v6 {
		p.Addresses = append(p.Addresses, netip.MustParsePrefix(underlay6(i)).Addr())
		p.Subnets = append(p.Subnets, netip.MustParsePrefix(subnet6(i)))
	}
	return p
}

func (x *node) writeConfig(t testing.TB) {
	t.Helper()
	data, err := x.config.YAML()
	if err == nil {
		err = os.WriteFile(filepath.Join(x.dir, "netd.yaml"), data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// start starts netd; it does not wait for anything.
func (x *node) start(t testing.TB) {
	t.Helper()
	x.netd = exec.Command("/proc/self/exe", "-config", filepath.Join(x.dir, "netd.yaml"))
	x.netd.Env = append(os.Environ(), asNetd+"=1", "NOTIFY_SOCKET="+x.dir+"/notify")
	x.netd.Stdout, x.netd.Stderr = x.log, x.log
	x.notices.clear()
	if err := x.Start(x.netd); err != nil {
		t.Fatalf("%s: start netd: %v", x.Name, err)
	}
	netd, exited := x.netd, make(chan struct{})
	x.exited = exited
	go func() { _ = netd.Wait(); close(exited) }()
	t.Cleanup(func() {
		_ = netd.Process.Kill()
		<-exited
		if t.Failed() {
			t.Logf("log of netd on %s:\n%s", x.Name, x.log)
		}
	})
}

// startAll starts all netds and waits until they are ready.
func (c *cluster) startAll(t testing.TB) {
	t.Helper()
	for _, x := range c.nodes {
		x.start(t)
	}
	for _, x := range c.nodes {
		x.waitReady(t)
	}
}

// waitReady waits until netd has told the service manager that it is ready.
func (x *node) waitReady(t testing.TB) time.Duration {
	t.Helper()
	return nstest.Eventually(t, 20*time.Second, x.Name+" ready", func() error {
		select {
		case <-x.exited:
			t.Fatalf("%s: netd has ended", x.Name)
		default:
		}
		if !x.notices.has("READY=1") {
			return fmt.Errorf("no READY=1 in %q", x.notices.all())
		}
		return nil
	})
}

// stop sends netd a signal and waits for its end.
func (x *node) stop(t testing.TB, signal unix.Signal) {
	t.Helper()
	if err := x.netd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	select {
	case <-x.exited:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: netd did not end within 10 s of %v", x.Name, signal)
	}
}

// reload makes netd read its changed configuration.
func (x *node) reload(t testing.TB) {
	t.Helper()
	x.writeConfig(t)
	if err := x.netd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// report asks netd how it stands.
func (x *node) report(t testing.TB) status.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := status.Fetch(ctx, x.config.Paths.Socket)
	if err != nil {
		t.Fatalf("%s: %v", x.Name, err)
	}
	return r
}

// objects runs a tool that prints JSON objects and returns them.
func (x *node) objects(t testing.TB, name string, args ...string) []map[string]any {
	t.Helper()
	out := x.Run(t, name, args...)
	var objects []map[string]any
	if err := json.Unmarshal([]byte(out), &objects); err != nil && strings.TrimSpace(out) != "" {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return objects
}

// state is everything that matters on tunnel devices, the routes to pods on
// others, and the rules, as the tools print it.
func (x *node) state(t testing.TB) string {
	t.Helper()
	var all strings.Builder
	for _, device := range x.devices() {
		all.WriteString(x.Run(t, "ip", "-d", "link", "show", device))
		all.WriteString(x.Run(t, "ip", "address", "show", device))
		all.WriteString(x.Run(t, "ip", "-4", "route", "show", "dev", device))
		all.WriteString(x.Run(t, "ip", "-6", "route", "show", "dev", device))
		all.WriteString(x.Run(t, "ip", "neigh", "show", "nud", "permanent", "dev", device))
		all.WriteString(x.Run(t, "bridge", "fdb", "show", "dev", device))
	}
	for _, pods := range x.config.Network.Pods {
		family := "-4"
		if pods.Addr().Is6() {
			family = "-6"
		}
		all.WriteString(x.Run(t, "ip", family, "route", "show", "root", pods.String(), "dev", "eth0"))
	}
	all.WriteString(x.Run(t, "nft", "list", "ruleset", "ip"))
	all.WriteString(x.Run(t, "nft", "list", "ruleset", "ip6"))
	return all.String()
}

// devices are the tunnel devices of the node.
func (x *node) devices() []string {
	var names []string
	for _, pods := range x.config.Network.Pods {
		names = append(names, wanted.DeviceNames(x.config.Network.Backend, pods.Addr().Is6())...)
	}
	return names
}

// becomes waits until the node's state is as it was; netd must have repaired
// it within a second. what says what had happened, just now.
func (x *node) becomes(t testing.TB, want, what string) {
	t.Helper()
	x.becomesSince(t, time.Now(), want, what)
}

// becomesSince is [node.becomes] for what happened at a time.
func (x *node) becomesSince(t testing.TB, start time.Time, want, what string) {
	t.Helper()
	// The tools that read the state take their time on a busy machine; when
	// netd repaired it is for netd to say.
	nstest.Eventually(t, 10*time.Second, x.Name+": repaired after "+what, func() error {
		if have := x.state(t); normal(have) != normal(want) {
			return fmt.Errorf("state is\n%s\nwas\n%s", have, want)
		}
		return nil
	})
	repaired := x.report(t).Counters.LastRepair
	if repaired == nil {
		t.Logf("%s: nothing was left to repair", what)
		return
	}
	took := repaired.Sub(start)
	t.Logf("%s: repaired within %v", what, max(took, 0).Round(time.Millisecond))
	if took > time.Second {
		t.Errorf("%s: repaired after %v, want within 1 s", what, took)
	}
}

// normal is a state without what changes when an equal object is made anew:
// numbers of devices, the order of the kernel's hash tables, and the wait of
// link-local addresses.
func normal(state string) string {
	lines := strings.Split(strings.ReplaceAll(state, " tentative", ""), "\n")
	for i, line := range lines {
		if number, rest, found := strings.Cut(line, ": flannel"); found && len(number) < 6 {
			lines[i] = "N: flannel" + rest
		}
	}
	sortFDB(lines)
	return strings.Join(lines, "\n")
}

// sortFDB sorts runs of FDB and neighbour lines, whose order is that of a
// hash table.
func sortFDB(lines []string) {
	isEntry := func(s string) bool { return strings.Contains(s, "permanent") || strings.Contains(s, "PERMANENT") }
	for i := 0; i < len(lines); {
		j := i
		for j < len(lines) && isEntry(lines[j]) {
			j++
		}
		if j > i {
			part := lines[i:j]
			for a := range part {
				for b := a + 1; b < len(part); b++ {
					if part[b] < part[a] {
						part[a], part[b] = part[b], part[a]
					}
				}
			}
			i = j
			continue
		}
		i++
	}
}

// addPod makes a pod with the given host number in the node's subnets, on a
// bridge as the CNI bridge plugin makes it.
func (x *node) addPod(t testing.TB, host int) *nstest.Node {
	t.Helper()
	pod := nstest.New(t, fmt.Sprintf("%s-pod-%d", x.Name, host))
	if _, err := x.Try(t, "ip", "link", "show", "cni0"); err != nil {
		x.Run(t, "ip", "link", "add", "cni0", "mtu", "1430", "type", "bridge")
		x.Run(t, "ip", "link", "set", "cni0", "up")
	}
	attachPod(t, x, pod, host)
	return pod
}

// backend makes a network use a backend.
func backend(kind string) func(*profiles.Netd) {
	return func(n *profiles.Netd) { n.Network.Backend = profiles.Backend{Type: kind} }
}

// directRouting makes a VXLAN network route plainly on the link.
func directRouting(n *profiles.Netd) { n.Network.Backend.DirectRouting = true }

// switchTo gives a running node another backend.
func (x *node) switchTo(t testing.TB, b profiles.Backend) {
	t.Helper()
	x.config.Network.Backend = b
	x.config.Network = x.config.Network.WithDefaults()
	x.reload(t)
}

// withProbe turns the probe pod on.
func withProbe(c *profiles.Netd) { c.Network.Probe = true }
