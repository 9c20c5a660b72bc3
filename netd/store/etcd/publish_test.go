package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/store/etcd"
	"weft/netd/store/etcd/client"
	"weft/netd/store/etcd/etcdtest"
	"weft/profiles"
)

// flanneld's leases as they were seen in etcd.
const (
	flannelVXLAN = `{"PublicIP":"10.0.0.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"9e:00:00:00:00:01"}}`
	flannelHost  = `{"PublicIP":"10.0.0.7","PublicIPv6":null,"BackendType":"host-gw"}`
)

func TestLeaseIsWrittenAsFlannelWritesIt(t *testing.T) {
	s := etcdtest.Start(t)
	fixed := func(n int, v4, v6 string) lease.Lease {
		l := ownLease(n)
		if v4 != "" {
			l.IPv4.Subnet = netip.MustParsePrefix(v4)
		}
		if v6 != "" {
			l.IPv6.Subnet = netip.MustParsePrefix(v6)
		}
		return l
	}
	for _, c := range []struct {
		name, prefix string
		pods         []string
		own          lease.Lease
		key, value   string
		config       string
	}{
		{"IPv4", "/a", []string{pods4}, fixed(1, "10.244.22.0/24", ""), "/a/subnets/10.244.22.0-24",
			strings.TrimSuffix(flannelVXLAN, "}") + `,"Weft":{"node":"node-1","uuid":"` + uuid(1) + `"}}`,
			`{"Network":"10.244.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}`},
		{"dual stack", "/b/", []string{pods4, pods6}, fixed(1, "10.244.22.0/24", "fd42:0:0:21::/64"), "/b/subnets/10.244.22.0-24&fd42:0:0:21::-64",
			`{"PublicIP":"10.0.0.1","PublicIPv6":"fd00:10::1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"9e:00:00:00:00:01"},"BackendV6Data":{"VNI":1,"VtepMAC":"9e:00:00:00:00:01"},"Weft":{"node":"node-1","uuid":"` + uuid(1) + `"}}`,
			`{"EnableIPv6":true,"Network":"10.244.0.0/16","SubnetLen":24,"IPv6Network":"fd42::/48","IPv6SubnetLen":64,"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}`},
		{"IPv6 has a place of its own", "/c", []string{pods6}, fixed(1, "", "fd42:0:0:21::/64"), "/c-weft/subnets/fd42:0:0:21::-64",
			`{"PublicIP":"0.0.0.0","PublicIPv6":"fd00:10::1","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"9e:00:00:00:00:01"},"Weft":{"node":"node-1","uuid":"` + uuid(1) + `"}}`,
			`{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd42::/48","IPv6SubnetLen":64,"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}`},
		{"no IPv6 underlay", "/d", []string{pods4, pods6}, without6(fixed(1, "10.244.22.0/24", "fd42:0:0:21::/64")), "/d/subnets/10.244.22.0-24&fd42:0:0:21::-64",
			`{"PublicIP":"10.0.0.1","PublicIPv6":"::","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"9e:00:00:00:00:01"},"BackendV6Data":{"VNI":1,"VtepMAC":"9e:00:00:00:00:01"},"Weft":{"node":"node-1","uuid":"` + uuid(1) + `"}}`,
			`{"EnableIPv6":true,"Network":"10.244.0.0/16","SubnetLen":24,"IPv6Network":"fd42::/48","IPv6SubnetLen":64,"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newNode(t, s, 1, network(c.pods...), func(e *etcd.Config) { e.Etcd.Prefix = c.prefix }).publish(t, c.own)
			x.subnet(t, 1)
			// Read by etcd's own client.
			if got := strings.TrimSpace(s.Etcdctl(t, "get", "--print-value-only", c.key)); got != c.value {
				t.Errorf("the lease is\n%s\nwant\n%s", got, c.value)
			}
			configKey := c.key[:strings.Index(c.key, "/subnets")] + "/config"
			if got := strings.TrimSpace(s.Etcdctl(t, "get", "--print-value-only", configKey)); got != c.config {
				t.Errorf("the network is\n%s\nwant\n%s", got, c.config)
			}
			if ttl := s.Etcdctl(t, "lease", "list"); !strings.Contains(ttl, "found 1") && c.name == "IPv4" {
				t.Errorf("leases: %s", ttl)
			}
			if kvs := s.All(t, c.key); len(kvs) != 1 || kvs[0].Lease == 0 {
				t.Errorf("%+v", kvs)
			} else if out := s.Etcdctl(t, "lease", "timetolive", fmt.Sprintf("%x", kvs[0].Lease)); !strings.Contains(out, "granted with TTL(86400s)") {
				t.Errorf("the lease lives %s", out)
			}
		})
	}
	if left := s.All(t, "/c/"); len(left) != 0 {
		t.Errorf("below flannel's prefix: %+v", left)
	}
}

// without6 is a lease of a node without an IPv6 address.
func without6(l lease.Lease) lease.Lease {
	l.IPv6.Address = netip.Addr{}
	return l
}

// F4, and the end of the etcd lease, which deletes the key as well.
func TestOwnLeaseThatIsGoneIsWrittenAgain(t *testing.T) {
	s := etcdtest.Start(t)
	x := newNode(t, s, 1, network(pods4)).publish(t, ownLease(1))
	first := x.subnet(t, 1)
	key := s.All(t, dir)[0].Key
	start := time.Now()
	s.Delete(t, key)
	if again := x.subnet(t, 2); again != first {
		t.Errorf("got %s, had %s", again, first)
	}
	t.Logf("written again after %v", time.Since(start).Round(time.Millisecond))
	if err := s.Client(t).Revoke(context.Background(), s.All(t, dir)[0].Lease); err != nil {
		t.Fatal(err)
	}
	if again := x.subnet(t, 3); again != first {
		t.Errorf("got %s, had %s", again, first)
	}
	s.Put(t, key, "nonsense")
	if again := x.subnet(t, 4); again != first {
		t.Errorf("got %s, had %s", again, first)
	}
	if kvs := s.All(t, dir); len(kvs) != 1 || !strings.Contains(kvs[0].Value, uuid(1)) || kvs[0].Lease == 0 {
		t.Errorf("%+v", kvs)
	}
}

// A restart of netd, and of etcd, is no event for anybody.
func TestRestartWritesNothing(t *testing.T) {
	s := etcdtest.Start(t)
	x := newNode(t, s, 1, network(pods4)).publish(t, ownLease(1))
	subnet := x.subnet(t, 1)
	x.cancel()
	before := s.All(t, dir)[0]
	y := newNode(t, s, 1, network(pods4)).publish(t, ownLease(1))
	if got := y.subnet(t, 1); got != subnet {
		t.Errorf("got %s, had %s", got, subnet)
	}
	s.Restart(t)
	// What y does for its lease after the restart is over when it sees a
	// deletion.
	if after := s.All(t, dir)[0]; after != before {
		t.Errorf("%+v, was %+v", after, before)
	}
	s.Delete(t, before.Key)
	y.subnet(t, 2)
}

func TestEtcdLeaseIsKeptAlive(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	x := newNode(t, s, 1, network(pods4), func(c *etcd.Config) { c.Etcd.LeaseTTL = 2 * time.Second }).publish(t, ownLease(1))
	x.subnet(t, 1)
	before := s.All(t, dir)[0]
	// The time that passes is what is tested.
	time.Sleep(4 * time.Second)
	if now := s.All(t, dir); len(now) != 1 || now[0] != before {
		t.Errorf("%+v, was %+v", now, before)
	}
}

func TestReservationStaysOne(t *testing.T) {
	s := etcdtest.Start(t)
	s.Put(t, dir+"10.244.77.0-24", strings.Replace(flannelVXLAN, "9e:00:00:00:00:01", "9e:00:00:00:00:99", 1))
	x := newNode(t, s, 1, network(pods4)).publish(t, ownLease(1))
	if got := x.subnet(t, 1); got != "10.244.77.0/24" {
		t.Errorf("got %s, reserved is 10.244.77.0/24", got)
	}
	if kv := s.All(t, dir)[0]; kv.Lease != 0 || !strings.Contains(kv.Value, uuid(1)) {
		t.Errorf("%+v", kv)
	}
}

// A node that ran flanneld keeps its subnet; so does one whose address has
// changed (F11).
func TestSubnetIsKept(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client(t)
	id, err := c.Grant(context.Background(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Txn(context.Background(), nil, client.Put(dir+"10.244.33.0-24", flannelVXLAN, id)); err != nil {
		t.Fatal(err)
	}
	x := newNode(t, s, 1, network(pods4)).publish(t, ownLease(1))
	if got := x.subnet(t, 1); got != "10.244.33.0/24" {
		t.Errorf("after flanneld: %s", got)
	}
	x.cancel()
	moved := ownLease(1)
	moved.IPv4.Address = netip.MustParseAddr("10.0.0.99")
	x.publish(t, moved)
	if got := x.subnet(t, 2); got != "10.244.33.0/24" {
		t.Errorf("with another address: %s", got)
	}
	if kv := s.All(t, dir); len(kv) != 1 || kv[0].Lease != id || !strings.Contains(kv[0].Value, "10.0.0.99") {
		t.Errorf("%+v", kv)
	}
	x.cancel()
	// Its lease is gone, but it knows what it had.
	s.Delete(t, dir+"10.244.33.0-24")
	y := newNode(t, s, 1, network(pods4), func(c *etcd.Config) {
		c.Last = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.244.33.0/24")} }
	}).publish(t, moved)
	if got := y.subnet(t, 1); got != "10.244.33.0/24" {
		t.Errorf("with what was kept: %s", got)
	}
}

// F10: told, not taken over; and over when the other is gone.
func TestDuplicateAddressIsRefused(t *testing.T) {
	s := etcdtest.Start(t)
	a := newNode(t, s, 1, network(pods4)).watch(t).publish(t, ownLease(1))
	a.subnet(t, 1)
	before := s.All(t, dir)
	twin := ownLease(2)
	twin.IPv4.Address = ownLease(1).IPv4.Address
	b := newNode(t, s, 2, network(pods4)).watch(t).publish(t, twin)
	var duplicate *etcd.DuplicateError
	b.until(t, "the alarm", func() bool { return errors.As(b.err, &duplicate) })
	if duplicate.Node != "node-1" || duplicate.UUID != uuid(1) || duplicate.Identity {
		t.Errorf("%+v", duplicate)
	}
	if now := s.All(t, dir); len(now) != 1 || now[0] != before[0] {
		t.Errorf("%+v, was %+v", now, before)
	}
	a.cancel()
	s.Delete(t, before[0].Key)
	b.subnet(t, 1)
	b.until(t, "the end of the alarm", func() bool { return b.err == nil })
}

// A cloned card: the node that was there keeps its lease, the clone says so and
// does not come back for it.
func TestClonedIdentityIsToldAndTakesNothing(t *testing.T) {
	s := etcdtest.Start(t)
	a := newNode(t, s, 1, network(pods4)).watch(t).publish(t, ownLease(1))
	a.subnet(t, 1)
	clone := ownLease(1)
	clone.IPv4.Address = netip.MustParseAddr("10.0.0.50")
	b := newNode(t, s, 1, network(pods4)).watch(t).publish(t, clone)
	var duplicate *etcd.DuplicateError
	b.until(t, "the alarm", func() bool { return errors.As(b.err, &duplicate) && duplicate.Identity })
	if duplicate.Address != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("%+v", duplicate)
	}
	a.subnet(t, 2) // taken back
	key := s.All(t, dir)[0]
	if !strings.Contains(key.Value, `"PublicIP":"10.0.0.1"`) {
		t.Errorf("%+v", key)
	}
	// The node goes; the clone may have its lease.
	a.cancel()
	s.Delete(t, key.Key)
	b.until(t, "the end of the alarm", func() bool { return b.err == nil })
}

// What a clone wrote elsewhere does not move the node to there.
func TestNodeKeepsItsSubnetBesideAClones(t *testing.T) {
	s := etcdtest.Start(t)
	x := newNode(t, s, 1, network(pods4)).publish(t, ownLease(1))
	before := x.subnet(t, 1)
	x.cancel()
	s.Put(t, dir+"10.244.77.0-24", strings.Replace(s.All(t, dir)[0].Value, `"10.0.0.1"`, `"10.0.0.50"`, 1))
	again := newNode(t, s, 1, network(pods4)).publish(t, ownLease(1))
	if after := again.subnet(t, 1); after != before {
		t.Errorf("the subnet is %s, was %s", after, before)
	}
}

func TestFixedSubnetMustBeHad(t *testing.T) {
	s := etcdtest.Start(t)
	s.Put(t, dir+"10.244.5.0-24", flannelHost)
	own := ownLease(1)
	own.IPv4.Subnet = netip.MustParsePrefix("10.244.5.0/24")
	x := newNode(t, s, 1, network(pods4)).watch(t).publish(t, own)
	var taken *etcd.TakenError
	x.until(t, "the alarm", func() bool { return errors.As(x.err, &taken) })
	if taken.Node != "10.0.0.7" || taken.Subnet != own.IPv4.Subnet {
		t.Errorf("%+v", taken)
	}
	s.Delete(t, dir+"10.244.5.0-24")
	if got := x.subnet(t, 1); got != "10.244.5.0/24" {
		t.Error(got)
	}
	// Another fixed subnet moves the node and leaves nothing behind.
	x.cancel()
	own.IPv4.Subnet = netip.MustParsePrefix("10.244.6.0/24")
	x.publish(t, own)
	if got := x.subnet(t, 2); got != "10.244.6.0/24" {
		t.Error(got)
	}
	if kvs := s.All(t, dir); len(kvs) != 1 {
		t.Errorf("%+v", kvs)
	}
}

// F13: as many nodes as free subnets, all at once, as often as flannel failed
// in a third of all rounds.
func TestSimultaneousStartsAllGetASubnet(t *testing.T) {
	s := etcdtest.Start(t)
	for _, pods := range [][]string{{"10.244.0.0/22"}, {"10.244.0.0/22", "fd42::/62"}} {
		for round := range 12 {
			prefix := fmt.Sprintf("/%d/%d", len(pods), round)
			var nodes []*node
			for n := 1; n <= 3; n++ {
				nodes = append(nodes, newNode(t, s, round*3+n, network(pods...), func(c *etcd.Config) { c.Etcd.Prefix = prefix }))
			}
			for _, x := range nodes {
				x.publish(t, ownLease(x.n))
			}
			got := map[string]bool{}
			for _, x := range nodes {
				got[x.subnet(t, 1)] = true
				if len(pods) == 2 {
					got[x.granted[0].IPv6.Subnet.String()] = true
				}
			}
			if len(got) != 3*len(pods) || got["10.244.0.0/24"] {
				t.Fatalf("round %d: %v", round, got)
			}
			for _, x := range nodes {
				x.cancel()
			}
		}
	}
}

// A network that gets a second family keeps its first subnets, and a peer
// sees the change as one.
func TestSecondFamilyKeepsTheSubnetOfTheFirst(t *testing.T) {
	s := etcdtest.Start(t)
	x := newNode(t, s, 1, network(pods4)).publish(t, ownLease(1))
	first := x.subnet(t, 1)
	x.cancel()
	s.Delete(t, etcd.DefaultPrefix+"/config")
	peer := newNode(t, s, 2, network(pods4, pods6)).watch(t)
	peer.until(t, "the lease", func() bool { return len(peer.leases) == 1 })
	y := newNode(t, s, 1, network(pods4, pods6)).publish(t, ownLease(1))
	if got := y.subnet(t, 1); got != first {
		t.Errorf("%s, had %s", got, first)
	}
	peer.until(t, "the lease of both families", func() bool {
		if len(peer.leases) != 1 {
			t.Errorf("in between: %v", peer.leases)
		}
		for _, l := range peer.leases {
			return l.IPv6.Subnet.IsValid()
		}
		return true
	})
}

func TestFullNetworkIsToldAndWaits(t *testing.T) {
	s := etcdtest.Start(t)
	for i := 1; i <= 3; i++ {
		s.Put(t, fmt.Sprintf("%s10.244.%d.0-24", dir, i), strings.Replace(flannelHost, "10.0.0.7", fmt.Sprint("10.0.0.", 100+i), 1))
	}
	x := newNode(t, s, 1, network("10.244.0.0/22")).watch(t).publish(t, ownLease(1))
	var full *etcd.FullError
	x.until(t, "the alarm", func() bool { return errors.As(x.err, &full) })
	s.Delete(t, dir+"10.244.2.0-24")
	if got := x.subnet(t, 1); got != "10.244.2.0/24" {
		t.Error(got)
	}
}

func TestNetworkInEtcdCounts(t *testing.T) {
	s := etcdtest.Start(t)
	// Names of any case, lengths and bounds of etcd.
	s.Put(t, "/coreos.com/network/config", `{"network":"10.244.0.0/16","SUBNETLEN":26,"subnetMin":"10.244.8.64","SubnetMax":"10.244.8.64","Backend":{"Type":"vxlan"}}`)
	x := newNode(t, s, 1, network(pods4)).watch(t).publish(t, ownLease(1))
	if got := x.subnet(t, 1); got != "10.244.8.64/26" {
		t.Error(got)
	}
	s.Put(t, "/coreos.com/network/config", `{"Network":"10.42.0.0/16"}`)
	var wrong *etcd.NetworkError
	x.until(t, "the error", func() bool { return errors.As(x.err, &wrong) })
	for _, part := range []string{"/coreos.com/network/config", "10.42.0.0/16", "10.244.0.0/16", "fix:"} {
		if !strings.Contains(wrong.Error(), part) {
			t.Errorf("%q is not in %v", part, wrong)
		}
	}
	y := newNode(t, s, 2, network(pods4)).publish(t, ownLease(2))
	s.Put(t, "/coreos.com/network/config", `{"Network":"10.244.0.0/16"}`)
	y.subnet(t, 1)
	x.until(t, "the error has passed", func() bool { return x.err == nil && len(x.leases) == 1 })
}

func TestHopelessLeasesAreRefusedAtOnce(t *testing.T) {
	s := etcdtest.New(t)
	x := newNode(t, s, 1, network(pods4))
	other, noAddress, outside := ownLease(2), ownLease(1), ownLease(1)
	noAddress.IPv4.Address = netip.Addr{}
	outside.IPv4.Subnet = netip.MustParsePrefix("10.42.1.0/24")
	for name, l := range map[string]lease.Lease{"another node": other, "no address": noAddress, "outside": outside} {
		if err := x.Publish(context.Background(), l, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := etcd.New(etcd.Config{Network: network(pods4)}); err == nil {
		t.Error("a node without identity")
	}
	if _, err := etcd.New(etcd.Config{UUID: uuid(1), Network: network(pods4), Etcd: profiles.EtcdStore{
		SubnetMin: []netip.Addr{netip.MustParseAddr("10.244.1.7")}}}); err == nil {
		t.Error("a bound that begins no subnet")
	}
}

// A key that claims all of the network, or a large part, takes nobody's subnet
// and leaves enough for new nodes.
func TestLeaseOfTheWholeNetworkTakesNothing(t *testing.T) {
	s := etcdtest.Start(t)
	x := newNode(t, s, 1, network(pods4)).publish(t, ownLease(1))
	before := x.subnet(t, 1)
	key := s.All(t, dir)[0].Key
	s.Put(t, dir+"10.244.0.0-16", flannelHost)
	s.Put(t, dir+"10.244.0.0-17", flannelHost)
	s.Put(t, dir+"10.244.128.0-18", flannelHost)
	s.Delete(t, key)
	if after := x.subnet(t, 2); after != before {
		t.Errorf("the subnet is %s, was %s", after, before)
	}
	if got := newNode(t, s, 2, network(pods4)).publish(t, ownLease(2)).subnet(t, 1); got == before {
		t.Errorf("a new node got %s, which is taken", got)
	}
}

// The same when the own lease is gone or cannot be read.
func TestNodeWithoutALeaseDoesNotMoveToItsClones(t *testing.T) {
	s := etcdtest.Start(t)
	x := newNode(t, s, 1, network(pods4)).publish(t, ownLease(1))
	before := x.subnet(t, 1)
	own := s.All(t, dir)[0]
	s.Put(t, dir+"10.244.77.0-24", strings.Replace(own.Value, `"10.0.0.1"`, `"10.0.0.50"`, 1))
	s.Put(t, own.Key, "nonsense")
	if after := x.subnet(t, 2); after != before {
		t.Errorf("the subnet is %s, was %s", after, before)
	}
	s.Put(t, dir+"10.244.77.0-24", strings.Replace(own.Value, `"10.0.0.1"`, `"10.0.0.50"`, 1))
	s.Delete(t, own.Key)
	if after := x.subnet(t, 3); after != before {
		t.Errorf("the subnet is %s, was %s", after, before)
	}
}
