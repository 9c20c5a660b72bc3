package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/store/etcd"
	"weft/netd/store/etcd/etcdtest"
	"weft/profiles"
)

const dir = etcd.DefaultPrefix + "/subnets/"

// network is a network with a range of each family named.
func network(pods ...string) profiles.Network {
	n := profiles.Network{Backend: profiles.Backend{Type: profiles.BackendVXLAN}, Store: profiles.Store{Type: profiles.StoreEtcd}}
	for _, p := range pods {
		n.Pods = append(n.Pods, netip.MustParsePrefix(p))
	}
	return n.WithDefaults()
}

const (
	pods4 = "10.244.0.0/16"
	pods6 = "fd42::/48"
)

func uuid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// ownLease is what node n publishes; its subnets are open.
func ownLease(n int) lease.Lease {
	mac := fmt.Sprintf("9e:00:00:00:%02x:%02x", n>>8, n&0xff)
	return lease.Lease{
		Node: fmt.Sprintf("node-%d", n), UUID: uuid(n), Backend: lease.VXLAN,
		IPv4: lease.Half{Address: netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), MAC: mac, VNI: 1},
		IPv6: lease.Half{Address: netip.MustParseAddr(fmt.Sprintf("fd00:10::%x", n)), MAC: mac, VNI: 1},
	}
}

// node is a store of one node and what it has said.
type node struct {
	*etcd.Store
	n   int
	log *lockedBuffer

	mu       sync.Mutex
	news     chan struct{} // closed and replaced at news
	leases   map[string]lease.Lease
	fulls    int
	updates  int
	err      error
	problems []*store.Problem
	granted  []lease.Lease
	refused  error // why nothing is granted now
	ended    error
	done     bool
	cancel   context.CancelFunc
}

func newNode(t testing.TB, s *etcdtest.Server, n int, nw profiles.Network, change ...func(*etcd.Config)) *node {
	t.Helper()
	x := &node{n: n, news: make(chan struct{}), log: &lockedBuffer{}}
	c := etcd.Config{Etcd: s.Store(), Network: nw, UUID: uuid(n), Log: slog.New(slog.NewTextHandler(x.log, nil))}
	for _, f := range change {
		f(&c)
	}
	var err error
	if x.Store, err = etcd.New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		x.Close()
		if t.Failed() {
			t.Logf("log of node %d:\n%s", n, x.log)
		}
	})
	return x
}

func (x *node) told(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f()
	close(x.news)
	x.news = make(chan struct{})
}

// watch lets the node watch until the test ends.
func (x *node) watch(t testing.TB) *node {
	ctx, cancel := context.WithCancel(context.Background())
	var end sync.WaitGroup
	end.Go(func() {
		for u, err := range x.Watch(ctx) {
			x.told(func() {
				x.updates++
				var p *store.Problem
				if errors.As(err, &p) {
					x.problems = append(x.problems, p)
					return
				}
				if x.err = err; err == nil {
					if u.Full {
						x.fulls++
					}
					x.leases = u.Apply(x.leases)
				}
			})
		}
	})
	t.Cleanup(func() { cancel(); end.Wait() })
	return x
}

// publish lets the node publish until the test ends or it is stopped.
func (x *node) publish(t testing.TB, own lease.Lease) *node {
	ctx, cancel := context.WithCancel(context.Background())
	var end sync.WaitGroup
	end.Go(func() {
		err := x.Publish(ctx, own, func(l lease.Lease, err error) {
			x.told(func() {
				if x.refused = err; err == nil {
					x.granted = append(x.granted, l)
				}
			})
		})
		x.told(func() { x.ended, x.done = err, true })
	})
	x.cancel = func() { cancel(); end.Wait() }
	t.Cleanup(x.cancel)
	return x
}

// until waits until the node has told what makes ready true.
func (x *node) until(t testing.TB, what string, ready func() bool) {
	t.Helper()
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	for {
		x.mu.Lock()
		ok, news := ready(), x.news
		x.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-news:
		case <-late.C:
			x.mu.Lock()
			defer x.mu.Unlock()
			t.Fatalf("node %d: not within 20 s: %s; error %v, leases %v, granted %v, problems %v", x.n, what, x.err, x.leases, x.granted, x.problems)
		}
	}
}

// subnet waits for grant number i, from 1, and returns its IPv4 subnet.
func (x *node) subnet(t testing.TB, i int) string {
	t.Helper()
	x.until(t, fmt.Sprintf("grant %d", i), func() bool { return len(x.granted) >= i })
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.granted[i-1].IPv4.Subnet.String()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
