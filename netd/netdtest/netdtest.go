// Package netdtest runs whole clusters for tests: nodes in network namespaces,
// each with a netd of its own, on one real etcd that every node reaches by a
// way of its own.
//
// The netd is the program as it ships, built once. It is for tests only, and
// for those that look at netd from outside; see package nstest for the
// namespaces and package etcdtest for the store.
package netdtest

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"weft/netd/nstest"
	"weft/netd/store/etcd/etcdtest"
	"weft/profiles"
)

// Build builds netd into a folder of the test and returns its path.
func Build(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "netd")
	out, err := exec.Command("go", "build", "-o", program, "weft/netd").CombinedOutput()
	if err != nil {
		t.Fatalf("go build weft/netd: %v\n%s", err, out)
	}
	return program
}

// A Cluster is nodes on one LAN.
type Cluster struct {
	// Nodes are the nodes; number n is Nodes[n-1].
	Nodes []*Node
	// Etcd is their store.
	Etcd *etcdtest.Server

	config Config
	lan    *nstest.LAN
}

// Config says what a cluster is to be.
type Config struct {
	// Program is the netd, from [Build], and Env what its environment has
	// beside the test's.
	Program string
	Env     []string
	// Etcd is the store.
	Etcd *etcdtest.Server
	// Nodes is their number, at most 99.
	Nodes int
	// IPv6 adds the second family, NoIPv4 leaves out the first.
	IPv6, NoIPv4 bool
	// RTT is how far away etcd is.
	RTT time.Duration
	// Change changes the configuration of a node before it is written.
	Change func(n int, c *profiles.Netd)
}

// New makes a cluster whose netds are not started.
func New(t testing.TB, c Config) *Cluster {
	t.Helper()
	made := &Cluster{Etcd: c.Etcd, config: c, lan: nstest.NewLAN(t, "lan")}
	for range c.Nodes {
		made.Add(t)
	}
	return made
}

// Add makes one more node, whose netd is not started.
func (c *Cluster) Add(t testing.TB) *Node {
	t.Helper()
	x := c.newNode(t, c.config, len(c.Nodes)+1)
	c.Nodes = append(c.Nodes, x)
	return x
}

// Peers are the entries of a report of a node when all nodes are there: one a
// peer and family.
func (c *Cluster) Peers() int {
	families := 1
	if c.config.IPv6 && !c.config.NoIPv4 {
		families = 2
	}
	return families * (len(c.Nodes) - 1)
}

// StartAll starts all netds and waits until they know each other.
func (c *Cluster) StartAll(t testing.TB) {
	t.Helper()
	for _, x := range c.Nodes {
		x.Start(t)
	}
	for _, x := range c.Nodes {
		x.WaitReady(t, c.Peers())
	}
}

// Address4 and Address6 are an address of node n on the LAN; generation 0 is
// its first.
func Address4(n, generation int) string { return fmt.Sprintf("10.0.0.%d/24", generation%2*100+n) }

// Address6 is that of IPv6.
func Address6(n, generation int) string { return fmt.Sprintf("fd00:10::%x/64", generation%2*256+n) }

// The routers of the LAN, which nobody is; the default routes to them say
// which device carries the tunnels.
const (
	router4 = "10.0.0.254"
	router6 = "fd00:10::ffff"
)

// UUID is the identity of node n.
func UUID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func (c *Cluster) newNode(t testing.TB, config Config, n int) *Node {
	t.Helper()
	dir, err := os.MkdirTemp("", "netd") // short: the path of a unix socket has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	x := &Node{Node: nstest.New(t, fmt.Sprintf("node-%d", n)), Number: n, Dir: dir, program: config.Program, Env: slices.Clone(config.Env)}
	c.lan.Attach(t, x.Node, "eth0")
	if !config.NoIPv4 {
		x.Run(t, "ip", nstest.AddAddress("eth0", Address4(n, 0))...)
		x.Run(t, "ip", "route", "add", "default", "via", router4)
	}
	if config.IPv6 {
		x.Run(t, "ip", nstest.AddAddress("eth0", Address6(n, 0))...)
		x.Run(t, "ip", "route", "add", "default", "via", router6)
	}
	// The way to etcd begins on the node's loopback: what happens to its
	// addresses does not touch it.
	if err := x.Do(func() error { x.Way = etcdtest.NewProxy(t, c.Etcd, config.RTT); return nil }); err != nil {
		t.Fatal(err)
	}
	x.Config = profiles.Netd{
		Weft: profiles.NetdVersion,
		Node: profiles.NetdNode{Name: x.Name, UUID: UUID(n)},
		Paths: profiles.NetdPaths{Socket: dir + "/sock", SubnetEnv: dir + "/subnet.env",
			CNI: dir + "/cni/10-weft.conflist", State: dir + "/state"},
	}
	if !config.NoIPv4 {
		x.Config.Network.Pods = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}
	}
	if config.IPv6 {
		x.Config.Network.Pods = append(x.Config.Network.Pods, netip.MustParsePrefix("fd42::/48"))
	}
	x.Config.Network.Store = profiles.Store{Type: profiles.StoreEtcd, Etcd: profiles.EtcdStore{Endpoints: []string{x.Way.URL}}}
	if config.Change != nil {
		config.Change(n, &x.Config)
	}
	x.Config.Network = x.Config.Network.WithDefaults()
	x.WriteConfig(t)
	return x
}
