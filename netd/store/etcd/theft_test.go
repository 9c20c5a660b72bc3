package etcd_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"weft/netd/store"
	"weft/netd/store/etcd"
	"weft/netd/store/etcd/client"
	"weft/netd/store/etcd/etcdtest"
)

// Strangers' leases: of flanneld's form, and of netd's.
const flannelStranger = `{"PublicIP":"10.0.0.77","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"9e:00:00:00:00:77"}}`

var netdStranger = strings.TrimSuffix(flannelStranger, "}") + `,"Weft":{"node":"node-77","uuid":"` + uuid(77) + `"}}`

// A node that runs keeps its subnet, whoever writes a lease over its own, and
// nobody is sent to the other for longer than the node needs to hear of it.
func TestLeaseWrittenOverIsTakenBack(t *testing.T) {
	for name, stranger := range map[string]string{"flanneld": flannelStranger, "netd": netdStranger} {
		for _, fixed := range []bool{false, true} {
			s := etcdtest.Start(t)
			own := ownLease(1)
			if fixed {
				own.IPv4.Subnet = netip.MustParsePrefix("10.244.5.0/24")
			}
			x := newNode(t, s, 1, network(pods4)).watch(t).publish(t, own)
			before := x.subnet(t, 1)
			peer := newNode(t, s, 2, network(pods4)).watch(t)
			ofNode := func() bool {
				for _, l := range peer.leases {
					return len(peer.leases) == 1 && l.UUID == uuid(1)
				}
				return false
			}
			peer.until(t, "the lease", ofNode)
			kv := s.All(t, dir)[0]
			s.Put(t, kv.Key, stranger)
			if after := x.subnet(t, 2); after != before {
				t.Errorf("%s, fixed %t: the subnet is %s, was %s", name, fixed, after, before)
			}
			if now := s.All(t, dir); len(now) != 1 || now[0].Value != kv.Value || now[0].Lease != kv.Lease {
				t.Errorf("%s, fixed %t: etcd has %+v, had %+v", name, fixed, now, kv)
			}
			peer.until(t, "the lease again", ofNode)
			x.until(t, "the stranger is forgotten", func() bool { return len(x.leases) == 0 && x.err == nil })
		}
	}
}

// One that insists gets the key, but not the subnet: the node says so, stays
// where its pods are, and has the key again when it is free.
func TestNodeKeepsItsSubnetAgainstOneThatInsists(t *testing.T) {
	s := etcdtest.Start(t)
	x := newNode(t, s, 1, network(pods4)).watch(t).publish(t, ownLease(1))
	before := x.subnet(t, 1)
	key := s.All(t, dir)[0].Key
	var stolen *etcd.StolenError
	for grants := 2; ; grants++ {
		s.Put(t, key, netdStranger)
		x.until(t, "an answer", func() bool { return len(x.granted) == grants || errors.As(x.err, &stolen) })
		if stolen != nil {
			break
		}
		if grants > 20 {
			t.Fatal("the node and the other take the key from each other for ever")
		}
	}
	x.until(t, "that it has no lease", func() bool { return errors.As(x.refused, &stolen) })
	if stolen.Node != "node-77" || stolen.UUID != uuid(77) || stolen.Address != netip.MustParseAddr("10.0.0.77") || stolen.Ended || !errors.Is(stolen, store.ErrTwin) {
		t.Errorf("%+v", stolen)
	}
	if now := s.All(t, dir); len(now) != 1 || now[0].Value != netdStranger {
		t.Errorf("etcd has %+v", now)
	}
	// A new lease of this node, such as with another address, moves it neither.
	x.cancel()
	again := ownLease(1)
	again.IPv4.Address = netip.MustParseAddr("10.0.0.99")
	x.publish(t, again)
	granted := len(x.granted)
	s.Delete(t, key)
	if after := x.subnet(t, granted+1); after != before {
		t.Errorf("the subnet is %s, was %s", after, before)
	}
	x.until(t, "the end of the alarm", func() bool { return x.err == nil && x.refused == nil })
}

// away is a node that is cut off from etcd while something happens there.
func away(t testing.TB, s *etcdtest.Server, something func(own client.KV)) (x *node, before string) {
	t.Helper()
	p := etcdtest.NewProxy(t, s, 0)
	x = newNode(t, s, 1, network(pods4), func(c *etcd.Config) { c.Etcd.Endpoints = []string{p.URL} }).watch(t).publish(t, ownLease(1))
	before = x.subnet(t, 1)
	own := s.All(t, dir)[0]
	p.Cut()
	x.until(t, "the error", func() bool { return x.err != nil })
	something(own)
	p.Mend()
	return x, before
}

// A node whose lease has ended was cut off for a day: who was given its subnet
// by etcd meanwhile keeps the key, and the node its pods.
func TestSubnetThatWasGivenToAnotherIsNotTakenBack(t *testing.T) {
	s := etcdtest.Start(t)
	key := ""
	x, before := away(t, s, func(own client.KV) {
		if err := s.Client(t).Revoke(context.Background(), own.Lease); err != nil {
			t.Fatal(err)
		}
		key = own.Key
		s.Put(t, key, netdStranger)
	})
	var stolen *etcd.StolenError
	x.until(t, "the alarm", func() bool { return errors.As(x.err, &stolen) && errors.As(x.refused, &stolen) })
	if !stolen.Ended || len(x.granted) != 1 {
		t.Errorf("%+v, granted %+v", stolen, x.granted)
	}
	if now := s.All(t, dir); len(now) != 1 || now[0].Value != netdStranger {
		t.Errorf("etcd has %+v", now)
	}
	s.Delete(t, key)
	if after := x.subnet(t, 2); after != before {
		t.Errorf("the subnet is %s, was %s", after, before)
	}
}

// An etcd that was put back to a time when a node that is gone since had the
// subnet: what it says is older than what this node knows.
func TestRestoredEtcdDoesNotMoveANode(t *testing.T) {
	s := etcdtest.Start(t)
	for range 10 { // it was used before
		s.Put(t, "/other", "revision")
	}
	x, before := away(t, s, func(own client.KV) {
		s.Wipe(t)
		s.Put(t, own.Key, netdStranger)
	})
	if after := x.subnet(t, 2); after != before {
		t.Errorf("the subnet is %s, was %s", after, before)
	}
	x.until(t, "all is well", func() bool { return x.err == nil && len(x.leases) == 0 })
	if now := s.All(t, dir); len(now) != 1 || !strings.Contains(now[0].Value, uuid(1)) || now[0].Lease == 0 {
		t.Errorf("etcd has %+v", now)
	}
}

// Somebody deleted the key of a node that was cut off, and another was given
// the subnet: the two have one each time they look, and the one that came
// last lets the other have it. Neither moves.
func TestOfTwoThatWereGivenASubnetOneHasTheKeyAndBothTheirPods(t *testing.T) {
	s := etcdtest.Start(t)
	var y *node
	x, before := away(t, s, func(own client.KV) {
		s.Delete(t, own.Key)
		y = newNode(t, s, 2, network(pods4), func(c *etcd.Config) {
			c.Last = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(beginning(own.Key))} }
		}).watch(t).publish(t, ownLease(2))
		y.subnet(t, 1)
	})
	var stolen *etcd.StolenError
	x.until(t, "the alarm", func() bool { return errors.As(x.err, &stolen) })
	if got := y.subnet(t, 2); got != before || len(x.granted) > 2 {
		t.Errorf("the other has %s, the subnet is %s; granted %+v", got, before, x.granted)
	}
	y.until(t, "that all is well", func() bool { return y.err == nil })
	if now := s.All(t, dir); len(now) != 1 || !strings.Contains(now[0].Value, uuid(2)) {
		t.Errorf("etcd has %+v", now)
	}
}

// beginning is the subnet that a key names.
func beginning(key string) string { return strings.ReplaceAll(strings.TrimPrefix(key, dir), "-", "/") }

// The own key is gone and one that overlaps it stands there: it is written
// again beside, and nobody moves.
func TestDeletedLeaseIsWrittenBesideOneThatOverlaps(t *testing.T) {
	s := etcdtest.Start(t)
	x, before := away(t, s, func(own client.KV) {
		s.Put(t, strings.TrimSuffix(own.Key, "24")+"25", netdStranger)
		s.Delete(t, own.Key)
	})
	if after := x.subnet(t, 2); after != before {
		t.Errorf("the subnet is %s, was %s", after, before)
	}
	x.until(t, "the other", func() bool { return len(x.leases) == 1 && x.err == nil })
}

// The same while netd was not there: what the key was first shows whose it is,
// as long as etcd remembers. Afterwards a start takes another subnet.
func TestLeaseWrittenOverWhileNetdWasDownIsTakenBack(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		s := etcdtest.Start(t)
		x := newNode(t, s, 1, network(pods4)).publish(t, ownLease(1))
		before := x.subnet(t, 1)
		x.cancel()
		own := s.All(t, dir)[0]
		s.Put(t, own.Key, flannelStranger)
		s.Put(t, own.Key, netdStranger)
		if forgotten {
			s.Compact(t)
		}
		again := newNode(t, s, 1, network(pods4), func(c *etcd.Config) {
			c.Last = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(before)} }
		}).publish(t, ownLease(1))
		if after := again.subnet(t, 1); (after == before) == forgotten {
			t.Errorf("forgotten %t: the subnet is %s, was %s", forgotten, after, before)
		}
		if now := s.All(t, own.Key); !forgotten && now[0].Value != own.Value || now[0].Lease != own.Lease && !forgotten {
			t.Errorf("etcd has %+v, had %+v", now, own)
		}
	}
}
