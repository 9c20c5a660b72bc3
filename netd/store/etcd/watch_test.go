package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/store/etcd"
	"weft/netd/store/etcd/client"
	"weft/netd/store/etcd/etcdtest"
)

func flannelLease(i int) (key, value string) {
	return fmt.Sprintf("%s10.244.%d.0-24", dir, i),
		fmt.Sprintf(`{"PublicIP":"10.0.1.%d","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"9e:00:00:00:01:%02x"}}`, i, i)
}

func putFlannel(t testing.TB, s *etcdtest.Server, i int) string {
	t.Helper()
	key, value := flannelLease(i)
	s.Put(t, key, value)
	return key
}

func TestNodesSeeEachOther(t *testing.T) {
	for name, options := range map[string][]etcdtest.Option{"plain": nil, "TLS and password": {etcdtest.WithTLS, etcdtest.WithAuth}} {
		t.Run(name, func(t *testing.T) {
			s := etcdtest.Start(t, options...)
			var nodes []*node
			for n := 1; n <= 3; n++ {
				nodes = append(nodes, newNode(t, s, n, network(pods4, pods6)).watch(t).publish(t, ownLease(n)))
			}
			for _, x := range nodes {
				x.until(t, "both peers", func() bool { return len(x.leases) == 2 && len(x.granted) == 1 })
			}
			for _, x := range nodes {
				for _, l := range x.leases {
					if l.UUID == uuid(x.n) || l.UUID == "" {
						t.Errorf("node %d sees %+v", x.n, l)
					}
					for _, y := range nodes {
						if y.granted[0].UUID == l.UUID && !y.granted[0].Equal(l) {
							t.Errorf("node %d has %+v, node %d sees %+v", y.n, y.granted[0], x.n, l)
						}
					}
				}
			}
		})
	}
}

// F2 and F15: without etcd the node is alive and says so; when etcd comes,
// all is told, and what happens then.
func TestEtcdComesAndGoes(t *testing.T) {
	s := etcdtest.New(t)
	x := newNode(t, s, 1, network(pods4)).watch(t).publish(t, ownLease(1))
	x.until(t, "the error", func() bool { return x.err != nil && strings.Contains(x.err.Error(), "connection refused") })
	s.Start(t)
	start := time.Now()
	x.until(t, "the answer", func() bool { return x.err == nil && x.fulls == 1 && len(x.granted) == 1 })
	t.Logf("%v after etcd came", time.Since(start).Round(time.Millisecond))
	first := putFlannel(t, s, 1)
	x.until(t, "the peer", func() bool { return len(x.leases) == 1 })
	s.Kill(t)
	peers := 0
	x.until(t, "the error", func() bool { peers = len(x.leases); return x.err != nil })
	if peers != 1 {
		t.Errorf("the peer is gone with etcd")
	}
	s.Start(t)
	s.Delete(t, first)
	putFlannel(t, s, 2)
	start = time.Now()
	x.until(t, "the change", func() bool {
		return x.err == nil && len(x.leases) == 1 && x.leases[dir+"10.244.2.0-24"].Node == "10.0.1.2"
	})
	t.Logf("caught up %v after", time.Since(start).Round(time.Millisecond))
	if x.done {
		t.Errorf("Publish has ended: %v", x.ended)
	}
}

// F3, and what is told when the place where the watch stopped is forgotten.
func TestNothingIsMissedAcrossACompaction(t *testing.T) {
	s := etcdtest.Start(t)
	p := etcdtest.NewProxy(t, s, 0)
	gone := putFlannel(t, s, 1)
	putFlannel(t, s, 2)
	x := newNode(t, s, 9, network(pods4), func(c *etcd.Config) { c.Etcd.Endpoints = []string{p.URL} }).watch(t)
	x.until(t, "both", func() bool { return len(x.leases) == 2 })
	p.Cut()
	x.until(t, "the error", func() bool { return x.err != nil })
	s.Delete(t, gone)
	putFlannel(t, s, 3)
	s.Compact(t)
	p.Mend()
	x.until(t, "the change", func() bool {
		_, still := x.leases[gone]
		return len(x.leases) == 2 && !still && x.err == nil
	})
	if x.fulls != 2 {
		t.Errorf("%d full updates, want a second after the gap", x.fulls)
	}
}

// Where nothing is forgotten the watch goes on where it was: a thousand nodes
// that lost etcd together do not all read everything again.
func TestWatchGoesOnWhereItWas(t *testing.T) {
	s := etcdtest.Start(t)
	p := etcdtest.NewProxy(t, s, 0)
	gone := putFlannel(t, s, 1)
	x := newNode(t, s, 9, network(pods4), func(c *etcd.Config) { c.Etcd.Endpoints = []string{p.URL} }).watch(t)
	x.until(t, "the peer", func() bool { return len(x.leases) == 1 })
	p.Cut()
	x.until(t, "the error", func() bool { return x.err != nil })
	p.Mend()
	x.until(t, "that the error has passed", func() bool { return x.err == nil })
	p.Cut()
	x.until(t, "the error", func() bool { return x.err != nil })
	s.Delete(t, gone)
	putFlannel(t, s, 2)
	p.Mend()
	x.until(t, "the change", func() bool { return len(x.leases) == 1 && x.leases[dir+"10.244.2.0-24"].Node != "" })
	if x.fulls != 1 {
		t.Errorf("%d full updates, want one", x.fulls)
	}
}

// F9, F9b and F9f.
func TestCorruptEntriesCostOnlyThemselves(t *testing.T) {
	s := etcdtest.Start(t)
	putFlannel(t, s, 1)
	hurt := putFlannel(t, s, 2)
	bad := map[string]string{
		dir + "garbage":                flannelVXLAN,
		dir + "10.244.3.0-24":          "garbage",
		dir + "10.244.4.0-24":          `{"PublicIP":"10.0.1.4","PublicIPv6":null,"BackendType":"vxlan","BackendData":"x"}`,
		dir + "10.244.5.9-24":          flannelVXLAN,
		dir + "10.244.6.0-24&x":        flannelVXLAN,
		dir + "10.244.7.0-24":          `{"PublicIP":"fd00::1","BackendType":"vxlan"}`,
		dir + strings.Repeat("x", 900): flannelVXLAN,
		dir + "10.244.8.0-24":          `{"PublicIP":"10.0.1.8","BackendType":"vxlan","BackendData":"` + strings.Repeat("x", 300<<10) + `"}`,
		dir + "10.244.9.0-24":          `[]`,
		dir + "10.244.10.0-24":         "",
	}
	for key, value := range bad {
		s.Put(t, key, value)
	}
	x := newNode(t, s, 9, network(pods4)).watch(t)
	x.until(t, "what is right, and every problem", func() bool { return len(x.leases) == 2 && len(x.problems) == len(bad) })
	// By an event, the lease that was there before stays.
	s.Put(t, hurt, "garbage")
	x.until(t, "the problem", func() bool { return len(x.problems) == len(bad)+1 })
	if p := x.problems[len(bad)]; len(x.leases) != 2 || p.Key != hurt || p.Fix == "" {
		t.Errorf("%v; %v", x.leases, p)
	}
	// It stays, and nothing is told twice, when all is read again.
	s.Restart(t)
	s.Compact(t)
	putFlannel(t, s, 11)
	x.until(t, "news", func() bool { return len(x.leases) == 3 })
	if len(x.problems) != len(bad)+1 {
		t.Errorf("told again: %v", x.problems[len(bad)+1:])
	}
	// Corrections are followed, with fields of later versions.
	s.Put(t, hurt, `{"PublicIP":"10.0.1.77","Later":[1],"PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"9e:00:00:00:01:02","Later":{}}}`)
	s.Put(t, dir+"10.244.3.0-24", flannelHost)
	s.Delete(t, dir+"garbage")
	x.until(t, "the corrections", func() bool {
		return len(x.leases) == 4 && x.leases[hurt].Node == "10.0.1.77" && x.leases[dir+"10.244.3.0-24"].Backend == lease.HostGW
	})
	s.Delete(t, hurt)
	x.until(t, "the deletion", func() bool { return len(x.leases) == 3 })
}

// F9c: what the backend data mean is for package wanted to judge.
func TestNonsenseInBackendDataIsDelivered(t *testing.T) {
	s := etcdtest.Start(t)
	s.Put(t, dir+"10.244.1.0-24", `{"PublicIP":"10.0.1.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"zz"}}`)
	s.Put(t, dir+"10.244.2.0-24", `{"PublicIP":"10.0.1.2","PublicIPv6":null,"BackendType":"vxlan"}`)
	x := newNode(t, s, 9, network(pods4)).watch(t)
	x.until(t, "both", func() bool { return len(x.leases) == 2 })
	if x.leases[dir+"10.244.1.0-24"].IPv4.MAC != "zz" {
		t.Errorf("%+v", x.leases)
	}
}

// F14: each node has its own subnet.
func TestIPv6OnlyNodesDiffer(t *testing.T) {
	s := etcdtest.Start(t)
	a := newNode(t, s, 1, network(pods6)).watch(t).publish(t, ownLease(1))
	b := newNode(t, s, 2, network(pods6)).watch(t).publish(t, ownLease(2))
	for _, x := range []*node{a, b} {
		x.until(t, "the peer", func() bool { return len(x.leases) == 1 && len(x.granted) == 1 })
	}
	if a.granted[0].IPv6.Subnet == b.granted[0].IPv6.Subnet {
		t.Errorf("both have %v", a.granted[0].IPv6.Subnet)
	}
	if below := s.All(t, etcd.DefaultPrefix+"/"); len(below) != 0 {
		t.Errorf("where flanneld looks: %+v", below)
	}
}

// An etcd that was emptied has an old revision; waiting for the next one
// would be waiting for ever.
func TestRestoredEtcdIsReadAgain(t *testing.T) {
	s := etcdtest.Start(t)
	for i := 1; i < 9; i++ {
		putFlannel(t, s, i)
	}
	x := newNode(t, s, 1, network(pods4)).watch(t).publish(t, ownLease(1))
	x.until(t, "all", func() bool { return len(x.leases) == 8 && len(x.granted) == 1 })
	s.Wipe(t)
	x.until(t, "nobody", func() bool { return len(x.leases) == 0 && x.err == nil })
	x.until(t, "the own lease again", func() bool { return len(x.granted) == 2 })
	if a, b := x.subnet(t, 1), x.subnet(t, 2); a != b {
		t.Errorf("had %s, got %s", a, b)
	}
	putFlannel(t, s, 1)
	x.until(t, "the first", func() bool { return len(x.leases) == 1 })
}

// A member that hangs is left for one that works.
func TestHangingMemberIsLeft(t *testing.T) {
	t.Parallel() // it waits for the ping of the connection
	hanging, working := etcdtest.Start(t), etcdtest.Start(t)
	putFlannel(t, hanging, 1)
	putFlannel(t, working, 2)
	x := newNode(t, hanging, 1, network(pods4), func(c *etcd.Config) {
		c.Etcd.Endpoints = []string{hanging.URL, working.URL}
	}).watch(t)
	x.until(t, "the first", func() bool { return len(x.leases) == 1 })
	hanging.Freeze(t)
	start := time.Now()
	x.until(t, "the second", func() bool {
		_, second := x.leases[dir+"10.244.2.0-24"]
		return second
	})
	t.Logf("left after %v", time.Since(start).Round(time.Millisecond))
}

// Pages of a large store, in answers of a limited size.
func TestLargeStoreIsReadInPages(t *testing.T) {
	s := etcdtest.Start(t)
	fill(t, s, 12_000)
	x := newNode(t, s, 9, network("10.0.0.0/8")).watch(t)
	x.until(t, "all", func() bool { return len(x.leases) == 12_000 })
	if x.fulls != 1 || x.updates != 1 {
		t.Errorf("%d full updates of %d", x.fulls, x.updates)
	}
}

// fill writes n leases in 10.0.0.0/8.
func fill(t testing.TB, s *etcdtest.Server, n int) {
	t.Helper()
	for i := 0; i < n; {
		var ops []client.Op
		for ; len(ops) < 100 && i < n; i++ { // etcd takes 128 parts
			key := fmt.Sprintf("%s10.%d.%d.0-24", dir, 1+i>>8, i&0xff)
			_, value := flannelLease(i & 0xff)
			ops = append(ops, client.Put(key, strings.Replace(value, "10.0.1.", fmt.Sprintf("172.16.%d.", i>>8), 1), 0))
		}
		if _, err := s.Client(t).Txn(context.Background(), nil, ops...); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRenewedPasswordIsRead(t *testing.T) {
	s := etcdtest.Start(t, etcdtest.WithAuth)
	c := s.Store()
	c.PasswordFile = t.TempDir() + "/password"
	if err := os.WriteFile(c.PasswordFile, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := newNode(t, s, 1, network(pods4), func(e *etcd.Config) { e.Etcd = c }).watch(t)
	x.until(t, "the refusal", func() bool { return x.err != nil })
	var status *client.StatusError
	if !errors.As(x.err, &status) || strings.Contains(x.err.Error(), "wrong") {
		t.Errorf("%v", x.err)
	}
	if err := os.WriteFile(c.PasswordFile, []byte("root"), 0o600); err != nil {
		t.Fatal(err)
	}
	x.until(t, "the answer", func() bool { return x.err == nil && x.fulls == 1 })
}

// A role for flannel's prefix, as its documentation has it, is enough.
func TestRoleForThePrefixIsEnough(t *testing.T) {
	s := etcdtest.Start(t, etcdtest.WithAuth)
	s.Etcdctl(t, "role", "add", "flannel")
	s.Etcdctl(t, "role", "grant-permission", "flannel", "--prefix=true", "readwrite", etcd.DefaultPrefix+"/")
	s.Etcdctl(t, "user", "add", "flannel:secret")
	s.Etcdctl(t, "user", "grant-role", "flannel", "flannel")
	c := s.Store()
	c.Username, c.PasswordFile = "flannel", t.TempDir()+"/password"
	if err := os.WriteFile(c.PasswordFile, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	use := func(e *etcd.Config) { e.Etcd = c }
	a := newNode(t, s, 1, network(pods4), use).watch(t).publish(t, ownLease(1))
	b := newNode(t, s, 2, network(pods4), use).watch(t).publish(t, ownLease(2))
	for _, x := range []*node{a, b} {
		x.until(t, "the peer", func() bool { return len(x.leases) == 1 && len(x.granted) == 1 })
	}
	// Elsewhere it may nothing, and says so.
	d := newNode(t, s, 3, network(pods4), use, func(e *etcd.Config) { e.Etcd.Prefix = "/other" }).watch(t)
	d.until(t, "the refusal", func() bool { return d.err != nil && strings.Contains(d.err.Error(), "permission denied") })
}

func TestRenewedCertificateIsRead(t *testing.T) {
	s, other := etcdtest.Start(t, etcdtest.WithTLS), etcdtest.New(t, etcdtest.WithTLS)
	c := s.Store()
	c.CAFile = t.TempDir() + "/ca.pem"
	install := func(from string) {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(c.CAFile, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	install(other.Dir + "/ca.pem")
	x := newNode(t, s, 1, network(pods4), func(e *etcd.Config) { e.Etcd = c }).watch(t)
	x.until(t, "the refusal", func() bool { return x.err != nil })
	install(s.Dir + "/ca.pem")
	x.until(t, "the answer", func() bool { return x.err == nil && x.fulls == 1 })
}

// An outage is told once, not at every attempt.
func TestOutageIsToldOnce(t *testing.T) {
	x := newNode(t, etcdtest.New(t), 1, network(pods4))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	told := 0
	for range x.Watch(ctx) {
		told++
	}
	if told != 1 {
		t.Errorf("told %d times in 2 s", told)
	}
}

// The lease of a node that replaces its key names the lanes of all its peers.
func TestLeaseWithTheLanesOfTenThousandPeersIsKeptAndRead(t *testing.T) {
	s := etcdtest.Start(t)
	own := ownLease(1)
	own.Lane = lease.Lane{PublicKey: "k", Step: "lane"}
	for i := range 10_000 {
		own.Lane.On = append(own.Lane.On, fmt.Sprintf("%044d", i))
	}
	reader := newNode(t, s, 2, network(pods4)).watch(t)
	newNode(t, s, 1, network(pods4)).publish(t, own).subnet(t, 1)
	reader.until(t, "the lanes", func() bool {
		for _, l := range reader.leases {
			return len(l.Lane.On) == len(own.Lane.On)
		}
		return false
	})
}
